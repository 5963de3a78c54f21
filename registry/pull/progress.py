"""How fast a pull is and how long it will take, from byte counts and times. No clock of its own.

Not here: showing it.
"""

from collections import deque
from typing import Final

from registry.pull.events import Progress

WINDOW_S: Final = 10.0
"""Speed is that of the last seconds: a mean since the start would hide a line that broke."""


class ProgressMeter:
    """Sums the files of a pull."""

    def __init__(self, total_bytes: int, *, interval_s: float) -> None:
        self._total_bytes = total_bytes
        self._interval_s = interval_s
        self._done: dict[str, int] = {}
        self._samples: deque[tuple[float, int]] = deque()
        self._fetched = 0
        self._told_at: float | None = None

    @property
    def done_bytes(self) -> int:
        """Bytes that are there, over all files."""
        return sum(self._done.values())

    def set_present(self, file: str, num_bytes: int) -> None:
        """Count bytes that did not come over the network."""
        self._done[file] = num_bytes

    def on_bytes(self, file: str, num_bytes: int, now: float) -> Progress | None:
        """Count bytes that came.

        Args:
            num_bytes: Of this file that are there now.
            now: Seconds of a monotonic clock.
        """
        self._fetched += max(0, num_bytes - self._done.get(file, 0))
        self._done[file] = num_bytes
        self._samples.append((now, self._fetched))
        while len(self._samples) > 2 and now - self._samples[1][0] >= WINDOW_S:  # noqa: PLR2004 - two make a speed
            self._samples.popleft()
        if self._told_at is not None and now - self._told_at < self._interval_s:
            return None
        self._told_at = now
        return self.progress()

    def progress(self) -> Progress:
        """Give the event for now."""
        (since, before), (until, after) = (self._samples[0], self._samples[-1]) if self._samples else ((0, 0), (0, 0))
        speed = (after - before) / (until - since) if until > since else None
        left = max(0, self._total_bytes - self.done_bytes)
        return Progress(
            done_bytes=self.done_bytes,
            total_bytes=self._total_bytes,
            bytes_per_s=speed,
            eta_s=left / speed if speed else None,
        )
