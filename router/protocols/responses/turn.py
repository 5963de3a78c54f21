"""An answer that grows in a kept conversation: what was asked is kept before it, its text while it comes, its end.

A server that dies has lost what came in the last `FLUSH_S`. A request that is refused leaves nothing in its
conversation.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from router.errors import ClientDisconnectedError, RequestCancelledError, ShuttingDownError
from router.protocols.responses.answer_schemas import AnswerFacts, OutputItem, Response
from router.protocols.responses.head import ResponseHead
from router.stores.conversations import Conversations, KeptConversations, Turn

FLUSH_S: Final = 0.5
"""How long text that was told may be unkept."""

_LEFT: Final = (ClientDisconnectedError, RequestCancelledError, ShuttingDownError)
"""Ends that are no refusal: what was asked stays."""


class GrowingAnswer:
    """One of them; `begin_answer` makes it.

    Attributes:
        winds: Returns the items that say how its conversation was wound; they stand before its own.
    """

    def __init__(self, kept: KeptConversations, turn: Turn, head: ResponseHead) -> None:
        self._kept = kept
        self._turn = turn
        self._head = head
        self._items: Callable[[], list[OutputItem]] = list
        self.winds: Callable[[], Sequence[OutputItem]] = tuple
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False

    def on_output(self, items: Callable[[], list[OutputItem]]) -> None:
        """Note that more has come.

        Args:
            items: Returns all that there is now.
        """
        self._items = items
        if self._timer is None and not self._has_ended:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._flush)

    def on_end(self, response: Response) -> None:
        """Keep the answer as it ended."""
        if self._has_ended:
            return
        self._stop()
        facts = AnswerFacts(
            model=response.model,
            usage=response.usage,
            timings=response.timings,
            error=response.error,
            incomplete_details=response.incomplete_details,
        )
        self._kept.end(self._turn, response.status, self._plain(response.output), msgspec.json.encode(facts).decode())

    def on_over(self, error: BaseException | None, items: list[OutputItem], *, is_told: bool) -> None:
        """Keep what there is of an answer that has no end of its own.

        Args:
            error: Why it is over.
            is_told: Whether the client has, or can get, an object that says so; otherwise it is told the bare error.
        """
        if self._has_ended:
            return
        if not items and not is_told and not isinstance(error, _LEFT):
            self._stop()
            self._kept.withdraw(self._turn)
        elif error is not None:
            self.on_end(self._head.failed(items, error))

    def _stop(self) -> None:
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()

    def _flush(self) -> None:
        self._timer = None
        self._kept.write_answer(self._turn, self._plain(self._items()))

    def _plain(self, items: list[OutputItem]) -> list[dict[str, Any]]:
        plain: list[dict[str, Any]] = msgspec.to_builtins([*self.winds(), *items])
        return plain


async def begin_answer(conversations: Conversations, head: ResponseHead) -> GrowingAnswer | None:
    """Keep what is asked; None where nothing is to be kept: the request has no conversation, or says `store: false`.

    Raises:
        ConversationLockedError: What it goes on from is still being written.
        ConversationNotFoundError: Somebody has deleted it meanwhile.
    """
    place = head.items.place
    if place is None or not head.is_stored:
        return None
    turn = Turn(
        conversation_id=place.conversation_id,
        response_id=head.response_id,
        after_item_id=place.after_item_id,
        is_chosen=place.is_chosen,
        items=tuple(head.items.own),
        model=head.model,
        created_at=float(head.created_at),
    )
    kept = conversations.kept
    return GrowingAnswer(kept, await kept.begin(turn), head)
