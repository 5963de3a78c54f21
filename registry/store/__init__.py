"""The catalogue of models in SQLite, by its parts: `Registry`. All SQL on it stands here.

Not here: looking at model files (`registry.scan`) and deleting them (`registry.removing`).
"""

from registry.store.registry import Registry

__all__ = ["Registry"]
