"""Whether an upstream is asked: what came of the last requests, as a state machine. Pure; `now` is monotonic seconds.

    CLOSED      it is asked
    OPEN        it has failed too often in a row, and is left alone until its cooldown is over
    TRYING      the cooldown is over: one request, or one look at its health, tells whether it is there again
    REFUSED     it does not take the key: it is left alone until a look at its health, or another config, says otherwise

A failure is what the upstream could not help: no connection, a 5xx, a silence, a broken answer. That it is busy (429)
is none: it is left alone for as long as it said.
"""

import enum
from typing import Final

FAILURES_TO_OPEN: Final = 3
FIRST_COOLDOWN_S: Final = 10.0
MAX_COOLDOWN_S: Final = 300.0


class CircuitState(enum.StrEnum):
    """Where an upstream stands."""

    CLOSED = "closed"
    OPEN = "open"
    TRYING = "trying"
    REFUSED = "refused"


class Circuit:
    """Of one upstream.

    Attributes:
        num_failures: In a row, until now.
        why: The last failure in words; None after a success.
    """

    def __init__(self) -> None:
        self.num_failures = 0
        self.why: str | None = None
        self._is_refused = False
        self._opened_at: float | None = None
        self._cooldown_s = FIRST_COOLDOWN_S
        self._busy_until = 0.0
        self._is_tried = False

    def state(self, now: float) -> CircuitState:
        """Return where it stands."""
        if self._is_refused:
            return CircuitState.REFUSED
        if self._opened_at is None:
            return CircuitState.CLOSED
        return CircuitState.OPEN if now < self._opened_at + self._cooldown_s else CircuitState.TRYING

    def wait_s(self, now: float) -> float:
        """Return for how long it is left alone, seconds; 0 = it may be asked."""
        closed_s = 0.0 if self._opened_at is None else self._opened_at + self._cooldown_s - now
        if closed_s <= 0 and self._is_tried:
            closed_s = 1.0
        return max(0.0, closed_s, self._busy_until - now)

    def busy_s(self, now: float) -> float:
        """Return for how long it has said to be busy still, seconds; 0 = it is not."""
        return max(0.0, self._busy_until - now)

    def may_ask(self, now: float) -> bool:
        """Tell whether a request may go there now."""
        return not self._is_refused and self.wait_s(now) <= 0

    def on_asked(self, now: float) -> None:
        """A request goes there; while it is being tried, no other one does."""
        self._is_tried = self.state(now) is CircuitState.TRYING

    def on_success(self) -> None:
        """It has answered."""
        self.num_failures = 0
        self.why = None
        self._is_refused = self._is_tried = False
        self._opened_at = None
        self._cooldown_s = FIRST_COOLDOWN_S
        self._busy_until = 0.0

    def on_left(self) -> None:
        """A request has ended without telling anything of the upstream, as its client has gone."""
        self._is_tried = False

    def on_failure(self, now: float, why: str) -> None:
        """It has failed."""
        state = self.state(now)
        self.num_failures += 1
        self.why = why
        self._is_tried = False
        if state is CircuitState.TRYING:
            self._cooldown_s = min(MAX_COOLDOWN_S, 2 * self._cooldown_s)
            self._opened_at = now
        elif state is CircuitState.CLOSED and self.num_failures >= FAILURES_TO_OPEN:
            self._opened_at = now

    def on_busy(self, now: float, wait_s: float) -> None:
        """It takes nothing for some time."""
        self._is_tried = False
        self._busy_until = max(self._busy_until, now + wait_s)

    def on_refused(self, why: str) -> None:
        """It does not take the key."""
        self._is_refused = True
        self._is_tried = False
        self.why = why
