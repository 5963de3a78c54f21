"""What stands in labels, so that no client can make series without end."""

from typing import Final

MAX_MODELS: Final = 100
"""Models with series of their own; a registry may have thousands."""
MAX_KEYS: Final = 100

UNKNOWN: Final = "unknown"
"""A model that the registry does not have, or a request that was refused before its model was looked at."""
NONE: Final = "none"
"""There is nothing of the kind: no model is asked, no engine was reached."""
OTHER: Final = "other"
"""All that came after the bound was reached."""


class BoundedNames:
    """The first names that come have a label of their own, all others share one."""

    def __init__(self, max_names: int) -> None:
        self._max_names = max_names
        self._names: set[str] = set()

    def label(self, name: str) -> str:
        """Return what stands for a name."""
        if name in self._names:
            return name
        if len(self._names) >= self._max_names:
            return OTHER
        self._names.add(name)
        return name
