"""What a running gateway tells of conversations that filled their context: the bodies of `/v1/mlxr/contexts`."""

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


class ContextEntry(WoundFacts, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """What was told again of a conversation.

    Attributes:
        id: `ctx_…`; an answer has it in its `timings.context`.
        owner: Id of the key that it belongs to; null = it is the server's owner's.
        session: By X-Session-Id or prompt_cache_key, where one was sent.
        conversation: The kept conversation, or the first of the stored responses, that it is deleted with; null =
            neither, its client sends it as a whole.
        earlier: The context that this one goes on from; null = it is the conversation's first.
        is_stored: Whether it is on the disk; otherwise it goes with the server.
        created_at, used_at: Seconds since 1970.
    """

    id: str
    owner: str | None
    model: str
    session: str | None
    conversation: str | None
    earlier: str | None
    is_stored: bool
    num_bytes: int
    created_at: float
    used_at: float


class ContextList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/contexts; the last used first.

    Attributes:
        num_contexts, num_bytes: Of all that the caller sees.
    """

    contexts: list[ContextEntry]
    has_more: bool
    num_contexts: int
    num_bytes: int


class ShownCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call of a tool; its arguments are JSON."""

    id: str | None
    name: str
    arguments: str


class ShownMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as a model sees it; pictures are only mentioned."""

    role: str
    content: str = ""
    name: str | None = None
    tool_calls: list[ShownCall] = []
    tool_call_id: str | None = None


class ContextShown(ContextEntry, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/contexts/ID.

    Attributes:
        narrative: What stands in the place of the messages that were told; null = they were left out.
        messages: What the model saw of the conversation last, the narrative among them.
    """

    narrative: str | None
    messages: list[ShownMessage]


class ContextFill(msgspec.Struct, frozen=True, kw_only=True):
    """How full the context of a running request is, whose conversation may be wound.

    Attributes:
        used: Tokens of prompt and answer so far.
        limit: Tokens that the context holds.
        id: Of what its model sees instead of what was sent; null = it sees that.
        turns: Messages that were told; null likewise.
        narrative_tokens: null likewise.
        left_out: Whether messages were left out.
    """

    used: int
    limit: int
    id: str | None = None
    turns: int | None = None
    narrative_tokens: int | None = None
    left_out: bool = False


class RunningContext(ContextFill, frozen=True, kw_only=True):
    """The same in the status."""

    request: str
    model: str


class DeletedContexts(msgspec.Struct, frozen=True):
    """How many were deleted, those that tell the same among them."""

    num_deleted: int
