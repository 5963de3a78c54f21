"""A worker with its model: read commands, run one step, write the step's events as one frame.

Not the process and not the load (`worker`), not what a step does (`batching`).
"""

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from backends.base import LoadedEngine
from backends.batching.batcher import Batcher
from backends.batching.runner import BatchRunner
from backends.batching.saving import Saving
from backends.batching.tile_encoding import TileEncoding
from backends.errors import BackendError, FrameError, UnsupportedByModelError
from backends.output.answer import RunningAnswer
from backends.process.admission import Admission, Admitted
from backends.process.embedding_queue import EmbeddingQueue
from backends.process.image_loader import ImagePreparer
from backends.process.questions import Questions
from backends.process.stats import StatsReporter
from backends.step import StepPlan, StepResult
from backends.tile_cache import TileCache
from backends.wire.channel import Channel, ChannelClosedError
from backends.wire.load import LoadedModel
from backends.wire.messages import (
    HEARTBEAT_INTERVAL_S,
    Aborted,
    Accepted,
    Answered,
    Ask,
    CacheDiscarded,
    Cancel,
    Command,
    Embed,
    Event,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Load,
    Pause,
    Resume,
    Shutdown,
)
from backends.wire.prompts import images_of
from backends.wire.questions import CountTokens

ABORT_POLL_INTERVAL_S = 0.02
"""How often a long step looks at the channel for a cancel: far below the second in which a cancel must act."""
PENDING_POLL_S = 0.002
"""How often an idle worker looks whether pictures are prepared, or a constraint is compiled."""
TOWER_POLL_S = 0.02
"""The same for the tower beside its steps, which takes much longer and wants the cores."""
SAVE_POLL_S = 0.01
"""How long to wait for a request before a further piece of a cache is saved, which takes as long."""


class Serving:
    """Owns the requests of one worker, from their message to their end.

    Args:
        model: What the engine has loaded, by which requests are judged.
        batcher: With the engine's limits.
        saving: Has caches of this artifact read and written, or None.
        arrived: Commands that came with the load.
        slot_files_dir: Where clients have caches of this artifact saved, or None.
        clock: Monotonic seconds.
        images: Prepares pictures; or why the model sees none; None = it is a text model.
    """

    def __init__(
        self,
        channel: Channel,
        engine: LoadedEngine,
        model: LoadedModel,
        batcher: Batcher,
        saving: Saving | None = None,
        arrived: Iterable[Command] = (),
        slot_files_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        images: ImagePreparer | UnsupportedByModelError | None = None,
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._can_generate = model.can_generate
        tiles = TileCache()
        self._clock = clock
        self._admission = Admission(engine.tokenizer, model, images, tiles)
        self._embeddings = EmbeddingQueue(engine, model, self._admission.intake, clock)
        self._batch = BatchRunner(engine, batcher, saving, clock)
        self._questions = Questions(engine.tokenizer, self._admission.intake, self._batch, tiles, slot_files_dir)
        self._batcher = batcher
        self._stats = StatsReporter(batcher, engine, None if saving is None else saving.saved.counts)
        self._encoding = TileEncoding(engine, batcher, tiles, clock)
        self._has_chunks = True
        self._answers: dict[int, RunningAnswer] = {}
        self._inbox: list[Command] = list(arrived)
        self._outbox: list[Event] = []
        self._saving = saving
        self._last_sent_at = self._last_poll_at = clock()
        self._is_done = False
        self._channel_error: ChannelClosedError | FrameError | None = None

    def run(self) -> None:
        """Work until the gateway says `Shutdown`.

        Raises:
            ChannelClosedError: It is gone.
            FrameError: It sent something that is no frame of ours.
        """
        try:
            self._run()
        finally:
            self._encoding.close()

    def _run(self) -> None:
        self._flush()
        while not self._is_done:
            self._inbox += self._channel.receive(self._patience_s)
            commands, self._inbox = self._inbox, []
            for command in commands:
                self._handle(command)
            self._admit_pending()
            if self._outbox:
                self._flush()  # what they are answered with does not wait for a long step
            if self._batcher.has_work:
                self._step()
            if self._batcher.has_work or self._encoding.is_busy:
                self._encode()
            if self._embeddings.has_work:
                self._embed()
            if self._can_save:
                self._save_piece()
            self._flush()

    @property
    def _patience_s(self) -> float | None:
        """How long to wait for commands: not at all with work at hand, for ever without any."""
        # The inbox has what came in a step that may have ended everything else.
        if self._inbox or self._embeddings.has_work or (self._batcher.has_work and not self._awaits_tower):
            return 0
        if self._admission.has_pending:
            return PENDING_POLL_S
        if self._encoding.is_busy:
            return TOWER_POLL_S
        return SAVE_POLL_S if self._can_save else None

    @property
    def _can_save(self) -> bool:
        """Whether a cache is to be saved, and no request is there that would wait for it."""
        if self._saving is None or not self._saving.has_work or self._is_done:
            return False
        return not (self._answers or self._inbox or self._embeddings.has_work or self._admission.has_pending)

    @property
    def _awaits_tower(self) -> bool:
        """Whether nobody can compute before the tower is done beside the steps."""
        return self._encoding.is_busy and not self._has_chunks

    def _handle(self, command: Command) -> None:
        match command:
            case Generate():
                self._generate(command)
            case Ask():
                self._answer(command)
            case Embed():
                self._embeddings.add(command)
            case Cancel(sequence_id=sequence_id):
                self._cancel(sequence_id)
            case Pause(sequence_id=sequence_id):
                self._pause(sequence_id, is_paused=True)
            case Resume(sequence_id=sequence_id):
                self._pause(sequence_id, is_paused=False)
            case Shutdown():
                self._is_done = True
                for sequence_id in [*self._answers, *self._admission.pending_ids(), *self._embeddings.sequence_ids]:
                    self._cancel(sequence_id)
                self._flush()
                self._batch.save()
            case Load():
                raise FrameError("a worker loads one model in its life")
            case _:
                assert_never(command)

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _generate(self, message: Generate) -> None:
        if not self._can_generate:
            error = UnsupportedByModelError("model: this model can only embed texts; use /v1/embeddings", param="model")
            self._outbox.append(Failed.of(message.sequence_id, error))
            return
        result = self._admission.submit(message, self._clock())
        if result is not None:
            self._start(result)

    def _answer(self, message: Ask) -> None:
        if isinstance(message.question, CountTokens) and images_of(message.question.prompt):
            count = self._admission.submit_count(message, message.question, self._clock())
            if count is not None:
                self._start(count)
            return
        try:
            reply = self._questions.answer_to(message.question)
        except BackendError as exc:
            self._outbox.append(Failed.of(message.sequence_id, exc))
        else:
            self._outbox.append(Answered(message.sequence_id, reply))

    def _admit_pending(self) -> None:
        """Start what has waited for pictures or a constraint; end the process when a compilation never ends."""
        if not self._admission.has_pending:
            return
        now = self._clock()
        for result in self._admission.poll(now):
            self._start(result)
        if self._admission.is_stuck(now):
            print("worker: the compilation of a grammar does not end", file=sys.stderr)  # noqa: T201 - its last words
            self._is_done = True

    def _start(self, result: Admitted) -> None:
        if not isinstance(result, RunningAnswer):
            self._outbox.append(result)
            return
        sequence = result.sequence
        self._batch.start(sequence, result.editor)
        self._answers[sequence.sequence_id] = result
        self._outbox.append(Accepted(sequence.sequence_id, sequence.num_prompt_tokens))
        if result.is_paused:
            self._batcher.pause(sequence.sequence_id)

    def _cancel(self, sequence_id: int) -> None:
        running = self._answers.get(sequence_id) or self._admission.pending(sequence_id)
        if running is None:
            self._outbox += self._embeddings.cancel(sequence_id)
        else:
            self._forget(sequence_id, is_sound=not self._questions.is_memory_short)
            if self._questions.is_memory_short:
                self._engine.clear_pool()
            self._outbox.append(Aborted(sequence_id, running.usage))

    def _pause(self, sequence_id: int, *, is_paused: bool) -> None:
        pending = self._admission.pending(sequence_id)
        if pending is not None:
            pending.is_paused = is_paused
        elif is_paused:
            self._batcher.pause(sequence_id)
        else:
            self._batcher.resume(sequence_id, self._clock())

    def _forget(self, sequence_id: int, *, is_sound: bool = False) -> None:
        """Drop all that is kept of a request, but for its cache where that is sound and may serve others."""
        self._answers.pop(sequence_id, None)
        self._admission.forget(sequence_id)
        if is_sound and not self._is_done:
            self._batch.retire(sequence_id)
        else:
            self._batch.remove(sequence_id)

    # ---- work --------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        now = self._clock()
        plan = self._batch.plan(now)
        self._has_chunks = bool(plan.chunks)
        if not plan.chunks and not plan.evicted:  # all that could compute wait for the tower
            return
        step_ids = {chunk.sequence.sequence_id for chunk in plan.chunks}
        for chunk in plan.chunks:
            self._outbox += self._answers[chunk.sequence.sequence_id].on_scheduled(now)
        try:
            result = self._batch.step(plan, lambda: self._should_abort(step_ids))
        except BackendError as exc:
            for chunk in plan.chunks:
                self._forget(chunk.sequence.sequence_id)
                self._outbox.append(Failed.of(chunk.sequence.sequence_id, exc))
        else:
            self._report(plan, result, now)
        self._check_channel()

    def _report(self, plan: StepPlan, result: StepResult, begun_at: float) -> None:
        now = self._clock()
        for chunk in plan.chunks:
            sequence_id = chunk.sequence.sequence_id
            self._answers[sequence_id].on_step(begun_at, self._engine.threads)
            if sequence_id not in result.tokens:
                self._outbox += self._answers[sequence_id].on_progress()
        for sequence_id, scores in result.prompt_scores.items():
            self._outbox += self._answers[sequence_id].on_prompt_scores(scores)
        for sequence_id in result.tokens:
            self._report_tokens(sequence_id, result, now)
        for sequence_id, error in result.errors.items():
            if sequence_id in self._answers:  # and has not ended before it
                self._forget(sequence_id)
                self._outbox.append(Failed.of(sequence_id, error))

    def _report_tokens(self, sequence_id: int, result: StepResult, now: float) -> None:
        """Take over what was drawn, one token after the other, up to the one that ends the answer."""
        answer = self._answers[sequence_id]
        for token_id, likelihoods in result.drawn(sequence_id):
            self._batcher.on_token(sequence_id, token_id)
            events = answer.on_token(token_id, likelihoods, now)
            self._outbox += events
            if events and isinstance(events[-1], Finished):
                self._forget(sequence_id, is_sound=True)
                return

    def _encode(self) -> None:
        """Have the tower make rows, where some are wanted; who goes without them ends here."""
        now = self._clock()
        for sequence_id in self._encoding.begin():
            self._outbox += self._answers[sequence_id].on_scheduled(now)
        if not self._encoding.is_busy:
            return
        self._flush()  # what is known does not wait for the tower
        failure = self._encoding.advance(lambda: self._should_abort(set()))
        if failure is not None:
            for sequence_id in failure.sequence_ids:
                self._forget(sequence_id, is_sound=True)
                self._outbox.append(Failed.of(sequence_id, failure.error))
        self._check_channel()

    def _embed(self) -> None:
        """Do a piece of what is to be embedded beside the sequences."""
        self._flush()  # what the sequences' step brought does not wait
        events = self._embeddings.step(
            lambda sequence_id: self._should_abort({sequence_id}), is_alone=not self._batcher.has_work
        )
        self._outbox += events  # not in one line with the call, which may send and replace the outbox
        self._check_channel()

    def _save_piece(self) -> None:
        """Save a piece of what is worth it; the next request waits for no more than that."""
        assert self._saving is not None, "there is something to be saved"
        self._saving.do_piece()
        stats = None if self._saving.has_work else self._stats.due(self._clock(), is_busy=False)
        if stats is not None:
            self._outbox.append(stats)

    # ---- channel -----------------------------------------------------------------------------------------------------

    def _should_abort(self, step_ids: set[int]) -> bool:
        """Look at the channel from inside a long step: is one of the step's requests, or all, to be given up?"""
        now = self._clock()
        if now - self._last_poll_at < ABORT_POLL_INTERVAL_S:
            return False
        self._last_poll_at = now
        try:
            if now - self._last_sent_at >= HEARTBEAT_INTERVAL_S:
                self._outbox.append(self._heartbeat)
                self._flush()
            arrived = self._channel.receive(0)
        except (ChannelClosedError, FrameError) as exc:  # a library's callback is no place to raise
            self._channel_error = exc
            return True
        self._inbox += arrived
        cancelled_ids = {command.sequence_id for command in arrived if isinstance(command, Cancel)}
        for sequence_id in cancelled_ids:
            self._encoding.forget(sequence_id)
        return bool(cancelled_ids & step_ids) or any(isinstance(command, Shutdown) for command in arrived)

    def _check_channel(self) -> None:
        if self._channel_error is not None:
            raise self._channel_error

    @property
    def _heartbeat(self) -> Heartbeat:
        return Heartbeat(self._batcher.num_running, self._batcher.num_waiting, self._batcher.num_free_cells)

    def _flush(self) -> None:
        """Send what is to be told, or a sign of life where work goes on and nothing was told for a while."""
        now = self._clock()
        is_busy = bool(self._answers) or self._embeddings.has_work or self._admission.has_pending
        if not self._outbox and is_busy and now - self._last_sent_at >= HEARTBEAT_INTERVAL_S:
            self._outbox.append(self._heartbeat)
        while self._saving is not None and self._saving.saved.discarded:
            file = self._saving.saved.discarded.pop()
            self._outbox.append(CacheDiscarded(str(file.path), file.reason))
        if self._outbox:
            stats = self._stats.due(now, is_busy=is_busy)
            if stats is not None:
                self._outbox.append(stats)
            events, self._outbox = self._outbox, []
            self._last_sent_at = now
            self._channel.send(events)
