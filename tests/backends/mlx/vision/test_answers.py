"""Answers to pictures on mlx: those of mlx-vlm's own model, however they are batched, cut, forked, kept or given up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_vlm.utils import load_model

from backends.embedding import Floats
from backends.errors import EngineError
from backends.images.families import family_of
from backends.images.preparing import tower_input
from backends.mlx.loaded import LoadedMLX
from backends.mlx.vision.rows import RowTable
from backends.prompting.intake import PreparedPrompt
from backends.sequence import Tile
from tests.backends.mlx.vision.conftest import FAMILIES, WITH_SHORT_WINDOWS, Seeing
from tests.support.bare_engine import BareEngine, load
from tests.support.image_prompts import user
from tests.support.tiny_vision import patchwork
from tests.support.tiny_vision.mlx_only import MLX_ONLY

pytestmark = pytest.mark.slow

BESIDE_THE_CONTRACT = pytest.mark.parametrize("seeing", sorted({*MLX_ONLY} - {WITH_SHORT_WINDOWS}), indirect=True)
"""Of the other families the contract suite asks the same."""
NUM = 12
PICTURE, OTHER = patchwork(1, 84, 112), patchwork(2, 112, 84)


class OwnModel:
    """mlx-vlm's model as mlx-vlm calls it: the whole prompt at once, without a cache."""

    def __init__(self, seeing: Seeing) -> None:
        self._model = load_model(seeing.model.folder)
        self._tower = seeing.prompts.processor.tower

    def rows(self, prompt: PreparedPrompt) -> Floats:
        """Return what it puts in the places of pictures."""
        ids, inputs = self._arguments(prompt)
        embedded = self._model.get_input_embeddings(ids, **inputs).inputs_embeds[0]
        rows: Floats = np.array(embedded)[np.array(ids[0]) == self._image_id]
        return rows

    def answer(self, prompt: PreparedPrompt, num_tokens: int) -> list[int]:
        ids, inputs = self._arguments(prompt)
        answer: list[int] = []
        while len(answer) < num_tokens:
            whole = mx.concatenate([ids, mx.array([answer], mx.int32)], axis=1) if answer else ids
            if "mm_token_type_ids" in inputs:
                inputs["mm_token_type_ids"] = mx.pad(inputs["mm_token_type_ids"], [(0, 0), (0, int(bool(answer)))])
            logits = self._gemma3(whole, prompt) if self._is_gemma3 else self._model(whole, mask=None, **inputs).logits
            answer.append(int(mx.argmax(logits[0, -1])))
            self._model.language_model._position_ids = None  # it would take them for those of the longer text
        return answer

    @property
    def _is_gemma3(self) -> bool:
        return self._tower.family == "gemma3"

    def _gemma3(self, ids: mx.array, prompt: PreparedPrompt) -> mx.array:
        """Give the mask, which mlx-vlm 0.7.10 makes one of all ones, and the ends of turns, which it takes for padding.

        Source: transformers 5.23, models/gemma3, create_causal_mask_mapping: rows of one picture see each other.
        """
        num = ids.shape[1]
        mask = np.tri(num, dtype=bool)
        for span in prompt.spans:
            mask[span.start : span.end, span.start : span.end] = True
        rows = self._model.get_input_embeddings(ids, self._pixels(prompt), mask=mx.ones((1, num))).inputs_embeds
        text = self._model.get_input_embeddings(ids).inputs_embeds
        embedded = mx.where((ids == self._image_id)[..., None], rows, text)
        logits: mx.array = self._model.language_model(ids, inputs_embeds=embedded, mask=mx.array(mask)).logits
        return logits

    @property
    def _image_id(self) -> int:
        config = self._model.config
        image_id: int = getattr(config, "image_token_index", None) or config.image_token_id
        return image_id

    def _arguments(self, prompt: PreparedPrompt) -> tuple[mx.array, dict[str, Any]]:
        ids = prompt.token_ids.copy()
        for span in prompt.spans:
            ids[span.start : span.end] = [self._image_id] * span.tile.size
        inputs: dict[str, Any] = {"pixel_values": self._pixels(prompt)}
        match self._tower.family:
            case "gemma4":
                inputs["mm_token_type_ids"] = mx.array([[int(i == self._image_id) for i in ids]])
            case "idefics3":
                inputs["pixel_values"] = inputs["pixel_values"][None]
            case "gemma3":
                inputs["mask"] = mx.ones((1, len(ids)))
            case family if family_of(family).takes_patches:
                merge = self._tower.merge
                grids = [[1, tile.grid.rows * merge, tile.grid.columns * merge] for tile in tiles_of(prompt)]
                inputs["image_grid_thw"] = mx.array(grids)
        return mx.array([ids], mx.int32), inputs

    def _pixels(self, prompt: PreparedPrompt) -> Any:
        arrays = [tower_input(tile.pixels, self._tower) for tile in tiles_of(prompt)]
        if self._tower.family == "gemma4":  # of different sizes
            return [mx.array(array[0]) for array in arrays]
        return mx.array(np.concatenate(arrays))


def tiles_of(prompt: PreparedPrompt) -> list[Tile]:
    return [span.tile for span in prompt.spans]


def test_rows_are_what_the_models_own_call_puts_in_their_places(seeing: Seeing) -> None:
    prompt = seeing.ask(PICTURE, "What is it?")
    expected = OwnModel(seeing).rows(prompt)
    rows = np.concatenate([tile.rows for tile in tiles_of(prompt) if tile.rows is not None])
    np.testing.assert_allclose(rows[:, : expected.shape[1]], expected, rtol=1e-4, atol=1e-5)


def test_the_answer_is_the_models_own(seeing: Seeing) -> None:
    prompt = seeing.ask("Look: ", PICTURE, " What is it?")
    assert seeing.alone(prompt, NUM) == OwnModel(seeing).answer(prompt, NUM)


@pytest.mark.parametrize("seeing", sorted({*FAMILIES} - {"llava"}), indirect=True)
def test_several_pictures_in_several_turns_are_answered_as_the_model_does(seeing: Seeing) -> None:
    """Without LLaVA, of which mlx-vlm's own code takes one picture only."""
    prompt = seeing.chat(user(PICTURE, "What is it?"), user("And", OTHER, "this? As", PICTURE, "is?"))
    assert seeing.alone(prompt, NUM) == OwnModel(seeing).answer(prompt, NUM)


@pytest.mark.parametrize("seeing", MLX_ONLY, indirect=True)
def test_pictures_in_pieces_are_the_same(seeing: Seeing) -> None:
    prompt = seeing.ask(PICTURE, "What is it?", OTHER, "And this?")
    expected = seeing.alone(prompt, NUM)
    sequence = seeing.insert(prompt)
    assert seeing.bare.run(sequence, num_tokens=NUM, max_tokens=5) == [expected]


def test_together_is_as_alone(seeing: Seeing) -> None:
    """Texts beside pictures, of several lengths, one and the same picture twice."""
    prompts = [
        seeing.ask(PICTURE, "What is it?"),
        seeing.ask("hello there, who is it?"),
        seeing.ask("A longer text comes before it: ", OTHER, "What is it?", PICTURE, "And this?"),
        seeing.ask(PICTURE, "Who?"),
    ]
    expected = [seeing.alone(prompt, NUM) for prompt in prompts]
    sequences = [seeing.insert(prompt) for prompt in prompts]
    assert seeing.bare.run(*sequences, num_tokens=NUM, max_tokens=30) == expected


def test_one_that_comes_while_others_decode_is_as_alone(seeing: Seeing) -> None:
    first, second = seeing.ask(PICTURE, "What is it?"), seeing.ask("This", OTHER, "is what?")
    expected = [seeing.alone(prompt, NUM) for prompt in (first, second)]
    running = seeing.insert(first)
    seeing.bare.run(running, num_tokens=3)
    late = seeing.insert(second)
    assert seeing.bare.run(running, late, num_tokens=NUM, max_tokens=7) == expected


@pytest.mark.parametrize("seeing", ["gemma3", "gemma4 of both sides"], indirect=True)
def test_steps_are_large_enough_for_pictures_that_come_whole(seeing: Seeing) -> None:
    """Even where they are to be small, beside a text that is longer."""
    prompt, text = seeing.ask("Look: ", PICTURE, "What is it?"), seeing.ask("hello there, " * 9)
    expected = [seeing.alone(each, NUM) for each in (prompt, text)]
    small = BareEngine(load("mlx", seeing.model.load_spec("mlx", step_tokens=4)))
    assert small.engine.limits.step_tokens >= max(tile.size for tile in tiles_of(prompt))
    sequences = [small.insert(each.token_ids, spans=each.spans) for each in (prompt, text)]
    assert small.run(*sequences, num_tokens=NUM, max_tokens=small.engine.limits.step_tokens + 4) == expected
    small.engine.close()


@BESIDE_THE_CONTRACT
@pytest.mark.parametrize("is_retired", [True, False])
@pytest.mark.parametrize("is_behind", [True, False])
def test_another_question_goes_on_from_the_picture(seeing: Seeing, *, is_behind: bool, is_retired: bool) -> None:
    """Behind the picture or before it: the same answer as without the cache."""
    first, second = seeing.ask("Look: ", PICTURE, "What is it?"), seeing.ask("Look: ", PICTURE, "Which colours?")
    expected = seeing.alone(second, NUM)
    source = seeing.insert(first)
    seeing.bare.run(source, num_tokens=4)
    if is_retired:
        assert seeing.bare.retire(source)
    span = second.spans[-1] if is_behind else second.spans[0]
    fork = seeing.bare.fork(source, span.end if is_behind else span.start, second.token_ids, second.spans)
    assert fork is not None
    assert seeing.bare.run(fork, num_tokens=NUM) == [expected]


@BESIDE_THE_CONTRACT
def test_a_saved_cache_goes_on_in_another_worker(seeing: Seeing, tmp_path: Path) -> None:
    first, second = seeing.ask(PICTURE, "What is it?"), seeing.ask(PICTURE, "Which colours?")
    expected = seeing.alone(second, NUM)
    source = seeing.insert(first)
    seeing.bare.run(source, num_tokens=4)
    num_tokens = seeing.bare.retire(source)
    assert seeing.bare.engine.save_cache(source.sequence_id, tmp_path / "cache")
    other = BareEngine(load("mlx", seeing.model.load_spec("mlx")))
    try:
        cache_id, end = other.new_id(), second.spans[-1].end
        held = other.engine.load_cache(tmp_path / "cache", cache_id, source.token_ids[:num_tokens])
        assert held == num_tokens
        fork = other.fork(cache_id, end, second.token_ids, second.spans)
        assert fork is not None
        assert other.run(fork, num_tokens=NUM) == [expected]
    finally:
        other.engine.close()


def test_one_that_is_held_in_the_middle_of_a_picture_goes_on(seeing: Seeing) -> None:
    prompt, other = seeing.ask(PICTURE, "What is it?", OTHER, "And this?"), seeing.ask(OTHER, "Who?")
    expected = [seeing.alone(prompt, NUM), seeing.alone(other, NUM)]
    sequence = seeing.insert(prompt)
    second = seeing.insert(other)
    seeing.bare.step(sequence, max_tokens=9)
    seeing.bare.step(sequence, max_tokens=5)
    for max_tokens in (4, 30, 4, 30, 64):  # in turn, so that each is taken out of the batch
        seeing.bare.step(sequence, max_tokens=max_tokens)
        seeing.bare.step(second, max_tokens=max_tokens)
    assert seeing.bare.run(sequence, second, num_tokens=NUM) == expected


def test_an_encoding_is_given_up_between_two_layers(seeing: Seeing) -> None:
    """Whenever that is, the tile has no rows, and the next encoding gives the right ones."""
    tile = seeing.prompts.tile(patchwork(3, 84, 112))
    num_asked = [0]

    def ask_until(num_wanted: int) -> Callable[[], bool]:
        num_asked[0] = 0

        def should_abort() -> bool:
            num_asked[0] += 1
            return num_asked[0] == num_wanted

        return should_abort

    assert seeing.bare.engine.encode(tile, lambda: False)
    expected, tile.rows = tile.rows, None
    assert expected is not None
    assert seeing.bare.engine.encode(tile, ask_until(0))
    assert num_asked[0] >= 2
    for num_wanted in range(1, num_asked[0] + 1):
        tile.rows = None
        assert not seeing.bare.engine.encode(tile, ask_until(num_wanted))
        assert tile.rows is None
    assert seeing.bare.engine.encode(tile, lambda: False)
    np.testing.assert_array_equal(tile.rows, expected)


def test_what_is_given_up_or_done_leaves_no_rows_behind(seeing: Seeing) -> None:
    engine = seeing.bare.engine
    assert isinstance(engine, LoadedMLX)
    assert engine._vision is not None
    table = engine._vision.model._rows
    prompt = seeing.ask(PICTURE, "What is it?", OTHER, "And this?")
    given_up = seeing.insert(prompt)
    seeing.bare.step(given_up, max_tokens=prompt.spans[0].start)
    seeing.bare.step(given_up, max_tokens=4)
    assert table._places
    seeing.bare.remove(given_up)
    assert table.is_empty
    done = seeing.insert(prompt)
    seeing.bare.run(done, num_tokens=1)
    assert table.is_empty


@pytest.mark.parametrize("seeing", ["llava"], indirect=True)
def test_rows_that_there_is_no_memory_for_fail_their_step_and_not_the_worker(
    seeing: Seeing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(_table: RowTable, _tile: Tile) -> None:
        raise RuntimeError("[malloc] Unable to allocate")

    prompt = seeing.ask(PICTURE, "What is it?")
    sequence = seeing.insert(prompt)
    seeing.bare.step(sequence, max_tokens=prompt.spans[0].start)
    monkeypatch.setattr(RowTable, "write", write)
    with pytest.raises(EngineError, match="Unable to allocate"):
        seeing.bare.step(sequence)
    monkeypatch.undo()
    seeing.bare.remove(sequence)
    assert len(seeing.alone(prompt, NUM)) == NUM


def test_another_picture_is_another_answer(seeing: Seeing) -> None:
    assert len({tuple(seeing.alone(seeing.ask(patchwork(seed), "What?"), NUM)) for seed in range(4)}) > 1
