"""What a worker does beside generating: it answers questions at once, and embeds between the steps of its sequences."""

from collections.abc import Callable

from backends.base import Engine
from backends.errors import BackendError
from backends.process.answers import answer
from backends.process.embedding_queue import EmbeddingQueue
from backends.prompting.intake import Intake
from backends.wire.messages import Answered, Ask, Embed, Event, Failed, LoadedModel

FIRST_MIXED_TOKENS = 8
"""Tokens that are embedded between two steps of running sequences, before it is known how long that takes."""
MAX_MIXED_TOKENS = 128


class SideWork:
    """Owned by the worker's loop.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, engine: Engine, model: LoadedModel, intake: Intake, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._intake = intake
        self._clock = clock
        self._embeddings = EmbeddingQueue(engine, model, clock)
        self._mixed_tokens = FIRST_MIXED_TOKENS
        self._ended_at: float | None = None

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
            return [Failed.of(message.sequence_id, exc)]

    def cancel(self, sequence_id: int) -> list[Event]:
        """Give a request up at once; return its terminal message, nothing for one that is not here."""
        return self._embeddings.cancel(sequence_id)

    def step(self, should_abort: Callable[[int], bool], *, is_alone: bool) -> list[Event]:
        """Do one piece of work; beside sequences, one that takes about as long as the step between it and the last.

        Args:
            should_abort: To be asked now and then in a long piece, with the request's id: is it to be given up?
            is_alone: Whether no sequence runs that the piece would hold up.
        """
        step_tokens = self._engine.step_tokens
        started_at = self._clock()
        events = self._embeddings.step(step_tokens if is_alone else min(step_tokens, self._mixed_tokens), should_abort)
        now = self._clock()
        if not is_alone and self._ended_at is not None and self._embeddings.has_evaluated:
            self._adapt(piece_s=now - started_at, gap_s=started_at - self._ended_at)
        self._ended_at = None if is_alone else now
        return events

    def _adapt(self, *, piece_s: float, gap_s: float) -> None:
        if piece_s > gap_s:
            self._mixed_tokens = max(1, self._mixed_tokens // 2)
        elif piece_s < gap_s / 2:
            self._mixed_tokens = min(MAX_MIXED_TOKENS, self._mixed_tokens * 2)
