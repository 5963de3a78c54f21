"""Keeps a model that fails to load from being loaded again and again by every request that asks for it."""

import dataclasses

from router.errors import UnavailableError
from router.models.targets import Target

MAX_FAILURES = 3
"""Loads in a row that may fail before requests are refused without a try."""
OPEN_S = 60.0
"""How long they are refused; the file may have been mended meanwhile."""


@dataclasses.dataclass(slots=True)
class _Record:
    num_failures: int
    words: str
    failed_at: float


class LoadBreaker:
    """Counts failed loads per target; pure but for its counts."""

    def __init__(self) -> None:
        self._records: dict[Target, _Record] = {}

    def check(self, target: Target, now: float) -> None:
        """Let a request pass, or not.

        Raises:
            UnavailableError: The last MAX_FAILURES loads failed, the last one less than OPEN_S ago.
        """
        record = self._records.get(target)
        if record is None or record.num_failures < MAX_FAILURES:
            return
        left_s = record.failed_at + OPEN_S - now
        if left_s > 0:
            raise UnavailableError(
                f"the model '{target.label}' failed to load {record.num_failures} times on {target.engine} "
                f"({record.words}); it is tried again in {left_s:.0f} s",
                retry_after_s=left_s,
            )

    def on_failure(self, target: Target, words: str, now: float) -> None:
        """Count a failed load."""
        record = self._records.get(target)
        num_failures = 1 if record is None else record.num_failures + 1
        self._records[target] = _Record(num_failures, words, now)

    def on_success(self, target: Target) -> None:
        """Forget the failures."""
        self._records.pop(target, None)
