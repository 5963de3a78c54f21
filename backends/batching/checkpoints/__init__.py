"""Checkpoints: states of caches that cannot be cut, kept as beginnings for prompts that share a part of the text."""
