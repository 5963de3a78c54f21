"""Looking things up in a GGUF header by key and type. Not here: what they mean (`facts.py`, `memory.py`)."""

from registry.facts import clean_text
from registry.gguf.header import GGUFHeader


class HeaderFields:
    """Typed look-ups in a header's metadata, under the architecture's prefix where asked."""

    def __init__(self, header: GGUFHeader) -> None:
        self.header = header
        self._prefix = f"{header.architecture}." if header.architecture else ""

    def integer(self, key: str) -> int | None:
        """Give a whole number, or None when it is absent or something else."""
        value = self.header.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def arch_integer(self, key: str) -> int | None:
        """Give a whole number under the architecture's prefix."""
        return self.integer(self._prefix + key)

    def text(self, key: str) -> str | None:
        """Give cleaned text, or None."""
        return clean_text(self.header.metadata.get(key))

    def arch_text(self, key: str) -> str | None:
        """Give cleaned text under the architecture's prefix."""
        return self.text(self._prefix + key)

    def arch_integers(self, key: str, count: int) -> tuple[int, ...] | None:
        """Give one whole number per layer: a scalar stands for all layers, an array must have `count` elements."""
        array = self.header.arrays.get(self._prefix + key)
        if array is not None:
            values = array.values
            if values is None or len(values) != count:
                return None
            return tuple(value for value in values if isinstance(value, int))
        scalar = self.arch_integer(key)
        return None if scalar is None else (scalar,) * count

    def array_length(self, key: str) -> int | None:
        """Give an array's length, or None when there is no such array."""
        array = self.header.arrays.get(key)
        return None if array is None else array.length
