"""Conversions of models to MLX folders: the steps, the process, what is stored."""
