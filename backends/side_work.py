"""What a worker does beside generating: it answers questions at once, and embeds between the steps of its sequences."""

from collections.abc import Callable

from backends.answers import answer
from backends.base import Engine
from backends.embedding_queue import EmbeddingQueue
from backends.errors import BackendError
from backends.failures import failed
from backends.intake import Intake
from backends.messages import Answered, Ask, Embed, Event, LoadedModel

MIXED_STEP_TOKENS = 32
"""Tokens that are embedded between two steps of running sequences: about the time that one of those takes."""


class SideWork:
    """Owned by the worker's loop.

    Args:
        engine: Loaded.
        model: What it has loaded.
        intake: Renders and tokenizes prompts.
        clock: Monotonic seconds.
    """

    def __init__(self, engine: Engine, model: LoadedModel, intake: Intake, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._intake = intake
        self._embeddings = EmbeddingQueue(engine, model, clock)

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return self._embeddings.has_work

    @property
    def sequence_ids(self) -> list[int]:
        """Ids of the requests that have not ended."""
        return self._embeddings.sequence_ids

    def take(self, message: Ask | Embed) -> list[Event]:
        """Answer a question, or queue a request for embeddings."""
        if isinstance(message, Embed):
            self._embeddings.add(message)
            return []
        try:
            return [Answered(message.sequence_id, answer(message.question, self._engine.tokenizer, self._intake))]
        except BackendError as exc:
            return [failed(message.sequence_id, exc)]

    def cancel(self, sequence_id: int) -> list[Event]:
        """Give a request up at once; return its terminal message, nothing for one that is not here."""
        return self._embeddings.cancel(sequence_id)

    def step(self, should_abort: Callable[[int], bool], *, is_alone: bool) -> list[Event]:
        """Do one piece of work.

        Args:
            should_abort: To be asked now and then in a long piece, with the request's id: is it to be given up?
            is_alone: Whether no sequence runs that the piece would hold up.
        """
        step_tokens = self._engine.step_tokens
        return self._embeddings.step(step_tokens if is_alone else min(step_tokens, MIXED_STEP_TOKENS), should_abort)
