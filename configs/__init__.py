"""Shipped data: the commented config, its JSON Schema and service templates. No code."""
