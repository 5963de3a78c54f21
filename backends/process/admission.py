"""What stands between a `Generate` message and the batch: intake, the answer's parser, the constraint's compilation.

The compilation runs beside the engine's steps: a request that waits for it is pending, and the worker asks now and
then.
"""

import functools

from backends.constraints.compiler import ConstraintCompiler, PendingMatcher
from backends.constraints.grammar import AnswerGrammar
from backends.errors import PromptError
from backends.logits import create_editor
from backends.output.answer import RunningAnswer
from backends.output.formats import Thinking
from backends.output.grammar import answer_opening, tool_grammar
from backends.output.parser import create_parser
from backends.output.prompt_report import PromptReport
from backends.prompting.intake import Intake, PreparedPrompt
from backends.sequence import Sequence
from backends.tokenizer import Tokenizer
from backends.wire.messages import Failed, Generate, LoadedModel
from backends.wire.prompts import ForkPrompt
from backends.wire.request import Constraint, ConstraintKind, ToolChoice


class Admission:
    """Owns the requests of one worker that are not in the batch yet, and the prompts of those that are."""

    def __init__(self, tokenizer: Tokenizer, model: LoadedModel) -> None:
        self.intake = Intake(tokenizer, model)
        self._tokenizer = tokenizer
        self._compiler = ConstraintCompiler(tokenizer)
        self._pending: dict[int, tuple[RunningAnswer, PendingMatcher]] = {}
        self._prompts: dict[int, PreparedPrompt] = {}

    @property
    def has_pending(self) -> bool:
        """Whether `poll` will have something to tell."""
        return bool(self._pending)

    def submit(self, message: Generate, now: float) -> RunningAnswer | Failed | None:
        """Take a request; return it as it can start, or why it cannot; None = it is pending.

        Args:
            now: Seconds of a monotonic clock.
        """
        try:
            prompt = self._prompt(message)
            sequence = self.intake.sequence_for(message, prompt)
            grammar = self._grammar(message, prompt)
            answer = self._answer(message, sequence, prompt, now)
        except PromptError as exc:
            return Failed.of(message.sequence_id, exc)
        self._prompts[message.sequence_id] = prompt
        if grammar is None:
            answer.editor = create_editor(sequence.sampling, None, sequence.token_ids, answer.held_ends)
            return answer
        matcher = self._compiler.submit(grammar)
        self._pending[message.sequence_id] = answer, matcher
        return self._poll_one(answer, matcher, now)

    def poll(self, now: float) -> list[RunningAnswer | Failed]:
        """Return what has become of pending requests."""
        results = (self._poll_one(answer, matcher, now) for answer, matcher in list(self._pending.values()))
        return [result for result in results if result is not None]

    def pending(self, sequence_id: int) -> RunningAnswer | None:
        """Return a pending request's answer."""
        answer, _ = self._pending.get(sequence_id, (None, None))
        return answer

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

    def _poll_one(self, answer: RunningAnswer, matcher: PendingMatcher, now: float) -> RunningAnswer | Failed | None:
        result = matcher.poll(now)
        if result is None:
            return None
        del self._pending[answer.sequence.sequence_id]
        if isinstance(result, PromptError):
            self.forget(answer.sequence.sequence_id)
            return Failed.of(answer.sequence.sequence_id, result)
        sequence = answer.sequence
        answer.editor = create_editor(sequence.sampling, result, sequence.token_ids, answer.held_ends)
        return answer

    def _prompt(self, message: Generate) -> PreparedPrompt:
        if not isinstance(message.prompt, ForkPrompt):
            return self.intake.prepare(message.prompt)
        prompt = self._prompts.get(message.prompt.source_id)
        if prompt is None:
            raise PromptError("the request that this choice belongs to has failed", param="n")
        return prompt

    def _grammar(self, message: Generate, prompt: PreparedPrompt) -> AnswerGrammar | None:
        """Return what the answer must match: calls where they are required, text or calls where there is a choice."""
        constraint, output = message.spec.constraint, message.spec.output
        tools = None if output is None else output.tools
        must_call = tools is not None and tools.choice is ToolChoice.REQUIRED
        text = None if constraint is None or must_call else constraint
        if text is None and not must_call:
            return None
        output_format = self.intake.renderer.format
        calls = None
        if tools is not None:
            calls = Constraint(ConstraintKind.LARK, tool_grammar(output_format, tools), "tools")
        if prompt.rendered is None:
            return AnswerGrammar(text, calls)
        thinking = output_format.thinking_after(prompt.rendered.text)
        if thinking is Thinking.POSSIBLE and not self._opens_thinking:
            return AnswerGrammar(text, calls)
        return AnswerGrammar(text, calls, answer_opening(output_format, thinking))

    @functools.cached_property
    def _opens_thinking(self) -> bool:
        """Whether the model was made to begin its thinking itself: the tag is then one of its tokens.

        Where it is mere text of the template, a model held to a grammar would be led into thoughts that never end.
        """
        tags = self.intake.renderer.format.reasoning
        return tags is None or len(self._tokenizer.encode(tags.open, add_bos=False)) == 1

    def _answer(self, message: Generate, sequence: Sequence, prompt: PreparedPrompt, now: float) -> RunningAnswer:
        output, report = message.spec.output, self._report(message, sequence, prompt)
        if prompt.rendered is None or output is None:
            return RunningAnswer(message, sequence, self._tokenizer, None, now, report=report)
        output_format = self.intake.renderer.format
        is_thinking = output_format.thinking_after(prompt.rendered.text) is Thinking.OPEN
        parser = create_parser(output_format, output, starts_in_reasoning=is_thinking)
        visible_ids = output_format.visible_control_ids.values()
        return RunningAnswer(message, sequence, self._tokenizer, parser, now, frozenset(visible_ids), report)

    def _report(self, message: Generate, sequence: Sequence, prompt: PreparedPrompt) -> PromptReport | None:
        if not message.spec.echoes and not sequence.is_scored:
            return None
        text = ""
        if message.spec.echoes:
            text = self._text_of(prompt.token_ids) if prompt.text is None else prompt.text
        return PromptReport(
            sequence.sequence_id,
            prompt.token_ids,
            self._tokenizer,
            text=text,
            is_scored=sequence.is_scored,
            num_added=prompt.num_added,
        )

    def _text_of(self, token_ids: list[int]) -> str:
        return b"".join(map(self._tokenizer.shown_bytes, token_ids)).decode(errors="replace")
