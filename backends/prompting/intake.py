"""From a `Generate` message to a sequence that can start: the prompt rendered and tokenized, every wish checked.

No engine step and no channel in here. What takes long and can be done beside other work, the compilation of a
constraint, is only begun here.
"""

import bisect
import math
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from backends.errors import ContextLengthError, PromptError, UnsupportedByModelError
from backends.images.prompt_image import ImageFacts, PromptImage
from backends.prompting.control_text import Piece
from backends.prompting.encoding import PromptEncoder, ids_of
from backends.prompting.image_places import no_images, runs_with
from backends.prompting.renderer import ChatRenderer, Rendered
from backends.row_ids import is_row
from backends.sequence import EmbeddingSpan, PlacedImage, Sequence, Tile
from backends.tile_cache import TileCache
from backends.tokenizer import InfillTokens, Tokenizer
from backends.wire.load import LoadedModel
from backends.wire.messages import Generate
from backends.wire.prompts import (
    ChatPrompt,
    ImagePart,
    InfillFile,
    InfillPrompt,
    Prompt,
    PromptMessage,
    TextPrompt,
    TokenPrompt,
)
from backends.wire.questions import MAX_TEXT_BYTES
from backends.wire.request import SpeculationMode

_QUICK_BYTES_PER_TOKEN = 8
"""Texts up to this many bytes per token of the context are tokenized without a look at the longest token."""
ANSWER_SHARE = 8
"""A conversation that loses turns leaves one part of so many of the context to the answer."""


class PreparedPrompt(msgspec.Struct, frozen=True):
    """A prompt as tokens and rows of pictures.

    Attributes:
        token_ids: In the places of rows their ids.
        rendered: What the template wrote, for a chat; None otherwise.
        text: What was sent, where that is one text; None otherwise.
        num_added: First tokens that were put before the text.
        spans: Where rows stand.
        images: The pictures that were sent, as they are shown.
    """

    token_ids: list[int]
    rendered: Rendered | None = None
    text: str | None = None
    num_added: int = 0
    spans: tuple[EmbeddingSpan, ...] = ()
    images: tuple[PlacedImage, ...] = ()


NO_DRAFT_MODEL: Final = "no model drafts for it: `mlxr models set NAME draft=OTHER` on the llamacpp engine"

Images = Mapping[ImagePart, PromptImage]
"""What is shown of each picture of a prompt."""


class Intake:
    """Turns messages into sequences, with the loaded model's tokenizer, template and limits.

    Args:
        image_facts: Of the pictures in prompts; None = the model sees none.
        tiles: In which pictures of an earlier exchange are found.

    What cannot be served is refused by a PromptError: ContextLengthError, by the tokens or by a lower bound of them;
    TemplateError; others name the field at fault.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        model: LoadedModel,
        image_facts: ImageFacts | None = None,
        tiles: TileCache | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._context_length = model.context_length
        self._vocab_size = tokenizer.vocab_size
        self._why_no_drafts = model.why_no_drafts
        self._why_no_draft_model = None if model.draft is not None else model.why_no_draft_model or NO_DRAFT_MODEL
        self._sees = image_facts is not None
        self._encoder = PromptEncoder(tokenizer, image_facts)
        self._tiles = TileCache() if tiles is None else tiles
        self.renderer = ChatRenderer(tokenizer, image_facts)

    def prepare(self, prompt: Prompt, images: Images | None = None) -> PreparedPrompt:
        """Return the tokens of a prompt that is not a fork.

        Args:
            images: Of all its pictures.
        """
        images = {} if images is None else images
        match prompt:
            case ChatPrompt():
                prepared = self._truncated_chat(prompt, images) if prompt.truncates else self._chat(prompt, images)
            case TextPrompt(images=[_, *_]):
                prepared = self._text_with_images(prompt, images)
            case TextPrompt(text=text, suffix=None):
                prepared = PreparedPrompt(self.encode(text), text=text, num_added=self._num_added(text))
            case TextPrompt(text=text, suffix=str() as suffix):
                prepared = PreparedPrompt(self._infill(text, suffix), text=text)
            case InfillPrompt():
                prepared = PreparedPrompt(self._fitted_infill(prompt))
            case TokenPrompt(token_ids=token_ids):
                self.check_ids(token_ids, "prompt")
                prepared = PreparedPrompt(list(token_ids))
            case _:
                raise AssertionError(f"{type(prompt).__name__} has no text of its own")
        if not prepared.token_ids:
            raise PromptError("the prompt is empty after tokenization; send at least one token", param="prompt")
        return prepared

    def sequence_for(self, message: Generate, prompt: PreparedPrompt) -> Sequence:
        """Return the waiting sequence that `message` asks for."""
        spec, token_ids = message.spec, list(prompt.token_ids)
        room = self._context_length - len(token_ids)
        if room < spec.min_room:
            raise ContextLengthError(
                num_prompt_tokens=len(token_ids), context_length=self._context_length, min_room=spec.min_room
            )
        self.check_ids([token_id for token_id, _ in spec.sampling.logit_bias], "logit_bias")
        self.check_ids(list(spec.stop_token_ids), "stop_token_ids")
        self._check_speculation(spec.speculation)
        if prompt.spans and spec.sampling.num_prompt_logprobs is not None:
            raise PromptError(
                "prompt_logprobs: a prompt with pictures is not judged; leave it out, or the pictures",
                param="prompt_logprobs",
            )
        return Sequence(
            sequence_id=message.sequence_id,
            token_ids=token_ids,
            num_prompt_tokens=len(token_ids),
            max_output_tokens=room if spec.max_tokens is None else min(room, max(1, spec.max_tokens)),
            sampling=spec.sampling,
            priority=spec.priority,
            session_id=spec.session_id,
            owner=spec.owner,
            spans=prompt.spans,
            images=prompt.images,
            speculation=spec.speculation,
        )

    def _check_speculation(self, mode: SpeculationMode | None) -> None:
        """Refuse a request for drafts that there cannot be; AUTO leaves that open."""
        reasons = {SpeculationMode.LOOKUP: self._why_no_drafts, SpeculationMode.DRAFT: self._why_no_draft_model}
        reason = None if mode is None else reasons.get(mode)
        if reason is not None:
            raise UnsupportedByModelError(
                f"speculation: {mode} cannot be had here: {reason}; send auto or off, or leave it out",
                param="speculation",
            )

    def encode(self, text: str) -> list[int]:
        """Return the tokens of plain text, BOS first where the model wants it."""
        self.check_size(text)
        return self._tokenizer.encode(text, add_bos=self._encoder.adds_bos(text))

    def check_size(self, text: str, param: str | None = None) -> None:
        """Refuse megabytes without tokenizing them (a SentencePiece tokenizer takes minutes for one).

        A text of N bytes has at least N / max_token_bytes tokens.

        Args:
            param: The field of a text that is embedded; None = it is a prompt, which leaves room for an answer.
        """
        num_bytes = len(text.encode())
        if num_bytes <= self._context_length * _QUICK_BYTES_PER_TOKEN:
            return
        at_least = math.ceil(num_bytes / max(1, self._tokenizer.max_token_bytes))
        if at_least > self._context_length - (param is None):
            raise ContextLengthError(
                num_prompt_tokens=at_least, context_length=self._context_length, is_lower_bound=True, param=param
            )

    def check_ids(self, token_ids: list[int], param: str) -> None:
        """Refuse ids that are not tokens."""
        for token_id in token_ids:
            if not 0 <= token_id < self._vocab_size:
                raise PromptError(
                    f"{param}: token id {token_id} is not in the vocabulary (0 to {self._vocab_size - 1})", param=param
                )

    def _chat(self, prompt: ChatPrompt, images: Images) -> PreparedPrompt:
        rendered = self.renderer.render(prompt, images)
        self.check_size(rendered.text)
        self._check_rows(rendered.images)
        context_ids, spans = self._context(prompt.context_ids)
        add_bos = not context_ids and self._encoder.adds_bos(rendered.text)
        token_ids, tiles = self._encoder.encoded(rendered.pieces, add_bos=add_bos)
        if context_ids:
            # An answer that has ended has the token already with which the template closes it.
            is_closed = context_ids[-1:] == token_ids[:1] and self._tokenizer.is_end(context_ids[-1])
            num_before = len(context_ids) - is_closed
            token_ids = [*context_ids[:num_before], *token_ids]
            tiles = [(num_before + start, tile) for start, tile in tiles]
        return PreparedPrompt(
            token_ids, rendered, spans=(*spans, *self._encoder.spans(tiles)), images=_placed(rendered.images)
        )

    def _text_with_images(self, prompt: TextPrompt, images: Images) -> PreparedPrompt:
        if prompt.suffix is not None:
            raise PromptError(
                "suffix: no model here fills in a text with pictures; leave out one of both", param="suffix"
            )
        if not self._sees:
            raise no_images(prompt.images[0])
        texts = prompt.text.split(prompt.image_marker) if prompt.image_marker else [prompt.text]
        if len(texts) != len(prompt.images) + 1:
            raise PromptError(
                f"the prompt has {len(texts) - 1} places for pictures, which are {prompt.image_marker!r}, but "
                f"{len(prompt.images)} pictures were sent; send as many as there are places",
                param="prompt",
            )
        text, shown = "".join(texts), [images[part] for part in prompt.images]
        self.check_size(text)
        self._check_rows(shown)
        runs = [Piece(run, is_literal=False) if isinstance(run, str) else run for run in runs_with(texts, shown)]
        token_ids, tiles = self._encoder.encoded(runs, add_bos=self._encoder.adds_bos(text))
        return PreparedPrompt(
            token_ids,
            text=text,
            num_added=self._num_added(text),
            spans=self._encoder.spans(tiles),
            images=_placed(shown),
        )

    def _context(self, context_ids: list[int]) -> tuple[list[int], tuple[EmbeddingSpan, ...]]:
        """Return the tokens of an earlier exchange, and the pictures among them; refuse other ids.

        A client whose numbers are doubles has rounded those of pictures' rows; they become what they were.
        """
        token_ids: list[int] = []
        tiles: list[tuple[int, Tile]] = []
        while (at := len(token_ids)) < len(context_ids):
            if 0 <= context_ids[at] < self._vocab_size:
                token_ids.append(context_ids[at])
                continue
            if not is_row(context_ids[at]) or context_ids[at] < 0:
                self.check_ids(context_ids[at : at + 1], "context")
            tile = self._tiles.find(context_ids[at])
            ids = [] if tile is None else ids_of(tile)
            came = context_ids[at : at + len(ids)]
            if tile is None or [*map(float, came)] != [*map(float, ids)] or at + len(ids) == len(context_ids):
                raise PromptError(
                    "context: it has a picture that this worker no longer knows; send the whole conversation",
                    param="context",
                )
            tiles.append((at, tile))
            token_ids += ids
        return token_ids, self._encoder.spans(tiles)

    def _truncated_chat(self, prompt: ChatPrompt, images: Images) -> PreparedPrompt:
        """Return a conversation without as many of its oldest turns as the context does not hold.

        Where any goes, the answer gets some room as well.
        """
        whole = self._chat_up_to(prompt, images, self._context_length - 1)
        if whole is not None:
            return whole
        candidates = shorter_conversations(prompt.messages)
        if not candidates:
            return self._chat(prompt, images)
        limit = self._context_length - self._context_length // ANSWER_SHARE
        shorter = [msgspec.structs.replace(prompt, messages=messages) for messages in candidates[:-1]]
        found = bisect.bisect_left(shorter, 1, key=lambda each: int(self._chat_up_to(each, images, limit) is not None))
        return self._chat(msgspec.structs.replace(prompt, messages=candidates[found]), images)

    def _chat_up_to(self, prompt: ChatPrompt, images: Images, num_tokens: int) -> PreparedPrompt | None:
        """Return a conversation as tokens; None where these are more."""
        try:
            prepared = self._chat(prompt, images)
        except ContextLengthError:
            return None
        return prepared if len(prepared.token_ids) <= num_tokens else None

    def _num_added(self, text: str) -> int:
        return int(self._encoder.adds_bos(text) and self._tokenizer.bos_id is not None)

    def _check_rows(self, images: Iterable[PromptImage]) -> None:
        """Refuse more rows than the context holds without tokenizing what is around them."""
        num_rows = sum(image.num_rows for image in images)
        if num_rows >= self._context_length:
            raise ContextLengthError(
                num_prompt_tokens=num_rows, context_length=self._context_length, is_lower_bound=True
            )

    def _infill(self, prefix: str, suffix: str) -> list[int]:
        """Return prefix, suffix, middle: the order that every model with these tokens was trained on."""
        infill = self._tokenizer.infill
        if infill is None:
            raise UnsupportedByModelError("suffix: this model has no tokens for infilling; omit it", param="suffix")
        self.check_size(prefix + suffix)
        before, after = self._encoder.literal(prefix), self._encoder.literal(suffix)
        return [*self._encoder.bos, infill.prefix_id, *before, infill.suffix_id, *after, infill.middle_id]

    def _fitted_infill(self, prompt: InfillPrompt) -> list[int]:
        """Return a gap with as much around it as the context holds beside the answer.

        What is before it gets three quarters of the room where both sides are long, as in llama-server.
        """
        infill = self._tokenizer.infill
        if infill is None:
            raise UnsupportedByModelError("this model has no tokens for infilling; use a model for code that has them")
        bos = self._encoder.bos
        room = self._context_length - self._context_length // ANSWER_SHARE - len(bos) - 3
        most_chars = min(MAX_TEXT_BYTES, self._context_length * _QUICK_BYTES_PER_TOKEN)
        before, after = (
            self._encoder.literal(prompt.prefix[-most_chars:]),
            self._encoder.literal(prompt.suffix[:most_chars]),
        )
        num_after = min(len(after), max(room // 4, room - len(before)))
        before = before[-min(len(before), room - num_after) :] if before else before
        files = self._infill_files(prompt.files, infill, most_chars, room - len(before) - num_after)
        return [*files, *bos, infill.prefix_id, *before, infill.suffix_id, *after[:num_after], infill.middle_id]

    def _infill_files(
        self, files: list[InfillFile], infill: InfillTokens, most_chars: int, num_tokens: int
    ) -> list[int]:
        """Return what stands before the file with the gap, as the makers of models for code taught it to them.

        The end of it, if it is longer; what comes before that is not even tokenized.

        Source: Qwen2.5-Coder, "Repository Level Fill in the middle"; llama.cpp, tools/server, `format_prompt_infill`.
        """
        if not files or num_tokens < 1:
            return []
        token_ids = [] if infill.file_id is None else [infill.file_id, *self._encoder.literal("file\n")]
        for file in reversed(files):
            if len(token_ids) >= num_tokens:
                break
            if infill.file_id is None:
                text = f"\n\n--- {file.name} ---\n\n{file.text}"
                token_ids = [*self._encoder.literal(text[:most_chars]), *token_ids]
            else:
                text = f"{file.name}\n{file.text}"
                token_ids = [infill.file_id, *self._encoder.literal(text[:most_chars]), *token_ids]
        else:
            if infill.project_id is not None and infill.file_id is not None:
                token_ids = [infill.project_id, *self._encoder.literal("project\n"), *token_ids]
        return token_ids[-num_tokens:]


def _placed(images: Iterable[PromptImage]) -> tuple[PlacedImage, ...]:
    return tuple(PlacedImage(image.original, image.seen, image.tiles) for image in images)


def shorter_conversations(messages: list[PromptMessage]) -> list[list[PromptMessage]]:
    """Return a conversation without its oldest turn, without its two oldest, and so on to its last turn.

    A turn begins with a message of the user; answers, calls and their results stay with it. System messages stay.

    Returns:
        The longest first; nothing where there is one turn only.
    """
    starts = [index for index, message in enumerate(messages) if message["role"] == "user"]
    return [
        [*(message for message in messages[:start] if message["role"] == "system"), *messages[start:]]
        for start in starts[1:]
    ]
