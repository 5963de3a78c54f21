"""A conversation as winding knows it: the whole history that its client sent, and what stands for its beginning."""

from functools import cached_property

from msgspec.structs import replace

from backends.wire.prompts import ChatPrompt
from backends.wire.request import Priority
from registry.engines import EngineSetting
from router.context.chain import chain_of, root_of
from router.context.narrative import wound
from router.context.shown import shown_of
from router.context.turns import is_pinned, units_of
from router.models.model_request import ModelRequest
from router.models.targets import Choice
from router.requests.keeping import KeptRequest
from router.requests.request import GenerationRequest
from router.status.contexts import WoundFacts
from router.stores.contexts import Beginnings, Wind, WindUse


class Conversation:
    """What one request sends of a conversation, which is all of it.

    Args:
        request: With one `ChatPrompt`.

    Attributes:
        model: What it is called, with its adapter.
    """

    def __init__(self, request: GenerationRequest) -> None:
        (prompt,) = request.prompts
        assert isinstance(prompt, ChatPrompt)
        # Turns that would be left out without a word are wound instead.
        self.request = replace(request, prompts=(replace(prompt, truncates=False),))
        self.truncates = prompt.truncates
        self.model = request.model_request.label

    @property
    def prompt(self) -> ChatPrompt:
        """The whole history."""
        (prompt,) = self.request.prompts
        assert isinstance(prompt, ChatPrompt)
        return prompt

    @property
    def priority(self) -> Priority:
        """Of the request."""
        return self.request.spec.priority

    @cached_property
    def chain(self) -> tuple[bytes, ...]:
        """The digests of its beginnings, by their numbers of messages."""
        return chain_of(self.prompt)

    @property
    def root(self) -> bytes:
        """By which all branches of it are known."""
        return root_of(self.prompt, self.chain)

    @cached_property
    def told_ends(self) -> tuple[int, ...]:
        """Where a told beginning may end."""
        return units_of(self.prompt.messages).told_ends

    def beginnings(self, before: int | None = None) -> Beginnings:
        """Return by what it is found that something was told of it.

        Args:
            before: Only of shorter beginnings than so many messages.
        """
        ends = [end for end in self.told_ends if before is None or end < before]
        digests = [self.chain[end] for end in ends]
        return Beginnings(owner=self.request.owner, model=self.model, digests=digests)

    def use(self, wind: Wind) -> WindUse:
        """Return what is to be noted of a request whose model saw that."""
        request = self.request
        return WindUse(
            context_id=wind.context_id,
            shown=shown_of(self.shown(wind)),
            kept_in=request.kept_in,
            is_stored=request.is_stored,
        )

    def asked_on(self, choice: Choice) -> ModelRequest:
        """Return what asks for its model where that has its cache.

        A worker that the request names counts for that request alone: what is told of a conversation is for all that
        wait for it, and goes on when that worker has gone.
        """
        engine = EngineSetting(str(choice.target.engine))
        return replace(self.request.model_request, engine=engine, size=None, min_context=None, worker_id=None)

    def num_turns(self, told_end: int, task: int | None) -> int:
        """Return how many messages of a told beginning are not shown any more; arguments as of `WindPlan`."""
        messages = self.prompt.messages[:told_end]
        return sum(at != task and not is_pinned(message) for at, message in enumerate(messages))

    def shown(self, wind: Wind | None) -> ChatPrompt:
        """Return what the model is shown of it."""
        if wind is None:
            return self.prompt
        has_left_out = wind.is_left_out and wind.narrative is not None
        return wound(self.prompt, wind.num_told, wind.task, wind.narrative, has_left_out=has_left_out)

    def kept(self, wind: Wind | None, *, is_new: bool = False) -> KeptRequest:
        """Return the request with what the model is shown.

        Args:
            is_new: Whether it waited for that wind.
        """
        if wind is None:
            return KeptRequest(request=self.request)
        facts = WoundFacts(
            turns=wind.num_turns,
            tokens_before=wind.tokens_before,
            tokens_after=wind.tokens_after,
            narrative_tokens=wind.narrative_tokens,
            by=wind.told_by,
            ms=round(wind.ms, 1) if is_new else 0.0,
            left_out=wind.is_left_out,
        )
        request = replace(self.request, prompts=(self.shown(wind),))
        return KeptRequest(request=request, context_id=wind.context_id, wound=facts, narrative=wind.narrative)
