"""The owner of all winds in progress: what is told of which conversation, and who waits for it.

Requests of one conversation share a wind; one that nobody waits for any more goes on in the background, so that a
client which asks again does not begin from the start. Everything runs on the event loop's thread. Not here: one wind
(`winding.py`), and what a request does with it (`keeper.py`).
"""

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Priority
from router.conditions import Conditions
from router.config import CurrentConfig
from router.context.asking import Asking
from router.context.conversation import Conversation
from router.context.keeper import ConversationKeeper
from router.context.plan import NoPlan
from router.context.planning import Full, Planned, Standing, planned
from router.context.summarising import PROTOCOL, Said, Summariser, Summarising
from router.context.telling import Part, Telling
from router.context.token_ids import TokenIdsKeeper
from router.context.winding import FAILURES, Winding
from router.errors import ContextLengthExceededError
from router.models.directory import ModelDirectory
from router.models.targets import Choice
from router.requests.context import ContextFacts, answer_room
from router.requests.context_wish import context_mode
from router.requests.keeping import PromptKeeper
from router.requests.register import RequestRegister, RunningRequest
from router.requests.request import GenerationRequest
from router.stores.contexts import Contexts, Wind
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

_MAX_PAUSED: Final = 1000
_FIRST_PAUSE_S: Final = 60.0
_LONGEST_PAUSE_S: Final = 3600.0
"""How long a conversation that could not be told in the background is left alone."""

_NEARLY: Final = 0.9
"""Of what prompts may have beside an answer's room: from there on the next turn would have to wait for a wind."""

_Key = tuple[str | None, str, bytes]
"""Owner, model and digest of a told beginning."""


class Winder:
    """See the module. `run` is its task.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: CurrentConfig,
        models: ModelDirectory,
        supervisor: Supervisor,
        requests: RequestRegister,
        contexts: Contexts,
        conditions: Conditions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = config
        self._models = models
        self._supervisor = supervisor
        self._requests = requests
        self._contexts = contexts
        self._conditions = conditions
        self._clock = clock
        self._asking = Asking(config, models, supervisor)
        self._summarising = Summarising(supervisor, requests, lambda: config.config)
        self._windings: dict[_Key, tuple[Winding, asyncio.Task[Wind | None]]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pauses: dict[_Key, tuple[float, float]] = {}
        self._change = asyncio.Event()
        conditions.changed.add(lambda _change: self._wake())

    async def run(self) -> None:
        """Let winds go on until cancelled; none is left then."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def is_busy(self) -> bool:
        """Whether anything is told, or about to be."""
        return bool(self._tasks)

    def keeper_for(self, request: GenerationRequest) -> PromptKeeper | None:
        """Return who keeps a request's conversation within its context; None = nobody, it is refused beyond that."""
        settings = self._models.get(request.model_request.model).settings
        if context_mode(request.context, settings, self._current.config.context) != "wind":
            return None
        match request.prompts:
            case (ChatPrompt(context_ids=[]),):
                return ConversationKeeper(self, request)
            case (ChatPrompt(),):
                return TokenIdsKeeper(partial(ConversationKeeper, self), self._asking.text_of)
        return None

    # ---- for keepers ------------------------------------------------------------------------------------------------

    async def longest(self, conversation: Conversation) -> Wind | None:
        """Return what was told of the longest of a conversation's beginnings; None = of none."""
        return await self._contexts.longest(conversation.beginnings())

    def note_use(self, conversation: Conversation, wind: Wind) -> None:
        """Take note that a model saw a conversation that was wound."""
        self._contexts.note_use(conversation.use(wind))

    async def wind(
        self, conversation: Conversation, shown: Wind | None, error: ContextLengthExceededError, choice: Choice
    ) -> Wind | NoPlan:
        """Have a conversation told on that is too long, at its own priority; or wait for a wind that is on its way.

        Raises:
            RouterError: Its model cannot be asked how long it is.
            BackendError: Likewise.
        """
        full = Full(
            context_length=error.context_length,
            num_tokens=error.num_prompt_tokens,
            is_prompt=True,
            target_share=self._target(conversation, error.context_length),
        )
        while True:
            found = self._in_progress(conversation, shown)
            if found is None:
                made = await self._planned(conversation, shown, full, choice, conversation.priority)
                if isinstance(made, NoPlan):
                    return made
                newer = await self.longest(conversation)
                if newer is not None and newer.num_told > (0 if shown is None else shown.num_told):
                    return newer
                found = self._in_progress(conversation, shown) or self._begin(conversation, made, choice)
            winding, task = found
            with winding.waited_for(conversation.priority):
                await asyncio.wait([task])
            wind = task.result()
            if wind is not None:
                return wind

    def wind_ahead(self, conversation: Conversation, shown: Wind | None, facts: ContextFacts, choice: Choice) -> None:
        """Have a conversation told on in the background that has filled its context, so that its next turn fits."""
        config = self._current.config.context
        room = answer_room(conversation.request.spec.max_tokens, facts.limit)
        full_at = min(config.wind_at * facts.limit, _NEARLY * (facts.limit - room))
        is_full = config.wind_at < 1 and facts.used > full_at
        if not is_full and (shown is None or not shown.is_left_out):
            return
        _, until = self._pauses.get(self._root(conversation), (0.0, 0.0))
        if self._clock() >= until:
            self._spawn(self._wind_ahead(conversation, shown, facts, choice))

    # ---- in the background ------------------------------------------------------------------------------------------

    async def _wind_ahead(
        self, conversation: Conversation, shown: Wind | None, facts: ContextFacts, choice: Choice
    ) -> None:
        while self._conditions.is_background_paused:
            self._change.clear()
            await self._change.wait()
        if not self._asking.is_resident(choice):
            return
        full = Full(
            context_length=facts.limit,
            num_tokens=facts.used,
            is_prompt=False,
            target_share=self._target(conversation, facts.limit),
        )
        try:
            made = await self._planned(conversation, shown, full, choice, Priority.BACKGROUND)
        except FAILURES as exc:
            logger.info("a conversation with %s was not wound ahead: %s", conversation.model, exc)
            return
        if isinstance(made, NoPlan) or self._in_progress(conversation, shown) is not None:
            return
        _, task = self._begin(conversation, made, choice)
        await asyncio.wait([task])
        wind = task.result()
        self._note_pause(self._root(conversation), has_failed=wind is None)
        if wind is not None:
            await self._warm(conversation, wind, choice)

    async def _warm(self, conversation: Conversation, wind: Wind, choice: Choice) -> None:
        """Have the wound prompt evaluated, so that the next turn does not wait for that either.

        The model comes back for it where the one that told has taken its place, but never in the place of others'.
        """
        is_there = self._asking.is_resident(choice) or self._asking.has_told(wind)
        if self._conditions.is_background_paused or not is_there:
            return
        try:
            await self._summarising.warm(conversation.shown(wind), self._asking.own(conversation, choice))
        except FAILURES as exc:
            logger.info("a conversation with %s was wound, but not evaluated ahead: %s", conversation.model, exc)

    def _note_pause(self, root: _Key, *, has_failed: bool) -> None:
        pause_s, _ = self._pauses.pop(root, (0.0, 0.0))
        if has_failed:
            pause_s = min(_LONGEST_PAUSE_S, max(_FIRST_PAUSE_S, 2 * pause_s))
            self._pauses[root] = pause_s, self._clock() + pause_s
            if len(self._pauses) > _MAX_PAUSED:
                del self._pauses[next(iter(self._pauses))]

    # ---- winds in progress ------------------------------------------------------------------------------------------

    def _in_progress(
        self, conversation: Conversation, shown: Wind | None
    ) -> tuple[Winding, asyncio.Task[Wind | None]] | None:
        """Return the wind of the longest beginning of a conversation that is on its way."""
        if not self._windings:
            return None
        begin = 0 if shown is None else shown.num_told - shown.is_left_out
        keys = (
            self._key(conversation, conversation.chain[end]) for end in reversed(conversation.told_ends) if end > begin
        )
        return next((self._windings[key] for key in keys if key in self._windings), None)

    def _begin(
        self, conversation: Conversation, made: Planned, choice: Choice
    ) -> tuple[Winding, asyncio.Task[Wind | None]]:
        plan, base = made.plan, made.base
        shown = conversation.shown(base)
        num_behind = len(conversation.prompt.messages) - plan.told_end
        wish = conversation.request.context
        part = Part(
            shown=shown,
            told_end=len(shown.messages) - num_behind,
            inline_tokens=made.inline_tokens,
            prompt=conversation.prompt,
            told=plan.told,
            sizes=made.sizes.messages,
            earlier=None if base is None else base.narrative,
            max_tokens=plan.narrative_tokens,
            instructions=None if wish is None else wish.instructions,
        )
        winding = Winding(
            conversation,
            made,
            Telling(part, self._said, self._asking.sizes),
            choose=partial(self._asking.choose, conversation, choice, made.full.context_length),
            count=partial(self._asking.count, conversation, choice),
            conditions=self._conditions,
            timeout_s=lambda: self._current.config.context.timeout_s,
            is_anybody_here=self._is_anybody_here,
            clock=self._clock,
        )
        key = self._key(conversation, winding.digest)
        task = self._spawn(self._run(key, winding))
        self._windings[key] = winding, task
        return winding, task

    async def _run(self, key: _Key, winding: Winding) -> Wind | None:
        try:
            wind = await winding.run()
            if wind is not None:
                self._contexts.keep(wind)
            return wind
        finally:
            self._windings.pop(key, None)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something for nobody's request: as the server itself, which may ask every model."""
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _wake(self) -> None:
        """Have all that stands still look at the conditions anew."""
        self._change.set()
        for winding, _ in self._windings.values():
            winding.wake()

    @staticmethod
    def _key(conversation: Conversation, digest: bytes) -> _Key:
        return conversation.request.owner, conversation.model, digest

    def _root(self, conversation: Conversation) -> _Key:
        return self._key(conversation, conversation.root)

    async def _said(self, asked: ChatPrompt, by: Summariser, max_tokens: int, priority: Priority) -> Said:
        return await self._summarising.said(asked, by, max_tokens=max_tokens, priority=priority)

    def _is_anybody_here(self) -> bool:
        return any(not isinstance(each, RunningRequest) or each.facts.protocol != PROTOCOL for each in self._requests)

    async def _planned(
        self, conversation: Conversation, shown: Wind | None, full: Full, choice: Choice, priority: Priority
    ) -> Planned | NoPlan:
        own = self._asking.ask_on(conversation, choice, priority)
        base = shown
        while base is not None and base.is_left_out:  # what nobody could tell then is told after all
            base = await self._contexts.longest(conversation.beginnings(before=base.num_told))
        return await planned(conversation, Standing(shown=shown, base=base), full, self._asking.sizes, own)

    def _target(self, conversation: Conversation, context_length: int) -> float:
        target, wish = self._current.config.context.target, conversation.request.context
        if wish is None or wish.threshold is None:
            return target
        return min(target, wish.threshold / context_length / 2)
