"""Verbs of `mlxr models` for models that are here."""
