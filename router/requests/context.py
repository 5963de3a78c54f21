"""What an answer says of its model's context: how much of it is used, and what of the conversation was told again.

A conversation is wound when its older turns are told again as a narrative, so that it goes on in less of the context.
"""

import msgspec

from router.status.contexts import WoundFacts


class ContextFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How much of its model's context a request takes.

    Attributes:
        used: Tokens of prompt and answer so far, of the longest of several answers.
        limit: Tokens that the context holds.
        context_id: By which what the model was shown is found again; None = it was shown what was sent.
        wound: None likewise.
    """

    used: int
    limit: int
    context_id: str | None = None
    wound: WoundFacts | None = None


class ContextEvent(msgspec.Struct, frozen=True):
    """The conversation was wound; comes once, before all output.

    Attributes:
        index: That of the request's first sequence; all have the same prompt.
    """

    facts: ContextFacts
    index: int = 0


def answer_room(max_tokens: int | None, context_length: int) -> int:
    """Return how many tokens of a context a conversation that can be wound leaves to its answer, >= 1."""
    wanted = context_length // 4 if max_tokens is None else min(max_tokens, context_length // 2)
    return max(1, wanted)
