"""The worker process: one engine, one model, one thread, one channel to the gateway.

    python -P -m backends.worker --engine llamacpp --fd 3

The loop: read commands, run one step, write the step's events as one frame. It ends when the gateway says so, when the
channel closes (the gateway is gone), or with the process (PR_SET_PDEATHSIG on Linux).
"""

import argparse
import ctypes
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import assert_never

from backends.base import Engine, StepPlan, StepResult
from backends.batcher import Batcher, BatchLimits
from backends.channel import Channel, ChannelClosedError
from backends.engines import create_engine
from backends.errors import BackendError, ContextLengthError, EngineUnavailableError, FrameError, LoadError, PromptError
from backends.generation import Generation, Intake
from backends.messages import (
    HEARTBEAT_INTERVAL_S,
    Aborted,
    Accepted,
    Cancel,
    Command,
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
MIXED_STEP_TOKENS = 128
"""Prefill budget of a step in which other sequences decode; bounds the gap that their readers see."""
_PR_SET_PDEATHSIG = 1


class Worker:
    """Owns the engine, the batcher and the running generations.

    Args:
        channel: To the gateway.
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
        self._intake: Intake | None = None
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
                is_busy = self._batcher is not None and self._batcher.has_work
                self._inbox += self._channel.receive(0 if is_busy else None)
                commands, self._inbox = self._inbox, []
                for command in commands:
                    self._handle(command)
                if commands:
                    self._flush()  # what they are answered with does not wait for a long step
                if self._batcher is not None and self._batcher.has_work:
                    self._step(self._batcher)
                self._flush()
        except ChannelClosedError:
            return 0
        finally:
            self._engine.close()
        return 0

    def _handle(self, command: Command) -> None:
        match command:
            case Load():
                self._load(command)
            case Generate():
                self._generate(command)
            case Cancel(sequence_id=sequence_id):
                self._cancel(sequence_id)
            case Pause(sequence_id=sequence_id):
                self._pause(sequence_id)
            case Resume(sequence_id=sequence_id):
                if self._batcher is not None:
                    self._batcher.resume(sequence_id)
            case Shutdown():
                for sequence_id in list(self._generations):
                    self._cancel(sequence_id)
                self._flush()
                self._is_done = True
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
            model = self._engine.load(command.spec, on_progress)
        except LoadError as exc:
            self._outbox.append(LoadFailed(exc.code, str(exc)))
            self._is_done = True
            self._flush()
            return
        self._serve(model)
        self._outbox.append(Loaded(model))

    def _serve(self, model: LoadedModel) -> None:
        """Make ready for sequences on the loaded engine, within the model's limits."""
        self._intake = Intake(self._engine.tokenizer, model)
        step_tokens = self._engine.step_tokens
        self._batcher = Batcher(
            BatchLimits(
                max_sequences=model.max_sequences,
                num_cells=model.kv_cells,
                step_tokens=step_tokens,
                mixed_step_tokens=min(step_tokens, MIXED_STEP_TOKENS),
            )
        )

    def _generate(self, message: Generate) -> None:
        if self._intake is None or self._batcher is None:
            self._outbox.append(Failed(message.sequence_id, LoadError.code, "no model is loaded in this worker"))
            return
        now = self._clock()
        try:
            sequence = self._intake.sequence_for(message)
        except PromptError as exc:
            self._outbox.append(_failed(message.sequence_id, exc))
            return
        self._engine.insert(sequence)
        self._batcher.add(sequence)
        self._generations[message.sequence_id] = Generation(message, sequence, self._engine.tokenizer, now)
        self._outbox.append(Accepted(message.sequence_id, sequence.num_prompt_tokens))

    def _cancel(self, sequence_id: int) -> None:
        generation = self._generations.get(sequence_id)
        if generation is not None:
            self._forget(sequence_id)
            self._outbox.append(Aborted(sequence_id, generation.usage))

    def _pause(self, sequence_id: int) -> None:
        if self._batcher is not None and self._batcher.pause(sequence_id):
            num_computed = self._engine.pause(sequence_id)
            if num_computed is not None:
                self._batcher.on_step(StepResult(num_computed={sequence_id: num_computed}))

    def _forget(self, sequence_id: int) -> None:
        assert self._batcher is not None
        self._generations.pop(sequence_id, None)
        self._batcher.remove(sequence_id)
        self._engine.remove(sequence_id)

    def _step(self, batcher: Batcher) -> None:
        plan = batcher.plan()
        now = self._clock()
        for chunk in plan.chunks:
            self._generations[chunk.sequence.sequence_id].on_scheduled(now)
        try:
            result = self._engine.step(plan, lambda: self._should_abort(plan))
        except BackendError as exc:
            for chunk in plan.chunks:
                self._forget(chunk.sequence.sequence_id)
                self._outbox.append(_failed(chunk.sequence.sequence_id, exc))
            return
        if self._channel_error is not None:
            raise self._channel_error
        batcher.on_step(result)
        self._report(plan, result)

    def _report(self, plan: StepPlan, result: StepResult) -> None:
        now = self._clock()
        for chunk in plan.chunks:
            sequence_id = chunk.sequence.sequence_id
            if sequence_id not in result.tokens:
                self._outbox += self._generations[sequence_id].on_progress()
        for sequence_id, token_id in result.tokens.items():
            event = self._generations[sequence_id].on_token(token_id, now)
            if isinstance(event, Finished):
                self._forget(sequence_id)
            if event is not None:
                self._outbox.append(event)

    def _should_abort(self, plan: StepPlan) -> bool:
        """Look at the channel from inside a long step: is one of the step's sequences, or all, to be given up?"""
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
        return _gives_up(arrived, plan)

    def _heartbeat(self) -> None:
        assert self._batcher is not None
        self._outbox.append(
            Heartbeat(self._batcher.num_running, self._batcher.num_waiting, self._batcher.num_free_cells)
        )
        self._flush()

    def _flush(self) -> None:
        now = self._clock()
        if not self._outbox and self._generations and now - self._last_sent_at >= HEARTBEAT_INTERVAL_S:
            self._heartbeat()
            return
        if self._outbox:
            events, self._outbox = self._outbox, []
            self._last_sent_at = now
            self._channel.send(events)


def _gives_up(commands: Iterable[Command], plan: StepPlan) -> bool:
    step_ids = {chunk.sequence.sequence_id for chunk in plan.chunks}
    return any(
        isinstance(command, Shutdown) or (isinstance(command, Cancel) and command.sequence_id in step_ids)
        for command in commands
    )


def _failed(sequence_id: int, exc: BackendError) -> Failed:
    details = {}
    if isinstance(exc, ContextLengthError):
        details = {"n_prompt_tokens": exc.num_prompt_tokens, "n_ctx": exc.context_length}
    return Failed(sequence_id, exc.code, str(exc), exc.param if isinstance(exc, PromptError) else None, details)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent dies; elsewhere the closed channel does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main(argv: list[str] | None = None) -> int:
    """Run a worker on an inherited socket; the entry point of the process."""
    parser = argparse.ArgumentParser(prog="backends.worker", description=__doc__)
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
    sys.exit(main())
