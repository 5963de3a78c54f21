"""How tests wait for what others do: for an event where there is one, else by looking again and again.

A wait ends as soon as what it waits for is there, so that its bound costs nothing. It tells what never comes from what
comes late, and is far above what a busy machine makes of anything.
"""

import asyncio
import time
from collections.abc import Callable

WITHIN_S = 300.0
POLL_S = 0.01


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look until `condition()` holds; fail with `what` when it never does."""
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {WITHIN_S:g} s: {what}"
        time.sleep(POLL_S)


async def until(condition: Callable[[], object], what: str) -> None:
    """Do the same on an event loop."""
    give_up_at = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {WITHIN_S:g} s: {what}"
        await asyncio.sleep(POLL_S)
