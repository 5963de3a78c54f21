"""Asks models about conversations: their own, by the worker that has their cache, and the summariser of the config."""

import logging
from functools import partial
from typing import Final

from backends.wire.questions import Answer, CountTexts, Detokenize, Question, Text
from backends.wire.request import Priority
from router.config import CurrentConfig
from router.context.conversation import Conversation
from router.context.sizes import Ask, Sizes
from router.context.summarising import Summariser
from router.context.winding import FAILURES, Chosen
from router.models.directory import ModelDirectory
from router.models.model_request import ModelRequest
from router.models.targets import Choice
from router.requests.asking import Reply, ask
from router.requests.request import GenerationRequest
from router.stores.contexts import Wind
from router.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

_CHARS_PER_TOKEN: Final = 3


class Asking:
    """See the module.

    Attributes:
        sizes: What was counted.
    """

    def __init__(self, config: CurrentConfig, models: ModelDirectory, supervisor: Supervisor) -> None:
        self._current = config
        self._models = models
        self._supervisor = supervisor
        self.sizes = Sizes()

    def is_resident(self, choice: Choice) -> bool:
        """Tell whether the model that has answered is still loaded on its engine."""
        return self._supervisor.resident_of(choice.target.model).engine is choice.target.engine.kind

    def has_told(self, wind: Wind) -> bool:
        """Tell whether another model than a conversation's own has told it, and is loaded."""
        by = wind.told_by
        return by is not None and by != wind.model and self._supervisor.resident_of(by).engine is not None

    def ask_on(self, conversation: Conversation, choice: Choice, priority: Priority) -> Ask:
        """Return what puts questions to a conversation's own model."""
        return partial(self._ask, conversation.asked_on(choice), priority)

    async def choose(
        self,
        conversation: Conversation,
        choice: Choice,
        context_length: int,
        priority: Priority,
        *,
        is_waited_for: bool,
    ) -> Chosen | None:
        """Return who tells: the summariser of the config where it is there or nobody waits, else the model itself."""
        name = self._current.config.context.summarizer
        if name is not None and name != conversation.model:
            other = await self._other(conversation, name, priority)
            if other is not None:
                return other
        if not is_waited_for and not self.is_resident(choice):
            return None
        own = self.own(conversation, choice)
        return Chosen(own, partial(self._ask, own.model_request, priority), context_length)

    @staticmethod
    def own(conversation: Conversation, choice: Choice) -> Summariser:
        """Return a conversation's own model as who summarises it."""
        return Summariser(
            name=conversation.model,
            model_request=conversation.asked_on(choice),
            is_own=True,
            owner=conversation.request.owner,
            session_id=conversation.request.spec.session_id,
        )

    async def _other(self, conversation: Conversation, name: str, priority: Priority) -> Chosen | None:
        """Return the config's summariser, loaded; None where it cannot be asked, or would have to be waited for."""
        try:
            model_request = self._models.model_request(name)
            if priority is Priority.INTERACTIVE and self._supervisor.resident_of(model_request.model).engine is None:
                return None
            reply = await self._reply(model_request, priority, CountTexts([]))
        except FAILURES as exc:
            logger.warning("context.summarizer %s cannot be asked, the conversation's own model is: %s", name, exc)
            return None
        other = Summariser(
            name=model_request.label,
            model_request=model_request,
            is_own=False,
            owner=conversation.request.owner,
            session_id=None,
        )
        return Chosen(other, partial(self._ask, model_request, priority), reply.model.context_length)

    async def count(self, conversation: Conversation, choice: Choice, text: str, priority: Priority) -> int:
        """Return the tokens of a narrative, or about as many where its model cannot be asked now."""
        try:
            own = self.ask_on(conversation, choice, priority)
            (num_tokens,) = await self.sizes.texts([text], own, conversation.model)
        except FAILURES:
            return len(text) // _CHARS_PER_TOKEN + 1
        return num_tokens

    async def text_of(self, request: GenerationRequest, choice: Choice, token_ids: list[int]) -> str:
        """Return the text of tokens, by the model that answers a request."""
        model_request = Conversation(request).asked_on(choice)
        text = await self._ask(model_request, request.spec.priority, Detokenize(token_ids))
        assert isinstance(text, Text)
        return text.text

    async def _ask(self, model_request: ModelRequest, priority: Priority, question: Question) -> Answer:
        return (await self._reply(model_request, priority, question)).answer

    async def _reply(self, model_request: ModelRequest, priority: Priority, question: Question) -> Reply:
        timeout_s = self._current.config.limits.stall_timeout_s
        return await ask(self._supervisor, model_request, question, timeout_s=timeout_s, priority=priority)
