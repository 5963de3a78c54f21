"""What stands between a `Generate` message and the batch: pictures, intake, the answer's parser, the constraint.

What takes long is done beside the engine's steps, pictures and constraints each on a thread of their own: a request
that waits for them is pending, and the worker asks now and then.
"""

import dataclasses
import functools
from collections.abc import Mapping

import msgspec

from backends.constraints.compiler import ConstraintCompiler, PendingMatcher
from backends.constraints.grammar import AnswerGrammar
from backends.errors import ImageError, PromptError, UnsupportedByModelError
from backends.images.prompt_image import PromptImage
from backends.logits import Matcher, create_editor
from backends.output.answer import RunningAnswer
from backends.output.formats import Thinking
from backends.output.grammar import answer_opening, tool_grammar
from backends.output.parser import create_parser
from backends.output.prompt_report import PromptReport
from backends.process.image_loader import ImageLoader, ImagePreparer, PendingImages
from backends.prompting.intake import Intake, PreparedPrompt
from backends.prompting.labels import before_label, ids_of_labels
from backends.sequence import Sequence
from backends.tile_cache import TileCache
from backends.tokenizer import Tokenizer
from backends.wire.load import LoadedModel
from backends.wire.messages import Answered, Ask, Failed, Generate, Usage
from backends.wire.prompts import ChatPrompt, ForkPrompt, ImagePart, Prompt, images_of
from backends.wire.questions import CountTokens, TokenCount
from backends.wire.request import Constraint, ConstraintKind, ToolChoice

_NO_USAGE = Usage(0, 0, 0)


@dataclasses.dataclass(slots=True)
class PendingRequest:
    """A request that cannot start, or be answered, yet.

    Attributes:
        prompt: A fork has that of its source.
        images: What it waits for first.
        received_at: Seconds of a monotonic clock.
        answer: Once there are its pictures; None before.
        matcher: What it waits for then.
        is_paused: Whether its client was told to wait before it could start.
    """

    message: Generate | Ask
    prompt: Prompt
    received_at: float
    images: PendingImages | None = None
    answer: RunningAnswer | None = None
    matcher: PendingMatcher | None = None
    is_paused: bool = False

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return _NO_USAGE if self.answer is None else self.answer.usage


Admitted = RunningAnswer | Answered | Failed
"""What becomes of a request: it can start, it is answered, or it cannot be done."""


class Admission:
    """Owns the requests of one worker that are not in the batch yet, and the prompts of those that are.

    Args:
        images: Prepares pictures; or why the model sees none; None = it is a text model.
        tiles: What the worker knows of pictures.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: LoadedModel,
        images: ImagePreparer | UnsupportedByModelError | None = None,
        tiles: TileCache | None = None,
    ) -> None:
        self._tiles = TileCache() if tiles is None else tiles
        self._refusal = images if isinstance(images, UnsupportedByModelError) else None
        preparer = None if isinstance(images, UnsupportedByModelError) else images
        self._loader = None if preparer is None else ImageLoader(preparer, model.context_length)
        self.intake = Intake(tokenizer, model, None if preparer is None else preparer.facts, self._tiles)
        self._tokenizer = tokenizer
        self._compiler = ConstraintCompiler(tokenizer)
        self._pending: dict[int, PendingRequest] = {}
        self._prompts: dict[int, PreparedPrompt] = {}

    @property
    def has_pending(self) -> bool:
        """Whether `poll` will have something to tell."""
        return bool(self._pending)

    def submit(self, message: Generate, now: float) -> Admitted | None:
        """Take a request; return it as it can start, or why it cannot; None = it is pending.

        Args:
            now: Seconds of a monotonic clock.
        """
        request = PendingRequest(message, message.prompt, now)
        if isinstance(message.prompt, ForkPrompt):
            source = self._pending.get(message.prompt.source_id)
            if source is not None and source.answer is None:
                request.prompt, request.images = source.prompt, source.images
        return self._submit(request, now)

    def submit_count(self, message: Ask, question: CountTokens, now: float) -> Admitted | None:
        """Take the question how many tokens a prompt has; None = its pictures are awaited."""
        return self._submit(PendingRequest(message, question.prompt, now), now)

    def _submit(self, request: PendingRequest, now: float) -> Admitted | None:
        sequence_id = request.message.sequence_id
        try:
            request.images = request.images or self._load(request.prompt)
        except PromptError as exc:
            return Failed.of(sequence_id, exc)
        self._pending[sequence_id] = request
        return self._poll_one(request, now)

    def poll(self, now: float) -> list[Admitted]:
        """Return what has become of pending requests."""
        results = (self._poll_one(request, now) for request in list(self._pending.values()))
        return [result for result in results if result is not None]

    def pending(self, sequence_id: int) -> PendingRequest | None:
        """Return a pending request."""
        return self._pending.get(sequence_id)

    def pending_ids(self) -> list[int]:
        """Return the sequence ids of all pending requests."""
        return list(self._pending)

    def is_stuck(self, now: float) -> bool:
        """Tell whether a compilation goes on that should have ended long ago: only the process's end ends it."""
        return self._compiler.is_stuck(now)

    def forget(self, sequence_id: int) -> None:
        """Drop what is kept of a request; unknown ids are ignored."""
        request = self._pending.pop(sequence_id, None)
        self._prompts.pop(sequence_id, None)
        if request is None or request.images is None:
            return
        if not any(other.images is request.images for other in self._pending.values()):
            request.images.cancel()

    def _load(self, prompt: Prompt) -> PendingImages | None:
        """Begin to prepare a prompt's pictures; None where it has none, or they will be refused."""
        parts = images_of(prompt)
        if parts and self._refusal is not None:
            raise UnsupportedByModelError(f"{parts[0].param}: {self._refusal}", param=parts[0].param)
        if not parts or self._loader is None:
            return None
        is_bounded = not (isinstance(prompt, ChatPrompt) and prompt.truncates)
        return self._loader.submit(parts, is_bounded=is_bounded)

    def _poll_one(self, request: PendingRequest, now: float) -> Admitted | None:
        """Go on with a request as far as that is possible now."""
        try:
            result = self._advanced(request, now)
        except PromptError as exc:
            self.forget(request.message.sequence_id)
            return Failed.of(request.message.sequence_id, exc)
        if result is not None:
            del self._pending[request.message.sequence_id]
        return result

    def _advanced(self, request: PendingRequest, now: float) -> RunningAnswer | Answered | None:
        message = request.message
        if request.answer is None:
            images = {} if request.images is None else request.images.poll()
            if isinstance(images, PromptError):
                raise images
            if images is None:
                return None
            if isinstance(message, Ask):
                num_tokens = len(self.intake.prepare(request.prompt, images).token_ids)
                return Answered(message.sequence_id, TokenCount(num_tokens))
            self._prepare(request, message, images)
        assert request.answer is not None
        matcher: Matcher | None = None
        if request.matcher is not None:
            compiled = request.matcher.poll(now)
            if isinstance(compiled, PromptError):
                raise compiled
            if compiled is None:
                return None
            matcher = compiled
        answer, sequence = request.answer, request.answer.sequence
        answer.editor = create_editor(sequence.sampling, matcher, sequence.token_ids, answer.held_ends)
        answer.is_paused = request.is_paused
        return answer

    def _prepare(self, request: PendingRequest, message: Generate, images: Mapping[ImagePart, PromptImage]) -> None:
        """Make a request a sequence, and begin to compile its constraint."""
        prompt = self._prompt(request, images)
        asked = prompt
        if message.spec.labels:
            asked = before_label(prompt, self._tokenizer, self.intake.renderer.format)
        sequence = self.intake.sequence_for(message, asked)
        if message.spec.labels:
            label_ids = ids_of_labels(message.spec.labels, self._tokenizer)
            sequence.sampling = msgspec.structs.replace(sequence.sampling, label_ids=label_ids)
        grammar = self._grammar(message, prompt)
        request.answer = self._answer(message, sequence, prompt, request.received_at)
        self._prompts[message.sequence_id] = prompt
        if grammar is not None:
            request.matcher = self._compiler.submit(grammar)

    def _prompt(self, request: PendingRequest, images: Mapping[ImagePart, PromptImage]) -> PreparedPrompt:
        if not isinstance(request.prompt, ForkPrompt):
            known = {part: self._known(part, image) for part, image in images.items()}
            return self.intake.prepare(request.prompt, known)
        prompt = self._prompts.get(request.prompt.source_id)
        if prompt is None:
            raise PromptError("the request that this choice belongs to has failed", param="n")
        return prompt

    def _known(self, part: ImagePart, image: PromptImage) -> PromptImage:
        """Return a picture of tiles that all sequences with equal ones share."""
        try:
            return image.with_tiles(self._tiles.intern)
        except ImageError as exc:
            raise ImageError(f"{part.param}: {exc}", param=part.param) from exc

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
