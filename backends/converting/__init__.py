"""From GGUF to MLX folders, in a process of its own, and the proof that they agree."""
