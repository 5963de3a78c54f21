"""Which of those that tell of the machine's sleep this system has."""

import sys

from router.sleep.base import OnSleep, OnWake, SleepNotices


def sleep_notices(on_sleep: OnSleep, on_wake: OnWake) -> SleepNotices | None:
    """Return this system's; None = it has none."""
    if sys.platform == "darwin":
        return None
    from router.sleep.logind import LogindNotices  # noqa: PLC0415 - the other system's is not read

    return LogindNotices(on_sleep, on_wake)
