"""What stands between a `Generate` message and the batch: intake, the answer's parser, the constraint's compilation.

The compilation runs beside the engine's steps: a request that waits for it is pending, and the worker asks now and
then.
"""

import dataclasses
import functools

from backends.base import Tokenizer
from backends.constraints.compiler import ConstraintCompiler, PendingMatcher
from backends.constraints.grammar import AnswerGrammar, GrammarKind, GrammarSource, source_of
from backends.errors import PromptError
from backends.logits import LogitsEditor, Matcher, needs_editor
from backends.output.answer import Generation, TokenText
from backends.output.formats import Thinking
from backends.output.grammar import tool_grammar
from backends.output.openings import answer_opening
from backends.output.parser import create_parser
from backends.prompting.intake import Intake, PreparedPrompt
from backends.sequence import Sequence
from backends.wire.messages import Generate, LoadedModel
from backends.wire.output import OutputParser
from backends.wire.prompts import ForkPrompt
from backends.wire.request import ToolChoice


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
    """Owns the requests of one worker that are not in the batch yet, and the prompts of those that are."""

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
            now: Seconds of a monotonic clock.
        """
        try:
            prompt = self._prompt(message)
            sequence = self.intake.sequence_for(message, list(prompt.token_ids))
            grammar = self._grammar(message, prompt)
            generation = self._generation(message, sequence, prompt, now)
        except PromptError as exc:
            return Refused(message.sequence_id, exc)
        self._prompts[message.sequence_id] = prompt
        if grammar is None:
            generation.editor = _editor(message, sequence, None)
            return Admitted(generation)
        pending = _Pending(generation, message, self._compiler.submit(grammar))
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

    def _grammar(self, message: Generate, prompt: PreparedPrompt) -> AnswerGrammar | None:
        """Return what the answer must match: calls where they are required, text or calls where there is a choice."""
        output = message.spec.output
        tools = None if output is None else output.tools
        must_call = tools is not None and tools.choice is ToolChoice.REQUIRED
        constraint = message.spec.constraint
        text = None if constraint is None or must_call else source_of(constraint)
        if text is None and not must_call:
            return None
        output_format, control_ids = self.intake.conversation.format, self._tokenizer.control_ids
        calls = None
        if tools is not None:
            calls = GrammarSource(GrammarKind.LARK, tool_grammar(output_format, tools, control_ids), "tools")
        if prompt.rendered is None:
            return AnswerGrammar(text, calls)
        thinking = output_format.thinking_after(prompt.rendered.text)
        if thinking is Thinking.POSSIBLE and not self._opens_thinking:
            return AnswerGrammar(text, calls)
        return AnswerGrammar(text, calls, answer_opening(output_format, control_ids, thinking))

    @functools.cached_property
    def _opens_thinking(self) -> bool:
        """Whether the model was made to begin its thinking itself: the tag is then one of its tokens.

        Where it is mere text of the template, a model held to a grammar would be led into thoughts that never end.
        """
        tags = self.intake.conversation.format.reasoning
        return tags is None or len(self._tokenizer.encode(tags.open, add_bos=False)) == 1

    def _generation(self, message: Generate, sequence: Sequence, prompt: PreparedPrompt, now: float) -> Generation:
        if prompt.rendered is None or message.spec.output is None:
            return Generation(message, sequence, TokenText(self._tokenizer), None, now)
        output_format = self.intake.conversation.format
        is_thinking = output_format.thinking_after(prompt.rendered.text) is Thinking.OPEN
        parser: OutputParser = create_parser(output_format, message.spec.output, starts_in_reasoning=is_thinking)
        control_ids = self._tokenizer.control_ids
        visible_ids = frozenset(control_ids[text] for text in output_format.visible_control_texts)
        return Generation(message, sequence, TokenText(self._tokenizer, visible_ids), parser, now)


def _editor(message: Generate, sequence: Sequence, matcher: Matcher | None) -> LogitsEditor | None:
    if not needs_editor(message.spec.sampling, is_constrained=matcher is not None):
        return None
    return LogitsEditor(message.spec.sampling, matcher, sequence.token_ids)
