"""One conversation on its way to less of its context: told, and what is kept of that, or left out where nobody tells.

As long as somebody waits whose request is urgent it goes at that priority and within its time; before and after that it
is background work, which stands still while the conditions want that. It is told on from where it was, whatever
changes. Not here: who waits for which (`winder.py`), and what is told (`plan.py`).
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol

import msgspec

from backends.errors import BackendError
from backends.wire.request import Priority
from registry.errors import RegistryError
from router.conditions import Conditions
from router.context.conversation import Conversation
from router.context.narrative import told_narrative
from router.context.planning import Planned
from router.context.shown import shown_of
from router.context.sizes import Ask
from router.context.summarising import Summariser
from router.context.telling import Telling
from router.errors import RouterError
from router.stores.contexts import Wind

logger = logging.getLogger(__name__)

FAILURES: Final = (RouterError, BackendError, RegistryError)
"""What a summariser may fail by."""
POLL_S: Final = 0.25
"""How often it is looked whether anybody has come for whom another model has to give way."""


class Chosen(msgspec.Struct, frozen=True):
    """A summariser that can be asked now.

    Attributes:
        ask: Has it answer questions.
        context_length: Tokens.
    """

    summariser: Summariser
    ask: Ask
    context_length: int


class Choose(Protocol):
    """Says who is asked; may wait for it to be there."""

    async def __call__(self, priority: Priority, *, is_waited_for: bool) -> Chosen | None:
        """Return that; None = it is not worth it for work that nobody waits for."""


class Winding:
    """See the module; `run` is its task.

    Args:
        choose: Says who tells.
        count: Returns the tokens of a text, by the conversation's own model.
        timeout_s: Says how long somebody who is urgent waits at most, in all.
        is_anybody_here: Whether anybody wants anything of the server: another model than the conversation's gives way.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        conversation: Conversation,
        planned: Planned,
        telling: Telling,
        *,
        choose: Choose,
        count: Callable[[str, Priority], Awaitable[int]],
        conditions: Conditions,
        timeout_s: Callable[[], float],
        is_anybody_here: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.conversation = conversation
        self.planned = planned
        self._telling = telling
        self._choose = choose
        self._count = count
        self._conditions = conditions
        self._timeout_s = timeout_s
        self._is_anybody_here = is_anybody_here
        self._clock = clock
        self._num_waiting = self._num_urgent = 0
        self._urgent_s = 0.0
        self._gives_way = False
        self._wake = asyncio.Event()

    @property
    def digest(self) -> bytes:
        """Of the beginning that will be told."""
        return self.conversation.chain[self.planned.plan.told_end]

    @property
    def priority(self) -> Priority:
        """At which it goes now."""
        return Priority.INTERACTIVE if self._num_urgent else Priority.BACKGROUND

    def wake(self) -> None:
        """Have it look at its conditions anew."""
        self._wake.set()

    @contextlib.contextmanager
    def waited_for(self, priority: Priority) -> Iterator[None]:
        """Be waited for in a block."""
        urgent = int(priority is Priority.INTERACTIVE)
        self._num_waiting += 1
        self._num_urgent += urgent
        self.wake()
        try:
            yield
        finally:
            self._num_waiting -= 1
            self._num_urgent -= urgent
            self.wake()

    async def run(self) -> Wind | None:
        """Return what came of it; None = nothing, and nobody waits for it."""
        begun_at = self._clock()
        if self.planned.plan.narrative_tokens:
            while not await self._try():
                pass
        if not self._telling.is_whole and not self._num_waiting:
            return None
        return await self._made(1000 * (self._clock() - begun_at))

    async def _try(self) -> bool:
        """Tell on as long as nothing changes; return whether it has ended, well or not."""
        priority = self.priority
        self._wake.clear()
        if self._stands_still(priority):
            await self._change(None, None)
            return False
        begun_at = self._clock()
        attempt = asyncio.ensure_future(self._tell(priority))
        try:
            return await self._watched(attempt, priority)
        except FAILURES as exc:
            logger.warning("a conversation with %s could not be summarised: %s", self.conversation.model, exc)
            return True
        finally:
            attempt.cancel()
            await asyncio.wait({attempt})
            if priority is Priority.INTERACTIVE:
                self._urgent_s += self._clock() - begun_at

    async def _watched(self, attempt: "asyncio.Future[None]", priority: Priority) -> bool:
        """Wait for a try; give it up when its time is over, or something else is wanted."""
        give_up_at = self._clock() + self._timeout_s() - self._urgent_s
        while not attempt.done():
            left_s = max(0.0, give_up_at - self._clock()) if priority is Priority.INTERACTIVE else None
            await self._change(attempt, left_s)
            if attempt.done():
                break
            if self.priority is not priority or self._stands_still(priority):
                return False
            if priority is Priority.INTERACTIVE and self._clock() >= give_up_at:
                logger.warning(
                    "a conversation with %s was not summarised within %g s", self.conversation.model, self._timeout_s()
                )
                return True
        attempt.result()
        return True

    async def _change(self, attempt: "asyncio.Future[None] | None", within_s: float | None) -> None:
        """Wait until a try has ended, if there is one, or something may be otherwise, or some seconds are over."""
        if self._gives_way:
            within_s = POLL_S if within_s is None else min(within_s, POLL_S)
        waking = asyncio.ensure_future(self._wake.wait())
        either: set[asyncio.Future[Any]] = {waking} if attempt is None else {attempt, waking}
        await asyncio.wait(either, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        self._wake.clear()

    def _stands_still(self, priority: Priority) -> bool:
        if priority is Priority.INTERACTIVE:
            return False
        return self._conditions.is_background_paused or (self._gives_way and self._is_anybody_here())

    async def _tell(self, priority: Priority) -> None:
        chosen = await self._choose(priority, is_waited_for=bool(self._num_waiting))
        if chosen is None:
            return
        self._gives_way = priority is Priority.BACKGROUND and not chosen.summariser.is_own
        self.wake()  # it is looked from now on whether it has to
        await self._telling.tell(chosen.summariser, chosen.ask, chosen.context_length, priority)

    async def _made(self, ms: float) -> Wind:
        request, plan, base = self.conversation.request, self.planned.plan, self.planned.base
        narrative, num_tokens = await self._narrative()
        is_left_out = narrative is None or not self._telling.is_whole
        now = time.time()
        wind = Wind(
            context_id=f"ctx_{secrets.token_hex(12)}",
            root=self.conversation.root,
            owner=request.owner,
            model=self.conversation.model,
            kept_in=request.kept_in,
            digest=self.digest,
            num_told=plan.told_end,
            num_turns=self.conversation.num_turns(plan.told_end, plan.task),
            task=plan.task,
            narrative=narrative,
            earlier_id=None if base is None else base.context_id,
            session_id=request.spec.session_id,
            tokens_before=self.planned.full.num_tokens,
            tokens_after=self.planned.tokens_after(num_tokens),
            narrative_tokens=num_tokens,
            told_by=self._telling.by if narrative is not None else None,
            ms=ms,
            is_left_out=is_left_out,
            created_at=now,
            used_at=now,
            # What was left out is told after all when there is time: only until then it is known.
            is_stored=request.is_stored and not is_left_out,
        )
        return msgspec.structs.replace(wind, shown=shown_of(self.conversation.shown(wind)))

    async def _narrative(self) -> tuple[str | None, int]:
        """Return what was told, within its length, and its tokens."""
        narrative, most = self._telling.narrative, self.planned.plan.narrative_tokens
        if narrative is None or not most:
            return None, 0
        num_tokens = await self._count(narrative, self.priority)
        if num_tokens <= most:
            return narrative, num_tokens
        narrative = told_narrative(narrative, is_cut=False, num_tokens=num_tokens, max_tokens=most)
        return narrative, min(most, num_tokens)
