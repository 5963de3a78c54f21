"""Drives a loaded engine in this process through the worker's own code: its batcher, intake, generations and events.

Only the socket is replaced; whoever needs a process takes `worker_process`.
"""

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

import msgspec

from backends.base import LoadedEngine
from backends.batch_limits import BatchLimits
from backends.batching.batcher import Batcher
from backends.logits import Likelihoods, LogitsEditor, Matcher
from backends.output.answer import RunningAnswer
from backends.process.admission import Admitted
from backends.process.image_loader import ImagePreparer
from backends.process.serving import Serving
from backends.sequence import Sequence
from backends.step import StepPlan, StepResult
from backends.wire.channel import Channel
from backends.wire.messages import (
    Aborted,
    Accepted,
    Answered,
    Cancel,
    Command,
    Delta,
    Embedded,
    Event,
    Failed,
    Finished,
    Generate,
    Pause,
    PrefillProgress,
    PromptShown,
    Resume,
    SequenceEnd,
    Terminal,
)
from backends.wire.output import PromptToken
from backends.wire.prompts import ChatPrompt, Prompt, TextPrompt, TokenPrompt, images_of
from backends.wire.request import SamplingParams, SequenceSpec
from tests.support.waiting import wait_until

GREEDY = SamplingParams(temperature=0)
MAX_STEPS = 20_000
TOWER_TIMEOUT_S = 60


class MemoryChannel(Channel):
    """Commands from a list, events into a list."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.events: list[Event] = []
        self.on_receive: Callable[[], None] | None = None

    def receive(self, timeout_s: float | None) -> list[Command]:
        assert timeout_s == 0, "the driver never waits"
        if self.on_receive is not None:
            self.on_receive()
        commands, self.commands = self.commands, []
        return commands

    def send(self, events: Many[Event]) -> None:
        self.events += events


class NotingBatcher(Batcher):
    """Remembers whom it evicted, which forks were done, and what was reported with the tokens."""

    def __init__(self, limits: BatchLimits) -> None:
        super().__init__(limits)
        self.evicted: list[int] = []
        self.forked: list[int] = []
        self.likelihoods: dict[int, list[Likelihoods]] = {}

    def plan(self, now: float) -> StepPlan:
        plan = super().plan(now)
        self.evicted += plan.evicted
        return plan

    def on_fork(self, target_id: int, *, is_done: bool, is_fallback: bool = False) -> Sequence:
        if is_done:
            self.forked.append(target_id)
        return super().on_fork(target_id, is_done=is_done, is_fallback=is_fallback)

    def on_step(self, result: StepResult) -> None:
        super().on_step(result)
        for sequence_id, likelihoods in result.likelihoods.items():
            assert len(likelihoods) == len(result.tokens[sequence_id]), "likelihoods go with a token"
            self.likelihoods.setdefault(sequence_id, []).extend(likelihoods)


class MatchingServing(Serving):
    """Constrains the next request by a matcher of the test's own."""

    matcher: Matcher | None = None

    def _start(self, result: Admitted) -> None:
        if self.matcher is not None and isinstance(result, RunningAnswer):
            sequence = result.sequence
            result.editor = LogitsEditor(sequence.sampling, self.matcher, sequence.token_ids)
        super()._start(result)


@dataclasses.dataclass
class Answer:
    """What came back for one sequence.

    Attributes:
        num_prompt_tokens: None before `Accepted`.
        num_embedded: Inputs whose vectors came.
        prompt: Tokens of the prompt as they were told; `echo` likewise, its text.
        text: Deltas and the last event's text.
        terminals: All terminal messages; there must be exactly one.
    """

    num_prompt_tokens: int | None = None
    num_embedded: int = 0
    text: str = ""
    echo: str = ""
    prompt: list[PromptToken] = dataclasses.field(default_factory=list)
    num_deltas: int = 0
    progress: list[PrefillProgress] = dataclasses.field(default_factory=list)
    terminals: list[Terminal] = dataclasses.field(default_factory=list)
    token_ids: list[int] = dataclasses.field(default_factory=list)
    likelihoods: list[Likelihoods] = dataclasses.field(default_factory=list)

    @property
    def finished(self) -> Finished:
        (terminal,) = self.terminals
        assert isinstance(terminal, Finished), terminal
        return terminal

    @property
    def end(self) -> SequenceEnd:
        return self.finished.end

    @property
    def failed(self) -> Failed:
        (terminal,) = self.terminals
        assert isinstance(terminal, Failed), terminal
        return terminal

    @property
    def reason(self) -> str:
        return self.end.reason

    def take(self, event: Event) -> None:
        """Take over one event, checking the order that the messages module promises."""
        assert not self.terminals, f"{event} after {self.terminals}"
        match event:
            case Accepted(num_prompt_tokens=num_prompt_tokens):
                assert self.num_prompt_tokens is None
                self.num_prompt_tokens = num_prompt_tokens
            case PrefillProgress():
                assert self.num_prompt_tokens is not None
                assert self.num_deltas == 0
                self.progress.append(event)
            case PromptShown(start=start, text=text, tokens=tokens):
                assert self.num_deltas == 0
                assert start == len(self.prompt)
                assert not (start and text)
                self.echo += text
                self.prompt += tokens
            case Delta(output=output):
                assert self.num_prompt_tokens is not None
                self.num_deltas += 1
                self.text += output.text
            case Embedded(index=index):
                assert index == self.num_embedded
                self.num_embedded += 1
            case Finished(output=output):
                assert self.num_prompt_tokens is not None or self.num_embedded
                self.text += output.text
                self.terminals.append(event)
            case Failed() | Aborted() | Answered():
                self.terminals.append(event)
            case _:
                raise AssertionError(event)


class EngineDriver:
    """One worker around a loaded engine.

    Args:
        engine: With nothing in its batch.
        keeps_ended: Whether the caches of ended sequences stay, as they do in a worker.
        images: Prepares pictures of prompts, where the engine can see.
        **narrowed: Limits of the model that are to be lower than they are.
    """

    def __init__(
        self,
        engine: LoadedEngine,
        *,
        keeps_ended: bool = False,
        images: ImagePreparer | None = None,
        **narrowed: int,
    ) -> None:
        self.engine = engine
        self.model = msgspec.structs.replace(engine.model, **narrowed)
        self.channel = MemoryChannel()
        limits = dataclasses.replace(engine.limits, num_cells=self.model.kv_cells)
        if not keeps_ended:
            limits = dataclasses.replace(limits, num_retired_tokens=0)
        self.batcher = NotingBatcher(limits)
        self.worker = MatchingServing(self.channel, engine, self.model, self.batcher, images=images)
        self.answers: dict[int, Answer] = {}
        self._sequences: dict[int, list[int]] = {}

    def submit(
        self,
        prompt: str | list[int] | Prompt,
        sampling: SamplingParams = GREEDY,
        *,
        max_tokens: int | None = 16,
        stop: tuple[str, ...] = (),
        matcher: Matcher | None = None,
        **wishes: Any,
    ) -> int:
        """Hand a Generate to the worker; return its sequence id.

        Args:
            **wishes: Further fields of its `SequenceSpec`.
        """
        sequence_id = len(self.answers) + 1
        self.answers[sequence_id] = Answer()
        message = Generate(
            sequence_id,
            _prompt(prompt),
            SequenceSpec(sampling, max_tokens, stop, **wishes),
        )
        self.worker.matcher = matcher
        self.handle(message)
        if images_of(message.prompt):
            self.await_pending()
        self.worker.matcher = None
        answer = self.worker._answers.get(sequence_id)
        if answer is not None:
            self._sequences[sequence_id] = answer.sequence.token_ids
        return sequence_id

    def handle(self, command: Command) -> None:
        self.worker._handle(command)
        self._collect()

    def await_pending(self) -> None:
        """Wait for pictures and constraints that are prepared beside the steps."""

        def is_over() -> bool:
            self.worker._admit_pending()
            return not self.worker._admission.has_pending

        wait_until(is_over, "what requests wait for is prepared")
        self._collect()

    def cancel(self, sequence_id: int) -> None:
        self.handle(Cancel(sequence_id))

    def pause(self, sequence_id: int) -> None:
        self.handle(Pause(sequence_id))

    def resume(self, sequence_id: int) -> None:
        self.handle(Resume(sequence_id))

    @property
    def has_work(self) -> bool:
        return self.batcher.has_work

    @property
    def num_free_cells(self) -> int:
        return self.batcher.num_free_cells

    def num_output_tokens(self, sequence_id: int) -> int:
        num_prompt_tokens = self.answers[sequence_id].num_prompt_tokens
        assert num_prompt_tokens is not None
        return len(self._sequences[sequence_id]) - num_prompt_tokens

    def step(self) -> None:
        """Do one step as the worker's loop does; where only the tower is at work, wait for it."""
        self.worker._step()
        self.worker._encode()
        job = self.worker._encoding._job
        if self.worker._awaits_tower and job is not None and job.encoded is not None:
            job.encoded.exception(TOWER_TIMEOUT_S)
        self._collect()

    def step_until(self, is_reached: Callable[[], bool]) -> None:
        for _ in range(MAX_STEPS):
            if is_reached():
                return
            self.step()
        raise AssertionError("no progress")

    def run(self) -> None:
        """Step until nothing is left to do."""
        self.step_until(lambda: not self.has_work)

    def answer(
        self,
        prompt: str | list[int] | Prompt,
        sampling: SamplingParams = GREEDY,
        *,
        max_tokens: int | None = 16,
        stop: tuple[str, ...] = (),
        matcher: Matcher | None = None,
        **wishes: Any,
    ) -> Answer:
        """Run one sequence alone; arguments as in `submit`."""
        sequence_id = self.submit(prompt, sampling, max_tokens=max_tokens, stop=stop, matcher=matcher, **wishes)
        self.run()
        return self.answers[sequence_id]

    def close(self) -> None:
        """Take whatever is left out of the engine, so that the next test finds it empty."""
        for sequence_id in list(self.worker._answers):
            self.cancel(sequence_id)
        for sequence_id in self.batcher.retired_ids:
            self.engine.remove(sequence_id)

    def _collect(self) -> None:
        self.worker._flush()
        events, self.channel.events = self.channel.events, []
        for event in events:
            sequence_id = getattr(event, "sequence_id", None)
            if sequence_id is not None:
                answer = self.answers[sequence_id]
                answer.take(event)
                if answer.terminals and answer.num_prompt_tokens is not None:
                    answer.token_ids = self._sequences[sequence_id][answer.num_prompt_tokens :]
                    answer.likelihoods = self.batcher.likelihoods.get(sequence_id, [])


def _prompt(prompt: str | list[int] | Prompt) -> Prompt:
    if isinstance(prompt, str):
        return TextPrompt(prompt)
    return TokenPrompt(prompt) if isinstance(prompt, list) else prompt


def user_says(text: str) -> ChatPrompt:
    return ChatPrompt([{"role": "user", "content": text}])
