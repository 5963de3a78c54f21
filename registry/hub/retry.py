"""When to try a request again, and when to give up. Pure: the clock's time and the dice are arguments.

Not here: making requests, sleeping.
"""

from collections.abc import Callable

import msgspec


class TroubleError(Exception):
    """A failure that another attempt may mend. Never leaves `registry.hub` and `registry.pull`.

    Args:
        reason: For the user, when it is the last one.
        retry_after_s: How long the server asked to wait.
        is_violation: The server broke the protocol; a server that does so again and again is not asked for ever.
    """

    def __init__(self, reason: str, *, retry_after_s: float | None = None, is_violation: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.is_violation = is_violation


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient to be.

    Attributes:
        base_s: Upper bound of the first wait; it doubles with every failure in a row.
        cap_s: Upper bound of every wait that the server did not ask for.
        give_up_after_s: Without any progress for so long, no new attempt is begun.
        max_violations: Breaches of the protocol in a row that are borne.
        max_retry_after_s: The longest wait that a server may ask for.
    """

    base_s: float = 0.5
    cap_s: float = 30.0
    give_up_after_s: float = 300.0
    max_violations: int = 4
    max_retry_after_s: float = 600.0


class Backoff:
    """Counts failures since the last progress.

    Args:
        now: Seconds of a monotonic clock.
        draw: Gives numbers in 0..1.
    """

    def __init__(self, policy: RetryPolicy, *, now: float, draw: Callable[[], float]) -> None:
        self._policy = policy
        self._draw = draw
        self._progress_at = now
        self._num_failures = 0
        self._num_violations = 0

    def on_progress(self, now: float) -> None:
        """Note that something new came: patience starts anew."""
        self._progress_at = now
        self._num_failures = 0
        self._num_violations = 0

    def delay_after(self, trouble: TroubleError, now: float) -> float | None:
        """Decide about another attempt: give the seconds to wait before it, or None to give up.

        The wait is drawn evenly between nothing and its bound ("full jitter"), so that many clients that failed
        together do not come back together.
        """
        policy = self._policy
        self._num_violations += trouble.is_violation
        asked_s = trouble.retry_after_s or 0.0
        is_hopeless = self._num_violations > policy.max_violations or asked_s > policy.max_retry_after_s
        if is_hopeless or now - self._progress_at > policy.give_up_after_s:
            return None
        bound_s = min(policy.cap_s, policy.base_s * 2.0 ** min(self._num_failures, 32))
        self._num_failures += 1
        return max(asked_s, self._draw() * bound_s)
