"""Which of those that tell of the machine's sleep this system has."""

import sys

from router.sleep.base import OnSleep, OnWake, SleepNotices


def sleep_notices(on_sleep: OnSleep, on_wake: OnWake) -> SleepNotices:
    """Return this system's."""
    if sys.platform == "darwin":
        from router.sleep.apple import AppleNotices  # noqa: PLC0415 - the other system's is not read

        return AppleNotices(on_sleep, on_wake)
    from router.sleep.logind import LogindNotices  # noqa: PLC0415

    return LogindNotices(on_sleep, on_wake)
