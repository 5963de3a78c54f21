"""What a worker wrote to stderr, as far as it tells why the worker died. Pure: bytes in, words out."""

import re

TAIL_BYTES = 4096
"""How much of the end is kept."""
_MAX_CHARS = 1000
_NUM_LINES = 6
_ABORT = re.compile(
    # Source: ggml.c, `ggml_abort`: "%s:%d: " and what failed; assert(3): "FILE:LINE: ...: Assertion `...' failed."
    r"^\S+\.(?:c|cc|cpp|h|hpp|m|mm|cu):\d+: \S"
    # Sources: the C++ runtimes' terminate handlers; Metal's API validation; CPython's faulthandler.
    r"|^terminate called|^\s*what\(\):|^libc\+\+abi: |failed assertion|^Fatal Python error"
)
"""Lines by which libraries say why they end the process; what follows them is a backtrace."""


class LastWords:
    """Keeps the end of a worker's stderr, and the reasons that its libraries gave, however much came after them."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._line = bytearray()
        self._reasons: list[str] = []

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._tail += data
        del self._tail[:-TAIL_BYTES]
        *lines, rest = (bytes(self._line) + data).split(b"\n")
        for line in lines:
            self._note(line)
        self._line[:] = rest[:TAIL_BYTES]

    def __str__(self) -> str:
        """Return the reasons, else the last lines, as `: …` for a message; an empty string without any."""
        self._note(bytes(self._line))
        self._line.clear()
        lines = bytes(self._tail).decode(errors="replace").splitlines()
        words = self._reasons or [line.strip() for line in lines if line.strip()][-_NUM_LINES:]
        return ": " + " | ".join(words)[-_MAX_CHARS:] if words else ""

    def _note(self, line: bytes) -> None:
        text = line[:_MAX_CHARS].decode(errors="replace").rstrip()
        if len(self._reasons) < _NUM_LINES and _ABORT.search(text):
            self._reasons.append(text.strip())
