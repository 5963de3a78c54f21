"""Ollama's API: schemas, routes and encoders. What is generated goes the way of every protocol."""
