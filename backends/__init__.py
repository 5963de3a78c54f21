"""Engines and the worker process around them. Knows nothing of HTTP, of the registry or of the config file."""
