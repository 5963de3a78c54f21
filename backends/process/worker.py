"""The worker process: one engine, one model, one thread, one channel to the gateway.

    python -P -m backends.process.worker --engine llamacpp --fd 3

The loop: read commands, run one step, write the step's events as one frame. It ends when the gateway says so, when the
channel closes (the gateway is gone), or with the process (PR_SET_PDEATHSIG on Linux).
"""

import argparse
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import assert_never

from backends.base import Engine, StepPlan, StepResult
from backends.batching import rounds
from backends.batching.batcher import Batcher
from backends.batching.capacity import BatchLimits
from backends.batching.saved_caches import SavedCaches
from backends.engines import create_engine
from backends.errors import (
    BackendError,
    EngineUnavailableError,
    FrameError,
    LoadError,
    UnsupportedByModelError,
)
from backends.output.answer import Generation
from backends.process.admission import Admission, Admitted, Refused
from backends.process.loading import load_model
from backends.process.side_work import SideWork
from backends.wire.channel import Channel, ChannelClosedError
from backends.wire.messages import (
    HEARTBEAT_INTERVAL_S,
    Aborted,
    Accepted,
    Ask,
    Cancel,
    Command,
    Embed,
    Event,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    LoadedModel,
    LoadFailed,
    LoadProgress,
    Pause,
    Resume,
    Shutdown,
)

ABORT_POLL_INTERVAL_S = 0.02
"""How often a long step looks at the channel for a cancel: far below the second in which a cancel must act."""
PENDING_POLL_S = 0.002
"""How often an idle worker looks whether a constraint has been compiled."""
_PR_SET_PDEATHSIG = 1


class Worker:
    """Owns the engine, the batcher and the running generations.

    Args:
        engine: Not loaded yet.
        import_ms: What its imports took, for the first message.
        clock: Monotonic seconds.
    """

    def __init__(
        self, channel: Channel, engine: Engine, *, import_ms: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._channel = channel
        self._engine = engine
        self._import_ms = import_ms
        self._clock = clock
        self._inbox: list[Command] = []
        self._outbox: list[Event] = []
        self._batcher: Batcher | None = None
        self._admission: Admission | None = None
        self._side_work: SideWork | None = None
        self._saved_caches: SavedCaches | None = None
        self._can_generate = True
        self._generations: dict[int, Generation] = {}
        self._last_sent_at = clock()
        self._last_poll_at = clock()
        self._is_done = False
        self._channel_error: ChannelClosedError | FrameError | None = None

    def run(self) -> int:
        """Work until the gateway says `Shutdown` or is gone; return the exit code."""
        try:
            info = self._engine.info()
            self._channel.send([Hello(info.engine, info.versions, info.features, self._import_ms)])
            while not self._is_done:
                self._inbox += self._channel.receive(self._patience_s)
                commands, self._inbox = self._inbox, []
                for command in commands:
                    self._handle(command)
                self._admit_pending()
                if self._outbox:
                    self._flush()  # what they are answered with does not wait for a long step
                if self._batcher is not None and self._batcher.has_work:
                    self._step(self._batcher)
                self._step_side_work()
                self._flush()
        except ChannelClosedError:
            return 0
        finally:
            self._engine.close()
        return 0

    @property
    def _patience_s(self) -> float | None:
        """How long to wait for commands: not at all with work at hand, for ever without any."""
        if self._inbox:  # they came in a step that may have ended everything else
            return 0
        if (self._batcher is not None and self._batcher.has_work) or self._has_side_work:
            return 0
        return PENDING_POLL_S if self._admission is not None and self._admission.has_pending else None

    def _handle(self, command: Command) -> None:
        match command:
            case Load():
                self._load(command)
            case Generate():
                self._generate(command)
            case Ask() | Embed():
                self._take_side_work(command)
            case Cancel(sequence_id=sequence_id):
                self._cancel(sequence_id)
            case Pause(sequence_id=sequence_id):
                self._pause(sequence_id)
            case Resume(sequence_id=sequence_id):
                self._resume(sequence_id)
            case Shutdown():
                pending_ids = [] if self._admission is None else self._admission.pending_ids()
                side_ids = [] if self._side_work is None else self._side_work.sequence_ids
                self._is_done = True
                for sequence_id in [*self._generations, *pending_ids, *side_ids]:
                    self._cancel(sequence_id)
                self._flush()
                if self._saved_caches is not None and self._batcher is not None:
                    self._saved_caches.save(self._engine, reversed(self._batcher.retired_ids))
            case _:
                assert_never(command)

    def _load(self, command: Load) -> None:
        last_percent = -1

        def on_progress(fraction: float) -> None:
            nonlocal last_percent
            percent = int(fraction * 100)
            if percent > last_percent:
                last_percent = percent
                self._channel.send([LoadProgress(fraction)])

        try:
            model = load_model(self._engine, command.spec, on_progress)
        except LoadError as exc:
            self._outbox.append(LoadFailed(exc.code, str(exc)))
            self._is_done = True
            self._flush()
            return
        spec = command.spec
        self._serve(model, rounds.limits_of(self._engine, model, spec))
        if spec.saved_caches_dir is not None:
            self._saved_caches = SavedCaches(Path(spec.saved_caches_dir), spec.saved_caches_max_bytes)
        self._outbox.append(Loaded(model))

    def _serve(self, model: LoadedModel, limits: BatchLimits) -> None:
        """Make ready for sequences on the loaded engine, within the model's limits."""
        self._admission = Admission(self._engine.tokenizer, model)
        self._can_generate = model.can_generate
        self._side_work = SideWork(self._engine, model, self._admission.intake, self._clock)
        self._batcher = Batcher(limits)

    def _generate(self, message: Generate) -> None:
        if self._admission is None:
            self._outbox.append(Failed(message.sequence_id, LoadError.code, "no model is loaded in this worker"))
            return
        if not self._can_generate:
            error = UnsupportedByModelError("model: this model can only embed texts; use /v1/embeddings", param="model")
            self._outbox.append(Failed.of(message.sequence_id, error))
            return
        result = self._admission.submit(message, self._clock())
        if result is not None:
            self._start(result)

    def _admit_pending(self) -> None:
        """Start what has waited for its constraint; end the process when a compilation never ends."""
        if self._admission is None or not self._admission.has_pending:
            return
        now = self._clock()
        for result in self._admission.poll(now):
            self._start(result)
        if self._admission.is_stuck(now):
            print("worker: the compilation of a grammar does not end", file=sys.stderr)  # noqa: T201 - its last words
            self._is_done = True

    def _start(self, result: Admitted | Refused) -> None:
        if isinstance(result, Refused):
            self._outbox.append(Failed.of(result.sequence_id, result.error))
            return
        assert self._batcher is not None
        sequence = result.generation.sequence
        if self._saved_caches is not None:
            rounds.restore(self._engine, self._batcher, self._saved_caches, sequence.token_ids, self._clock())
        self._engine.insert(sequence, result.generation.editor)
        self._batcher.add(sequence, self._clock())
        self._generations[sequence.sequence_id] = result.generation
        self._outbox.append(Accepted(sequence.sequence_id, sequence.num_prompt_tokens))
        if result.is_paused:
            self._pause(sequence.sequence_id)

    def _cancel(self, sequence_id: int) -> None:
        assert self._admission is not None or sequence_id not in self._generations
        generation = self._generations.get(sequence_id)
        if generation is None and self._admission is not None:
            generation = self._admission.pending(sequence_id)
        if generation is not None:
            self._forget(sequence_id, is_sound=True)
            self._outbox.append(Aborted(sequence_id, generation.usage))
        elif self._side_work is not None:
            self._outbox += self._side_work.cancel(sequence_id)

    @property
    def _has_side_work(self) -> bool:
        return self._side_work is not None and self._side_work.has_work

    def _take_side_work(self, message: Ask | Embed) -> None:
        if self._side_work is None:
            self._outbox.append(Failed(message.sequence_id, LoadError.code, "no model is loaded in this worker"))
        else:
            self._outbox += self._side_work.take(message)

    def _step_side_work(self) -> None:
        """Do a piece of what is to be done beside the sequences."""
        if self._side_work is None or not self._side_work.has_work:
            return
        self._flush()  # what the sequences' step brought does not wait
        is_alone = self._batcher is None or not self._batcher.has_work
        events = self._side_work.step(lambda sequence_id: self._should_abort({sequence_id}), is_alone=is_alone)
        self._outbox += events  # not in one line with the call, which may send and replace the outbox
        if self._channel_error is not None:
            raise self._channel_error

    def _pause(self, sequence_id: int) -> None:
        if self._batcher is None or self._admission is None:
            return
        self._admission.pause(sequence_id, is_paused=True)
        self._batcher.pause(sequence_id)

    def _resume(self, sequence_id: int) -> None:
        if self._batcher is not None and self._admission is not None:
            self._admission.pause(sequence_id, is_paused=False)
            self._batcher.resume(sequence_id, self._clock())

    def _forget(self, sequence_id: int, *, is_sound: bool = False) -> None:
        """Drop all that is kept of a request, but for its cache where that is sound and may serve others."""
        assert self._batcher is not None
        assert self._admission is not None
        self._generations.pop(sequence_id, None)
        self._admission.forget(sequence_id)
        if is_sound and not self._is_done:
            rounds.retire(self._engine, self._batcher, sequence_id, self._clock())
        else:
            rounds.remove(self._engine, self._batcher, sequence_id)

    def _step(self, batcher: Batcher) -> None:
        now = self._clock()
        rounds.admit(self._engine, batcher, now)
        plan = batcher.plan(now)
        step_ids = {chunk.sequence.sequence_id for chunk in plan.chunks}
        for chunk in plan.chunks:
            self._outbox += self._generations[chunk.sequence.sequence_id].on_scheduled(now)
        num_decoding = rounds.num_decoding(plan)
        started_at = self._clock()
        try:
            result = self._engine.step(plan, lambda: self._should_abort(step_ids))
        except BackendError as exc:
            for chunk in plan.chunks:
                self._forget(chunk.sequence.sequence_id)
                self._outbox.append(Failed.of(chunk.sequence.sequence_id, exc))
            return
        if self._channel_error is not None:
            raise self._channel_error
        if not result.was_aborted:
            num_prefilled = rounds.num_prefilled(plan, result, num_decoding)
            batcher.pace.observe(num_decoding, num_prefilled, self._clock() - started_at)
        batcher.on_step(result)
        self._report(plan, result)

    def _report(self, plan: StepPlan, result: StepResult) -> None:
        now = self._clock()
        for chunk in plan.chunks:
            sequence_id = chunk.sequence.sequence_id
            if sequence_id not in result.tokens:
                self._outbox += self._generations[sequence_id].on_progress()
        for sequence_id, token_id in result.tokens.items():
            likelihoods = result.likelihoods.get(sequence_id)
            events = self._generations[sequence_id].on_token(token_id, likelihoods, now)
            if events and isinstance(events[-1], Finished):
                self._forget(sequence_id, is_sound=True)
            self._outbox += events
        for sequence_id, error in result.errors.items():
            self._forget(sequence_id)
            self._outbox.append(Failed.of(sequence_id, error))

    def _should_abort(self, step_ids: set[int]) -> bool:
        """Look at the channel from inside a long step: is one of the step's requests, or all, to be given up?"""
        now = self._clock()
        if now - self._last_poll_at < ABORT_POLL_INTERVAL_S:
            return False
        self._last_poll_at = now
        try:
            if now - self._last_sent_at >= HEARTBEAT_INTERVAL_S:
                self._heartbeat()
            arrived = self._channel.receive(0)
        except (ChannelClosedError, FrameError) as exc:  # a library's callback is no place to raise
            self._channel_error = exc
            return True
        self._inbox += arrived
        return _gives_up(arrived, step_ids)

    def _heartbeat(self) -> None:
        assert self._batcher is not None
        self._outbox.append(
            Heartbeat(self._batcher.num_running, self._batcher.num_waiting, self._batcher.num_free_cells)
        )
        self._flush()

    def _flush(self) -> None:
        now = self._clock()
        is_busy = bool(self._generations) or self._has_side_work
        if not self._outbox and is_busy and now - self._last_sent_at >= HEARTBEAT_INTERVAL_S:
            self._heartbeat()
            return
        if self._outbox:
            events, self._outbox = self._outbox, []
            self._last_sent_at = now
            self._channel.send(events)


def _gives_up(commands: Iterable[Command], step_ids: set[int]) -> bool:
    return any(
        isinstance(command, Shutdown) or (isinstance(command, Cancel) and command.sequence_id in step_ids)
        for command in commands
    )


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed channel does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(argv: list[str] | None = None) -> int:
    """Run a worker on an inherited socket; the entry point of the process."""
    parser = argparse.ArgumentParser(prog="backends.process.worker", description=__doc__)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--fd", type=int, required=True, help="inherited stream socket to the gateway")
    parser.add_argument("--options", default="{}", help="JSON for the fake engine")
    arguments = parser.parse_args(argv)
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the gateway, which then ends its workers in order
    channel = Channel(socket.socket(fileno=arguments.fd))
    started_at = time.monotonic()
    try:
        engine = create_engine(arguments.engine, arguments.options)
        return Worker(channel, engine, import_ms=(time.monotonic() - started_at) * 1000).run()
    except EngineUnavailableError as exc:
        channel.send([LoadFailed(exc.code, str(exc))])
        return 1
    except FrameError as exc:
        print(f"worker: {exc}", file=sys.stderr)  # noqa: T201 - the gateway keeps the tail of stderr for its error
        return 1
    finally:
        channel.close()


if __name__ == "__main__":
    _code = main()
    sys.stderr.flush()
    # Not by the interpreter's own end, which unloads the libraries piece by piece while the next model waits.
    os._exit(_code)
