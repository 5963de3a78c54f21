"""What a stub hub does wrong, request by request, and random scripts of it."""

import random
from typing import NamedTuple

STATUSES = (401, 403, 404, 408, 429, 500, 502, 503, 504)


class Fault(NamedTuple):
    """One wrong answer to a request for a file's bytes.

    `kind` is one of: drop, reset, stall (after `after` bytes of the body), ignore_range, wrong_range, wrong_total,
    new_etag, no_etag, weak_etag, short, long, chunked_long, flip, encoded, status, redirect, redirect_loop,
    redirect_http, no_length, slow, junk.
    """

    kind: str
    after: int = 0
    status: int = 0
    retry_after: str | None = None
    is_forever: bool = False


def random_script(rng: random.Random, size: int) -> list[Fault]:
    """Draw up to six faults; some scripts end in one that never stops."""
    transient = ["drop", "reset", "stall", "ignore_range", "wrong_range", "wrong_total", "new_etag", "no_etag"]
    transient += [
        "weak_etag",
        "short",
        "long",
        "chunked_long",
        "flip",
        "encoded",
        "redirect",
        "no_length",
        "slow",
        "junk",
    ]
    script = []
    for _ in range(rng.randint(1, 6)):
        kind = rng.choice([*transient, "drop", "reset", "status", "redirect_loop", "redirect_http"])
        status = rng.choice(STATUSES) if kind == "status" else 0
        retry_after = rng.choice([None, "0", "nonsense"]) if status in {429, 503} else None
        script.append(Fault(kind, rng.randint(0, size), status, retry_after))
    if rng.random() < 0.15:
        script[-1] = script[-1]._replace(is_forever=True)
    return script
