"""What is kept of a conversation that was wound: what was told of its older turns, and what its model sees."""

from collections.abc import Sequence

import msgspec


class Wind(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a conversation, told again.

    Attributes:
        context_id: `ctx_…`.
        root: Digest by which all branches of the conversation are known.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        model: Who was asked.
        kept_in: Where the conversation is kept that used it last: a kept conversation, or a stored chain's first
            response. None = nowhere, its client sends it as a whole.
        digest: Of the told beginning.
        num_told: Messages of that, those among them that stay included.
        num_turns: Those of them that stay not.
        task: Index of the user's message among them that stays, because what stays goes on from it; None = none does.
        narrative: What stands in their place; None = they were left out.
        earlier_id: The wind that this one goes on from; None = it is the conversation's first.
        tokens_before, tokens_after: Of the whole prompt.
        told_by: The model that told it; None = nobody did.
        ms: How long that took, milliseconds.
        is_left_out: Whether messages were left out, all or those behind the narrative, because nobody could tell them.
        created_at, used_at: Seconds since 1970.
        shown: JSON of the messages that the model saw last; pictures are only mentioned.
        is_stored: Whether it may be on the disk; otherwise it goes with the server.
    """

    context_id: str
    root: bytes
    owner: str | None
    model: str
    kept_in: str | None
    digest: bytes
    num_told: int
    num_turns: int
    task: int | None = None
    narrative: str | None
    earlier_id: str | None = None
    session_id: str | None = None
    tokens_before: int
    tokens_after: int
    narrative_tokens: int
    told_by: str | None
    ms: float
    is_left_out: bool = False
    created_at: float
    used_at: float
    shown: bytes = b"[]"
    is_stored: bool = True

    @property
    def num_bytes(self) -> int:
        """What it takes, about."""
        return len((self.narrative or "").encode()) + len(self.shown)


class Beginnings(msgspec.Struct, frozen=True, kw_only=True):
    """The beginnings of a conversation, by which what was told of it is found.

    Attributes:
        owner, model: As of a `Wind`; both have to be the same.
        digests: One for each beginning, the shortest first.
    """

    owner: str | None
    model: str
    digests: Sequence[bytes]


class WindUse(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose conversation was found wound.

    Attributes:
        shown, kept_in: As of a `Wind`, from now on.
        is_stored: Whether that may be on the disk.
    """

    context_id: str
    shown: bytes
    kept_in: str | None = None
    is_stored: bool = True
