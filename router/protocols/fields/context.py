"""What answers of all protocols say of their model's context, and what those without timings tell. Pure."""

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from router.protocols.answers import ContextUse, MlxrAnswer, told_of_engine
from router.requests.context import ContextFacts
from router.requests.generation import Generation

CONTEXT_WOUND: Final = "context_wound"
"""The event of a stream that tells of a wind."""


def shown_context(facts: ContextFacts) -> ContextUse:
    """Return what is told of a context."""
    wound = UNSET if facts.wound is None else facts.wound
    return ContextUse(used=facts.used, limit=facts.limit, id=facts.context_id or UNSET, wound=wound)


def context_of(facts: ContextFacts | None) -> ContextUse | UnsetType:
    """Return the same; UNSET where nothing is known."""
    return UNSET if facts is None else shown_context(facts)


def told_without_timings(seen: MlxrAnswer | UnsetType, generation: Generation) -> MlxrAnswer | UnsetType:
    """Return what only mlxr tells of an answer of an API that has no timings."""
    told = told_of_engine(generation.choice, generation.worker)
    images = UNSET if seen is UNSET else seen.images
    context = context_of(generation.context)
    if images is UNSET and context is UNSET:
        return told
    return msgspec.structs.replace(MlxrAnswer() if told is UNSET else told, images=images, context=context)


def wound_header(facts: ContextFacts | None) -> bytes | None:
    """Return what the header of a whole answer says of a wind; None = there was none."""
    if facts is None or facts.wound is None:
        return None
    wound = facts.wound
    parts = [f"turns={wound.turns}", f"before={wound.tokens_before}", f"after={wound.tokens_after}"]
    parts += [f"id={facts.context_id}"] if facts.context_id else []
    parts += ["left_out"] if wound.left_out else []
    return "; ".join(parts).encode()
