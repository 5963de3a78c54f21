"""Requests for embeddings inside a worker: one at a time, in pieces that fit between the steps of running sequences.

A job first tokenizes all its inputs, so that one that cannot be served fails before anything is computed; then it
embeds them in order. Not the engine's part (`embedding`), not the batcher's: a job has no place in the batch.
"""

import dataclasses
import functools
from collections import deque
from collections.abc import Callable

from backends.base import LoadedEngine
from backends.embedding import Encoder
from backends.errors import BackendError, ContextLengthError, PromptError, UnsupportedByModelError
from backends.prompting.intake import Intake
from backends.prompting.pairs import PairEncoder
from backends.wire.load import LoadedModel
from backends.wire.messages import (
    Aborted,
    Embed,
    Embedded,
    Event,
    Failed,
    Finished,
    SequenceEnd,
    SequenceTimings,
    Usage,
)
from backends.wire.output import Output
from backends.wire.questions import MAX_TEXT_BYTES
from backends.wire.request import Pooling

FIRST_MIXED_TOKENS = 8
"""Tokens that are embedded between two steps of running sequences, before it is known how long that takes."""
MAX_MIXED_TOKENS = 128


@dataclasses.dataclass(slots=True)
class _Job:
    """One `Embed`.

    Attributes:
        inputs: Token ids of the inputs that are tokenized; the first `num_done` of them are embedded.
        is_started: Whether the encoder has the input that is to be done next.
    """

    message: Embed
    received_at: float
    started_at: float | None = None
    inputs: list[list[int]] = dataclasses.field(default_factory=list)
    num_done: int = 0
    encoder: Encoder | None = None
    is_started: bool = False

    @property
    def usage(self) -> Usage:
        return Usage(sum(len(token_ids) for token_ids in self.inputs), 0, 0)


class EmbeddingQueue:
    """First come, first served.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, engine: LoadedEngine, model: LoadedModel, intake: Intake, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._model = model
        self._intake = intake
        self._clock = clock
        self._jobs: deque[_Job] = deque()
        self._mixed_tokens = FIRST_MIXED_TOKENS
        self._ended_at: float | None = None

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._jobs)

    @property
    def sequence_ids(self) -> list[int]:
        """Ids of the requests that have not ended."""
        return [job.message.sequence_id for job in self._jobs]

    def add(self, message: Embed) -> None:
        """Queue a request."""
        self._jobs.append(_Job(message, self._clock()))

    def cancel(self, sequence_id: int) -> list[Event]:
        """Give a request up at once; return its terminal message, nothing for one that is not here."""
        for job in self._jobs:
            if job.message.sequence_id == sequence_id:
                self._end(job)
                return [Aborted(sequence_id, job.usage)]
        return []

    def step(self, should_abort: Callable[[int], bool], *, is_alone: bool) -> list[Event]:
        """Do the next piece of work: tokenize one input, or evaluate some tokens of one.

        Beside sequences, a piece takes about as long as their step between it and the last.

        Args:
            should_abort: To be asked now and then with the request's id; True means that its cancel has arrived.
            is_alone: Whether no sequence runs that the piece would hold up.
        """
        job = self._jobs[0]
        is_tokenizing = len(job.inputs) < len(job.message.inputs)
        step_tokens = self._engine.limits.step_tokens
        last_ended_at, started_at = self._ended_at, self._clock()
        if job.started_at is None:
            job.started_at = started_at
        events: list[Event] = []
        try:
            if is_tokenizing:
                job.inputs.append(self._token_ids(job))
            else:
                events = self._embed(
                    job, step_tokens if is_alone else min(step_tokens, self._mixed_tokens), should_abort
                )
        except BackendError as exc:
            self._end(job)
            events = [Failed.of(job.message.sequence_id, exc)]
        self._ended_at = None if is_alone else self._clock()
        if not is_tokenizing and last_ended_at is not None and self._ended_at is not None:
            self._adapt(piece_s=self._ended_at - started_at, gap_s=started_at - last_ended_at)
        return events

    def _adapt(self, *, piece_s: float, gap_s: float) -> None:
        if piece_s > gap_s:
            self._mixed_tokens = max(1, self._mixed_tokens // 2)
        elif piece_s < gap_s / 2:
            self._mixed_tokens = min(MAX_MIXED_TOKENS, self._mixed_tokens * 2)

    def _embed(self, job: _Job, max_tokens: int, should_abort: Callable[[int], bool]) -> list[Event]:
        sequence_id = job.message.sequence_id
        token_ids = job.inputs[job.num_done]
        if job.encoder is None:
            longest = max(len(token_ids) for token_ids in job.inputs)
            job.encoder = self._engine.create_encoder(self._pooling_of(job), longest)
        if not job.is_started:
            job.encoder.start(token_ids)
            job.is_started = True
        vector = job.encoder.step(max_tokens, lambda: should_abort(sequence_id))
        if vector is None:
            return []
        job.is_started = False
        job.num_done += 1
        events: list[Event] = [Embedded(sequence_id, job.num_done - 1, vector, len(token_ids))]
        if job.num_done == len(job.inputs):
            self._end(job)
            events.append(Finished(sequence_id, Output(), SequenceEnd("stop", job.usage, self._timings(job))))
        return events

    def _end(self, job: _Job) -> None:
        self._jobs.remove(job)
        if job.encoder is not None:
            job.encoder.close()

    def _timings(self, job: _Job) -> SequenceTimings:
        assert job.started_at is not None
        return SequenceTimings((job.started_at - job.received_at) * 1000, (self._clock() - job.started_at) * 1000, 0.0)

    def _pooling_of(self, job: _Job) -> Pooling:
        own, wish = self._model.pooling, job.message.pooling
        if job.message.query is not None:
            return Pooling.RANK
        if own is Pooling.RANK:
            raise UnsupportedByModelError(
                "model: this model ranks documents; it has no embeddings; use POST /v1/rerank", param="model"
            )
        if own is not None and wish is not None and own is not wish:
            raise UnsupportedByModelError(
                f"pooling: this model was made for {own} pooling; leave the field out", param="pooling"
            )
        return own or wish or Pooling.MEAN

    def _token_ids(self, job: _Job) -> list[int]:
        """Tokenize the job's next input."""
        index = len(job.inputs)
        if job.message.query is not None:
            return self._pair(job.message.query, str(job.message.inputs[index]), f"documents[{index}]")
        param = "input" if len(job.message.inputs) == 1 else f"input[{index}]"
        given = job.message.inputs[index]
        if isinstance(given, list):
            self._intake.check_ids(given, param)
        token_ids = given if isinstance(given, list) else self._encoded(given, param, job)
        if not token_ids:
            raise PromptError(f"{param}: it is empty after tokenization; send at least one token", param=param)
        if len(token_ids) > self._model.context_length and job.message.truncates:
            closing = self._engine.closing_ids if isinstance(given, str) else []
            return [*token_ids[: self._model.context_length - len(closing)], *closing]
        if len(token_ids) > self._model.context_length:
            raise ContextLengthError(
                num_prompt_tokens=len(token_ids), context_length=self._model.context_length, param=param
            )
        return token_ids

    def _pair(self, query: str, document: str, param: str) -> list[int]:
        """Tokenize a query and a document for a model that ranks."""
        if self._pairs is None:
            raise UnsupportedByModelError("model: this model was not made to rank documents", param="model")
        self._check_text(f"{query}\n{document}", param, "send a part of it")
        token_ids = self._pairs.encode(query, document)
        if not token_ids:
            raise PromptError(f"{param}: nothing of it and the query is left after tokenization", param=param)
        if len(token_ids) > self._model.context_length:
            raise ContextLengthError(
                num_prompt_tokens=len(token_ids), context_length=self._model.context_length, param=param
            )
        return token_ids

    @functools.cached_property
    def _pairs(self) -> PairEncoder | None:
        form = self._engine.pair_form
        return None if form is None else PairEncoder(self._engine.tokenizer, form)

    def _check_text(self, text: str, param: str, way_out: str) -> None:
        """Refuse what would take long to tokenize."""
        self._intake.check_size(text, param)
        num_bytes = len(text.encode())
        if num_bytes > MAX_TEXT_BYTES:
            problem = f"{num_bytes} bytes, but one input may have {MAX_TEXT_BYTES}"
            raise PromptError(f"{param}: {problem}; {way_out}", param=param)

    def _encoded(self, text: str, param: str, job: _Job) -> list[int]:
        """Tokenize a text, or of one that is to be cut no more than its beginning, if that fills the context."""
        num_bytes = min(self._model.context_length * max(1, self._engine.tokenizer.max_token_bytes), MAX_TEXT_BYTES)
        data = text.encode()
        if job.message.truncates and len(data) > num_bytes:
            token_ids = self._encode(data[:num_bytes].decode(errors="ignore"), param)
            if len(token_ids) > self._model.context_length:
                return token_ids
        return self._encode(text, param)

    def _encode(self, text: str, param: str) -> list[int]:
        """Tokenize a text with the special tokens that the model wants around it; control tokens in it are text."""
        self._check_text(text, param, "embed the text in parts")
        tokenizer = self._engine.tokenizer
        token_ids = tokenizer.encode(text, add_bos=tokenizer.adds_bos, parse_control=False)
        token_ids += self._engine.closing_ids
        if not token_ids and not text:
            # One of several texts may be empty and has a vector like the others; here nothing stands around it.
            token_ids = [tokenizer.bos_id] if tokenizer.bos_id is not None else sorted(tokenizer.end_ids)[:1]
        return token_ids
