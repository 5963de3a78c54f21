"""When a request has taken too long: pure decisions, times in, deadlines out.

Not the timers, nor what happens when a deadline has passed (`requests`), nor a worker that hangs (`supervisor`).
"""

import msgspec

from backends.wire.request import Priority
from router.config import LimitsConfig


class Deadlines(msgspec.Struct, frozen=True, kw_only=True):
    """What one request is given, in seconds; None = no limit.

    Attributes:
        first_token_s: From its arrival to its first output; queue and load count.
        inter_token_s: Without anything new, once there was output.
    """

    request_s: float | None = None
    first_token_s: float | None = None
    inter_token_s: float | None = None


class RequestProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a request is; monotonic seconds.

    Attributes:
        moved_at: When something new came last. While something waits for its client to read it, that is now.
        winding_s: How long its conversation was wound, which moves on what counts from its arrival to its first output.
    """

    arrived_at: float
    has_output: bool
    moved_at: float
    winding_s: float = 0.0


class Due(msgspec.Struct, frozen=True):
    """The next deadline.

    Attributes:
        at: Monotonic seconds.
        message: What to tell the client once that has passed.
    """

    at: float
    message: str


def deadlines_for(limits: LimitsConfig, priority: Priority, timeout_s: float | None) -> Deadlines:
    """Return what a request is given.

    Args:
        priority: Background requests are made to wait, which is no stall: only the first limit holds for them.
        timeout_s: The request's own limit, or None; it can only lower the config's.
    """
    request_s = min((limit for limit in (limits.request_timeout_s, timeout_s) if limit is not None), default=None)
    if priority is Priority.BACKGROUND:
        return Deadlines(request_s=request_s)
    return Deadlines(
        request_s=request_s,
        first_token_s=limits.first_token_timeout_s,
        inter_token_s=limits.inter_token_timeout_s,
    )


def next_due(deadlines: Deadlines, progress: RequestProgress) -> Due | None:
    """Return the deadline that passes first if nothing more happens, or None where there is none."""
    dues = []
    if deadlines.request_s is not None:
        message = f"the request took longer than {deadlines.request_s:g} s"
        dues.append(Due(progress.arrived_at + deadlines.request_s, message))
    if deadlines.first_token_s is not None and not progress.has_output:
        message = f"no token came within {deadlines.first_token_s:g} s of the request"
        dues.append(Due(progress.arrived_at + progress.winding_s + deadlines.first_token_s, message))
    if deadlines.inter_token_s is not None and progress.has_output:
        message = f"no token came for {deadlines.inter_token_s:g} s"
        dues.append(Due(progress.moved_at + deadlines.inter_token_s, message))
    return min(dues, key=lambda due: due.at, default=None)


def seconds_to_look(deadlines: Deadlines, progress: RequestProgress, now: float) -> float | None:
    """Return when to look at the deadlines again, in seconds from `now`; None where there is none.

    Silence counts from the last token, and nobody tells when that was: while it is limited, no look is further away.
    """
    due = next_due(deadlines, progress)
    waits = [wait for wait in (None if due is None else due.at - now, deadlines.inter_token_s) if wait is not None]
    return max(0.0, min(waits)) if waits else None
