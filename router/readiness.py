"""Whether requests would be served now, and what stands in the way: what `/ready` answers.

Not here: liveness, which `/health` answers by answering at all.
"""

from collections.abc import Callable
from typing import Final

SHUTDOWN: Final = "shutdown"
PRELOAD: Final = "preload"


class Readiness:
    """Collects what stands in the way; each has an owner, who says under one key when it comes and goes.

    Args:
        *checks: Asked at each look; each gives a sentence for people, or None.
    """

    def __init__(self, *checks: Callable[[], str | None]) -> None:
        self._checks = checks
        self._held: dict[str, str] = {}

    def hold(self, key: str, reason: str) -> None:
        """Be not ready until `release` is called with the same key; called again, it changes the reason."""
        self._held[key] = reason

    def release(self, key: str) -> None:
        """Take a reason away; one that is not there is no error."""
        self._held.pop(key, None)

    @property
    def reasons(self) -> list[str]:
        """What stands in the way, one sentence each; empty = ready."""
        found = [check() for check in self._checks]
        return [*self._held.values(), *(reason for reason in found if reason is not None)]
