"""Winds as a gateway keeps them, for tests of what is kept."""

from typing import Any

from router.stores.contexts import Wind

SECRET = "the-walrus-keeps-the-key"


def wind(context_id: str, num_told: int, **fields: Any) -> Wind:
    """Make a wind of a conversation's first messages, whose digest is their number."""
    plain: dict[str, Any] = {
        "root": b"root",
        "owner": None,
        "model": "m",
        "kept_in": None,
        "digest": b"%d" % num_told,
        "narrative": "They spoke of walruses.",
        "tokens_before": 900,
        "tokens_after": 300,
        "narrative_tokens": 40,
        "told_by": "m",
        "ms": 12.5,
        "created_at": 10.0,
        "used_at": 10.0,
    }
    return Wind(context_id=context_id, num_told=num_told, num_turns=num_told, **(plain | fields))
