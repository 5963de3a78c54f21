"""Verbs of `mlxr bench`."""
