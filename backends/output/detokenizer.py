"""Token bytes to text, incrementally: whole UTF-8 characters only, and nothing of a stop string.

Knows nothing of tokenizers: bytes in, text out. Both engines use this one, so that their texts differ only by tokens.
"""

import codecs


class Detokenizer:
    """Turn the byte pieces of one sequence into text deltas.

    Bytes of an unfinished character are held until it is whole; bytes that can never become a character turn into
    U+FFFD. Text that may be the beginning of a stop string is held until it is known whether it is.

    Args:
        stop: Strings that end the text; none of them is empty.

    Attributes:
        stopped_by: The stop string that ended it, or None.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = stop
        self._held = ""
        self.stopped_by: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string was found."""
        return self.stopped_by is not None

    def push(self, piece: bytes) -> str:
        """Add a token's bytes and return the text that is certain now; "" once a stop string was found."""
        return self._emit(self._decoder.decode(piece))

    def flush(self) -> str:
        """Return what was held back; the sequence is over."""
        text = self._emit(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _emit(self, new: str) -> str:
        if self.is_stopped:
            return ""
        if not self._stop:
            return new
        text = self._held + new
        # The one that is complete first counts, so that the answer does not depend on how tokens cut the text.
        found = [(at + len(stop), at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            _, start, self.stopped_by = min(found)
            return text[:start]
        num_held = self._num_to_hold(text)
        cut = len(text) - num_held
        self._held = text[cut:]
        return text[:cut]

    def _num_to_hold(self, text: str) -> int:
        """Return the length of the longest end of `text` that a stop string begins with."""
        longest = min(len(text), max(len(stop) for stop in self._stop) - 1)
        for length in range(longest, 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0
