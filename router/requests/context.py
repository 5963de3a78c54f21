"""What an answer says of its model's context: how much of it is used, and what of the conversation was told again.

A conversation is wound when its older turns are told again as a narrative, so that it goes on in less of the context.
"""

import msgspec


class WoundFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a conversation was wound: what is known of it, and what all answers tell.

    Attributes:
        turns: Messages that the narrative stands for.
        tokens_before: Of the prompt as it was sent, where it was counted, or a lower bound of them.
        tokens_after: Of the prompt that the model was shown instead, as it was planned.
        narrative_tokens: Of the narrative; 0 where there is none.
        by: The model that told it; null = nobody did.
        ms: How long that took, milliseconds; 0 where an earlier request had it done.
        left_out: Whether the turns were left out because nobody could tell them.
    """

    turns: int
    tokens_before: int
    tokens_after: int
    narrative_tokens: int
    by: str | None
    ms: float
    left_out: bool


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
