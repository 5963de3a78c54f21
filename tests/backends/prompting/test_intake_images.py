"""Pictures in prompts as ids of rows and spans: where they stand, what comes back of them, what does not fit."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from backends.errors import ContextLengthError, PromptError, UnsupportedByModelError
from backends.fake.tokenizer import FakeTokenizer
from backends.images.prompt_image import PromptImage
from backends.prompting.intake import Intake, PreparedPrompt
from backends.row_ids import row_ids
from backends.sequence import EmbeddingSpan, Tile
from backends.tile_cache import TileCache
from backends.wire.messages import Generate
from backends.wire.prompts import ChatPrompt, ImagePart, Prompt, TextPrompt, TokenPrompt, images_in
from backends.wire.request import SamplingParams, SequenceSpec
from tests.backends.prompting.test_intake import IM_END, IM_START, MODEL
from tests.support.image_templates import QWEN, facts_of, part, says, shown

A, B = part("a"), part("b")


class Tokenizer(FakeTokenizer):
    chat_template = QWEN


class WritingTokenizer(Tokenizer):
    """Takes one of the family's tokens for such wherever it is written, as llama.cpp takes user-defined ones."""

    vocab_size = FakeTokenizer.vocab_size + 1

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        parts = [
            super(WritingTokenizer, self)._encode(each, parse_control=parse_control) for each in text.split("<image>")
        ]
        return [*parts[0], *(each for ids in parts[1:] for each in (self.vocab_size - 1, *ids))]


def intake(tokenizer: FakeTokenizer | None = None, family: str = "qwen2_vl", **limits: Any) -> Intake:
    model = msgspec.structs.replace(MODEL, **{"context_length": 1000} | limits)
    return Intake(tokenizer or Tokenizer(), model, facts_of(family), TileCache())


def ids_of(image: PromptImage) -> list[int]:
    return [token_id for tile in image.tiles for token_id in ids_of_tile(tile)]


def ids_of_tile(tile: Tile) -> list[int]:
    return row_ids(tile.digest, tile.grid)


def prepared(prompt: Prompt, images: list[ImagePart], **limits: Any) -> PreparedPrompt:
    return intake(**limits).prepare(prompt, shown(images))


def test_rows_stand_between_the_texts_around_them() -> None:
    images = shown([A, B])
    result = intake().prepare(ChatPrompt([says("user", "one ", A, " two ", B)]), images)
    rows = ids_of(images[A]), ids_of(images[B])
    tail = [*b"user\none (", *rows[0], *b") two (", *rows[1], *b")", IM_END, ord("\n"), IM_START, *b"assistant\n"]
    assert result.token_ids[-len(tail) :] == tail
    for span, image, row in zip(result.spans, (A, B), rows, strict=True):
        assert span.tile is images[image].tiles[0]
        assert result.token_ids[span.start : span.end] == row
    assert [(image.original, image.seen, image.num_rows) for image in result.images] == [((640, 480), (28, 14), 2)] * 2


def test_a_sequence_has_its_pictures() -> None:
    worker = intake()
    prompt = worker.prepare(ChatPrompt([says("user", A)]), shown([A]))
    sequence = worker.sequence_for(Generate(1, TextPrompt(""), SequenceSpec(SamplingParams())), prompt)
    assert (sequence.spans, sequence.images) == (prompt.spans, prompt.images)
    assert sequence.token_ids is not prompt.token_ids


@pytest.mark.parametrize("is_whole", [True, False])
def test_spans_are_whole_where_rows_see_each_other(*, is_whole: bool) -> None:
    worker = Intake(Tokenizer(), MODEL, facts_of("gemma3")._replace(is_whole=is_whole))
    (span,) = worker.prepare(ChatPrompt([says("user", A)]), shown([A])).spans
    assert span.is_whole is is_whole


def test_a_raw_text_has_pictures_at_its_markers() -> None:
    images = shown([A, B])
    prompt = TextPrompt("x<__media__>y<|im_end|><__media__>z", images=[A, B], image_marker="<__media__>")
    result = intake().prepare(prompt, images)
    assert result.token_ids == [*b"x(", *ids_of(images[A]), *b")y", IM_END, *b"(", *ids_of(images[B]), *b")z"]
    assert result.text == "xy<|im_end|>z"


@pytest.mark.parametrize(("text", "marker"), [("none", "<m>"), ("<m><m>", "<m>"), ("<m>", "")])
def test_there_must_be_a_place_for_each_picture(text: str, marker: str) -> None:
    with pytest.raises(PromptError, match="as many as there are places") as caught:
        prepared(TextPrompt(text, images=[A], image_marker=marker), [A])
    assert caught.value.param == "prompt"


def test_a_text_is_not_filled_in_around_pictures() -> None:
    with pytest.raises(PromptError, match="suffix: "):
        prepared(TextPrompt("<m>", suffix="x", images=[A], image_marker="<m>"), [A])


def test_a_prompt_never_ends_with_a_picture() -> None:
    image = shown([A])[A]
    bare = {A: image._replace(pieces=image.tiles)}
    result = intake().prepare(TextPrompt("<m>", images=[A], image_marker="<m>"), bare)
    assert result.token_ids == [*ids_of(image), ord("\n")]
    result = intake().prepare(TextPrompt("<m>x", images=[A], image_marker="<m>"), bare)
    assert result.token_ids == [*ids_of(image), ord("x")]


def test_equal_pictures_have_equal_ids() -> None:
    def ids(*parts: ImagePart) -> list[int]:
        return prepared(ChatPrompt([says("user", *parts)]), list(parts)).token_ids

    assert ids(A, B) == ids(A, B)
    assert ids(A) == ids(ImagePart(A.data, "elsewhere"))
    assert ids(A) != ids(B)


def test_a_model_without_a_tower_refuses_pictures_in_raw_texts() -> None:
    with pytest.raises(UnsupportedByModelError, match="param of a: "):
        Intake(Tokenizer(), MODEL).prepare(TextPrompt("<m>", images=[A], image_marker="<m>"))


class TestEarlierExchanges:
    def test_their_pictures_are_found_again(self) -> None:
        tiles = TileCache()
        worker = Intake(Tokenizer(), MODEL, facts_of("qwen2_vl"), tiles)
        images = {part: image.with_tiles(tiles.intern) for part, image in shown([A, B]).items()}
        tile = images[A].tiles[0]
        context = [1, *ids_of(images[A]), 2, 3]
        result = worker.prepare(ChatPrompt([says("user", B)], context_ids=context), images)
        assert result.token_ids[: len(context)] == context
        assert result.spans[0] == EmbeddingSpan(1, tile)
        assert result.spans[1].tile is images[B].tiles[0]
        assert result.token_ids[result.spans[1].start : result.spans[1].end] == ids_of(images[B])
        assert len(result.images) == 1, "of the earlier ones nobody knows the size any more"

    def test_ids_that_a_client_has_rounded_are_those_that_were_told(self) -> None:
        """JavaScript's numbers are doubles, and it writes the shortest decimals that are such a one."""
        tiles = TileCache()
        worker = Intake(Tokenizer(), MODEL, facts_of("qwen2_vl"), tiles)
        image = shown([A])[A].with_tiles(tiles.intern)
        told = [1, *ids_of(image), 2]
        came = [int(Decimal(repr(float(token_id)))) for token_id in told]
        assert came != told
        result = worker.prepare(ChatPrompt([says("user", "x")], context_ids=came))
        assert result.token_ids[: len(told)] == told
        assert result.spans == (EmbeddingSpan(1, image.tiles[0]),)

    @pytest.mark.parametrize("part_of_it", [slice(0, 1), slice(1, 2), slice(0, 0), slice(0, 2)])
    def test_what_is_not_a_whole_picture_that_is_known_is_refused(self, part_of_it: slice) -> None:
        tiles = TileCache()
        worker = Intake(Tokenizer(), MODEL, facts_of("qwen2_vl"), tiles)
        image = shown([A])[A].with_tiles(tiles.intern)
        ids = ids_of(image)[part_of_it] or ids_of(shown([B])[B])
        for context in ([1, *ids] if part_of_it == slice(0, 2) else [1, *ids, 2], [1, -1, 2], [1, 1 << 63, 2]):
            with pytest.raises(PromptError, match="context: ") as caught:
                worker.prepare(ChatPrompt([says("user", "x")], context_ids=context))
            assert caught.value.param == "context"

    def test_a_picture_that_has_gone_is_named(self) -> None:
        context = [1, *ids_of(shown([A])[A]), 2]
        with pytest.raises(PromptError, match="a picture that this worker no longer knows; send the whole"):
            intake().prepare(ChatPrompt([says("user", "x")], context_ids=context))

    def test_nobody_forges_one_as_tokens(self) -> None:
        with pytest.raises(PromptError, match="not in the vocabulary"):
            intake().prepare(TokenPrompt(ids_of(shown([A])[A])))


class TestLimits:
    def test_rows_count_as_tokens(self) -> None:
        prompt = ChatPrompt([says("user", A)])
        worker = intake(context_length=100)
        result = worker.prepare(prompt, shown([A], num_rows=90))
        assert len(result.token_ids) > 100
        with pytest.raises(ContextLengthError) as caught:
            worker.sequence_for(Generate(1, prompt, SequenceSpec(SamplingParams())), result)
        assert caught.value.num_prompt_tokens == len(result.token_ids)

    def test_more_rows_than_the_context_holds_are_refused_before_the_rest_is_tokenized(self) -> None:
        with pytest.raises(ContextLengthError, match="at least 102 tokens"):
            intake(context_length=100).prepare(ChatPrompt([says("user", A, B)]), shown([A, B], num_rows=51))

    def test_a_turns_pictures_go_with_it(self) -> None:
        turns = [says("user", "one", A), says("assistant", "two"), says("user", "three", B)]
        images = shown(images_in(turns), num_rows=60)
        result = intake(context_length=160).prepare(ChatPrompt(turns, truncates=True), images)
        assert [image.tiles for image in result.images] == [images[B].tiles]
        assert [span.tile for span in result.spans] == list(images[B].tiles)
        whole = intake(context_length=1000).prepare(ChatPrompt(turns, truncates=True), images)
        assert len(whole.images) == 2


def test_what_users_write_is_no_token_of_pictures_even_where_the_tokenizer_thinks_so() -> None:
    tokenizer = WritingTokenizer()
    special = tokenizer.vocab_size - 1
    assert tokenizer.encode("<image>", add_bos=False, parse_control=False) == [special]
    worker = intake(tokenizer, "idefics3")
    ids = worker.prepare(ChatPrompt([says("user", "a<image>b<image>", A)]), shown([A])).token_ids
    assert special not in ids
    assert b"a<image>b<image>" in bytes(token_id for token_id in ids if token_id < 256)
