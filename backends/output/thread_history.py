"""With how many threads an answer was computed, and when that changed."""

from typing import Final

from backends.wire.threads import ThreadsSince, ThreadsUsed

MAX_KEPT: Final = 16
"""Changes that an answer tells of; of more the first and the last ones."""


class ThreadHistory:
    """Grows with the steps of one answer."""

    def __init__(self) -> None:
        self._now: ThreadsUsed | None = None
        self._changes: list[tuple[float, ThreadsUsed]] = []

    def on_step(self, begun_at: float, used: ThreadsUsed | None) -> None:
        """Note a step's threads.

        Args:
            begun_at: Monotonic seconds.
            used: None = the engine does not tell.
        """
        if used is None or used == self._now:
            return
        self._now = used
        self._changes.append((begun_at, used))
        if len(self._changes) > MAX_KEPT:
            del self._changes[1]

    def since(self, received_at: float) -> tuple[ThreadsSince, ...]:
        """Return the changes, the first being where it began."""
        return tuple(ThreadsSince((at - received_at) * 1000, used.num, used.reason) for at, used in self._changes)
