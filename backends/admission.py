"""What stands between a `Generate` message and the batch: intake, the answer's parser, the constraint's compilation.

The compilation runs beside the engine's steps: a request that waits for it is pending, and the worker asks now and
then.
"""

import dataclasses

from backends.base import Tokenizer
from backends.constraints.base import Matcher
from backends.constraints.compiler import ConstraintCompiler, PendingMatcher
from backends.constraints.grammar import GrammarKind, GrammarSource, source_of
from backends.errors import PromptError
from backends.generation import Generation, TokenText
from backends.intake import Intake, PreparedPrompt
from backends.logits import LogitsEditor, needs_editor
from backends.messages import Generate, LoadedModel
from backends.output.base import OutputParser
from backends.output.grammar import tool_grammar
from backends.output.parser import create_parser
from backends.prompts import ForkPrompt
from backends.request import ToolChoice
from backends.sequence import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Admitted:
    """A generation that can start.

    Attributes:
        generation: With its waiting sequence and its editor.
        is_paused: The client was told to wait before it could start.
    """

    generation: Generation
    is_paused: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """A request that cannot be served."""

    sequence_id: int
    error: PromptError


@dataclasses.dataclass(slots=True)
class _Pending:
    """A request whose constraint is being compiled."""

    generation: Generation
    message: Generate
    matcher: PendingMatcher
    is_paused: bool = False


class Admission:
    """Owns the requests of one worker that are not in the batch yet, and the prompts of those that are.

    Args:
        tokenizer: The engine's.
        model: What was loaded.
    """

    def __init__(self, tokenizer: Tokenizer, model: LoadedModel) -> None:
        self.intake = Intake(tokenizer, model)
        self._tokenizer = tokenizer
        self._compiler = ConstraintCompiler(tokenizer)
        self._pending: dict[int, _Pending] = {}
        self._prompts: dict[int, PreparedPrompt] = {}

    @property
    def has_pending(self) -> bool:
        """Whether `poll` will have something to tell."""
        return bool(self._pending)

    def submit(self, message: Generate, now: float) -> Admitted | Refused | None:
        """Take a request; None = it is pending.

        Args:
            message: The request.
            now: Seconds of a monotonic clock.
        """
        try:
            prompt = self._prompt(message)
            sequence = self.intake.sequence_for(message, list(prompt.token_ids))
            source = self._constraint(message)
            generation = self._generation(message, sequence, prompt, now)
        except PromptError as exc:
            return Refused(message.sequence_id, exc)
        if isinstance(message.prompt, ForkPrompt):
            sequence.fork_of = message.prompt.source_id
        self._prompts[message.sequence_id] = prompt
        if source is None:
            generation.editor = _editor(message, sequence, None)
            return Admitted(generation)
        end = None if prompt.rendered is None else self.intake.conversation.open_reasoning_end(prompt.rendered)
        pending = _Pending(generation, message, self._compiler.submit(source, reasoning_end=end))
        self._pending[message.sequence_id] = pending
        return self._poll_one(pending, now)

    def poll(self, now: float) -> list[Admitted | Refused]:
        """Return what has become of pending requests."""
        results = (self._poll_one(pending, now) for pending in list(self._pending.values()))
        return [result for result in results if result is not None]

    def pause(self, sequence_id: int, *, is_paused: bool) -> None:
        """Note whether a pending request is to start paused; others are ignored."""
        pending = self._pending.get(sequence_id)
        if pending is not None:
            pending.is_paused = is_paused

    def pending(self, sequence_id: int) -> Generation | None:
        """Return a pending request's generation."""
        pending = self._pending.get(sequence_id)
        return None if pending is None else pending.generation

    def pending_ids(self) -> list[int]:
        """Return the sequence ids of all pending requests."""
        return list(self._pending)

    def is_stuck(self, now: float) -> bool:
        """Tell whether a compilation goes on that should have ended long ago: only the process's end ends it."""
        return self._compiler.is_stuck(now)

    def forget(self, sequence_id: int) -> None:
        """Drop what is kept of a request; unknown ids are ignored."""
        self._pending.pop(sequence_id, None)
        self._prompts.pop(sequence_id, None)

    def _poll_one(self, pending: _Pending, now: float) -> Admitted | Refused | None:
        sequence_id = pending.message.sequence_id
        result = pending.matcher.poll(now)
        if result is None:
            return None
        del self._pending[sequence_id]
        if isinstance(result, PromptError):
            self.forget(sequence_id)
            return Refused(sequence_id, result)
        generation = pending.generation
        generation.editor = _editor(pending.message, generation.sequence, result)
        return Admitted(generation, pending.is_paused)

    def _prompt(self, message: Generate) -> PreparedPrompt:
        if not isinstance(message.prompt, ForkPrompt):
            return self.intake.prepare(message.prompt)
        prompt = self._prompts.get(message.prompt.source_id)
        if prompt is None:
            raise PromptError("the request that this choice belongs to has failed", param="n")
        return prompt

    def _constraint(self, message: Generate) -> GrammarSource | None:
        if message.constraint is not None:
            return source_of(message.constraint)
        tools = None if message.output is None else message.output.tools
        if tools is None or tools.choice is not ToolChoice.REQUIRED:
            return None
        text = tool_grammar(self.intake.conversation.format, tools, self._tokenizer.control_ids)
        return GrammarSource(GrammarKind.LARK, text, "tools")

    def _generation(self, message: Generate, sequence: Sequence, prompt: PreparedPrompt, now: float) -> Generation:
        if prompt.rendered is None or message.output is None:
            return Generation(message, sequence, TokenText(self._tokenizer), None, now)
        output_format = self.intake.conversation.format
        parser: OutputParser = create_parser(
            output_format, message.output, starts_in_reasoning=output_format.starts_in_reasoning(prompt.rendered.text)
        )
        control_ids = self._tokenizer.control_ids
        visible_ids = frozenset(control_ids[text] for text in output_format.visible_control_texts)
        return Generation(message, sequence, TokenText(self._tokenizer, visible_ids), parser, now)


def _editor(message: Generate, sequence: Sequence, matcher: Matcher | None) -> LogitsEditor | None:
    if not needs_editor(message.sampling, is_constrained=matcher is not None):
        return None
    return LogitsEditor(message.sampling, matcher, sequence.token_ids)
