"""Models that stand apart: made under names of their own, so that equal bytes do not make them one with others.

Not here: how equal bytes are brought together (`merging.py`, `copies.py`), which leave these alone.
"""

from registry.store.database import CatalogueDatabase


def mark_apart(session: CatalogueDatabase, name: str) -> None:
    """Keep a model apart from others with the same bytes.

    Args:
        name: The model's own name; an unknown one changes nothing.
    """
    with session.write():
        session.rows("UPDATE models SET is_apart = 1 WHERE name = ?", name)


def is_apart(session: CatalogueDatabase, name: str) -> bool:
    """Tell whether a model stands apart."""
    with session.read():
        return bool(session.rows("SELECT 1 FROM models WHERE name = ? AND is_apart", name))


def is_store_name(session: CatalogueDatabase, alias: str) -> bool:
    """Tell whether an alias is another tool's name for a model, which the next scan would bring back."""
    with session.read():
        return bool(session.rows("SELECT 1 FROM aliases WHERE alias = ? AND is_found", alias))
