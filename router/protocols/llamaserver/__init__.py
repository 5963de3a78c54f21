"""llama-server's own paths: completions, infilling, embeddings; tokens, templates, properties and slots."""
