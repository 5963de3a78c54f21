"""Ollama's endpoints about models: make, copy, pull, delete, list, show."""
