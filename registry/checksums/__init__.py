"""Hashes of model files: computed, kept, compared."""
