"""libmtmd's towers: what is refused and in which words, giving up, memory, and that all of it is on the CPU."""

import gc
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from backends.base import LoadedEngine
from backends.embedding import Floats
from backends.errors import EngineError, LoadError
from backends.step import Chunk, StepPlan
from backends.wire.load import LoadSpec
from tests.support.bare_engine import BareEngine, load, text_ids
from tests.support.image_prompts import ImagePrompts, user
from tests.support.tiny_vision import VisionModel, patchwork, write_vision_model
from tests.support.tiny_vision.gguf_files import write_projector
from tests.support.tiny_vision.weights import tower_weights

pytestmark = pytest.mark.slow

Write = Callable[[str], VisionModel]


@pytest.fixture
def llava(vision_model: Write) -> VisionModel:
    return vision_model("llava")


@pytest.fixture
def loaded() -> Iterator[Callable[[LoadSpec], LoadedEngine]]:
    engines: list[LoadedEngine] = []

    def get(spec: LoadSpec) -> LoadedEngine:
        engines.append(load("llamacpp", spec))
        return engines[-1]

    yield get
    for engine in engines:
        engine.close()


def spec_with(model: VisionModel, **changes: object) -> LoadSpec:
    return model.load_spec("llamacpp", vision=model.vision_spec("llamacpp", **changes))


def encode(engine: LoadedEngine, model: VisionModel, seed: int = 1) -> Floats:
    tile = ImagePrompts("llamacpp", engine, model).tile(patchwork(seed))
    assert engine.encode(tile, lambda: False)
    assert tile.rows is not None
    return tile.rows


@pytest.fixture
def odd_projectors(llava: VisionModel, tmp_path: Path) -> dict[str, Path]:
    """Files that are no projectors of this model, by what is wrong with them."""
    garbage, cut, narrow = tmp_path / "garbage.gguf", tmp_path / "cut.gguf", tmp_path / "narrow.gguf"
    garbage.write_bytes(b"no projector" * 1000)
    cut.write_bytes(llava.projector.read_bytes()[:-2000])
    tensors = tower_weights("llava", 0)
    tensors |= {"mm.2.weight": tensors["mm.2.weight"][:32], "mm.2.bias": tensors["mm.2.bias"][:32]}
    write_projector(narrow, "llava", tensors)
    return {
        "nowhere": tmp_path / "nowhere.gguf",
        "garbage": garbage,
        "cut": cut,
        "text": llava.text_gguf,
        "narrow": narrow,
    }


WRONG = ("nowhere", "garbage", "cut", "text", "narrow")


@pytest.mark.parametrize("wrong", WRONG)
def test_a_projector_that_is_none_is_an_error_of_the_picture_and_not_of_the_model(
    wrong: str,
    llava: VisionModel,
    odd_projectors: dict[str, Path],
    loaded: Callable[[LoadSpec], LoadedEngine],
) -> None:
    path = odd_projectors[wrong]
    engine = loaded(spec_with(llava, projector_path=str(path)))
    for _ in range(2):
        with pytest.raises(EngineError, match=path.name) as caught:
            encode(engine, llava)
    if wrong == "narrow":
        assert "mismatch between text model (n_embd = 64) and mmproj (n_embd = 32)" in str(caught.value)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_projector_that_is_to_be_loaded_with_the_model_fails_the_load(
    wrong: str, llava: VisionModel, odd_projectors: dict[str, Path]
) -> None:
    path = odd_projectors[wrong]
    with pytest.raises(LoadError, match=path.name):
        load("llamacpp", spec_with(llava, projector_path=str(path), is_preloaded=True))


def test_a_tower_with_a_class_token_is_refused_by_name_or_left_alone(
    llava: VisionModel, loaded: Callable[[LoadSpec], LoadedEngine]
) -> None:
    with pytest.raises(LoadError, match="LLaVA with a CLIP tower is computed wrongly"):
        load("llamacpp", spec_with(llava, has_class_token=True, is_preloaded=True))
    engine = loaded(spec_with(llava, has_class_token=True))
    assert not engine.evaluates_rows
    assert "computed wrongly" in (engine.why_text_only or "")


def test_the_tower_is_on_the_cpu_and_says_nothing(
    llava: VisionModel, loaded: Callable[[LoadSpec], LoadedEngine], capfd: pytest.CaptureFixture[str]
) -> None:
    engine = loaded(spec_with(llava, is_preloaded=True))
    assert all(device.startswith("CPU") for device in engine.model.devices)
    encode(engine, llava)
    assert capfd.readouterr() == ("", "")


def test_a_tower_that_comes_with_the_first_picture_sees_the_same(
    llava: VisionModel, loaded: Callable[[LoadSpec], LoadedEngine]
) -> None:
    early, late = (loaded(spec_with(llava, is_preloaded=is_preloaded)) for is_preloaded in (True, False))
    assert np.array_equal(encode(early, llava), encode(late, llava))


def test_an_encoding_is_given_up_when_asked_in_its_middle(
    vision_model: Write, loaded: Callable[[LoadSpec], LoadedEngine]
) -> None:
    model = vision_model("qwen2_vl")
    engine = loaded(model.load_spec("llamacpp"))
    tile = ImagePrompts("llamacpp", engine, model).tile(patchwork(1, 224, 224))
    num_asked = 0

    def should_abort() -> bool:
        nonlocal num_asked
        num_asked += 1
        return num_asked == 2

    assert not engine.encode(tile, should_abort)
    assert num_asked == 2
    assert tile.rows is None
    assert engine.encode(tile, lambda: False)


def test_closing_gives_the_towers_memory_back(tmp_path: Path) -> None:
    """A tower of 60 MB, loaded and closed again and again: no more memory than for the first one."""
    model = write_vision_model(tmp_path / "large", "llava")
    tensors = tower_weights("llava", 0)
    tensors["mm.0.weight"] = np.ones((200_000, 32), np.float32)
    tensors["mm.0.bias"] = np.ones(200_000, np.float32)
    tensors["mm.2.weight"] = np.ones((64, 200_000), np.float32)
    write_projector(model.projector, "llava", tensors)
    sizes = []
    for _ in range(5):
        engine = load("llamacpp", spec_with(model))
        encode(engine, model)
        engine.close()
        gc.collect()
        sizes.append(psutil.Process().memory_info().rss)
    assert model.projector.stat().st_size > 60e6
    assert max(sizes[1:]) - sizes[0] < 60e6


def test_encodings_on_another_thread_leave_a_text_alone(
    vision_model: Write, loaded: Callable[[LoadSpec], LoadedEngine]
) -> None:
    """Rows and tokens are those of each alone, while both go on."""
    model = vision_model("idefics3")
    engine = loaded(model.load_spec("llamacpp"))
    bare = BareEngine(engine)
    alone, rows = bare.fresh_answer(list(b"hello"), 200), encode(engine, model)
    found: list[Floats] = []
    thread = threading.Thread(target=lambda: found.extend(encode(engine, model) for _ in range(20)))
    thread.start()
    answers: list[list[int]] = []
    while thread.is_alive() or not answers:
        answers.append(bare.fresh_answer(list(b"hello"), 200))
    thread.join()
    assert all(answer == alone for answer in answers)
    assert len(found) == 20
    assert all(np.array_equal(each, rows) for each in found)


def test_a_step_that_is_given_up_in_a_pictures_rows_takes_up_texts_that_were_to_begin_in_it(
    vision_model: Write, loaded: Callable[[LoadSpec], LoadedEngine]
) -> None:
    model = vision_model("llava")
    engine = loaded(model.load_spec("llamacpp"))
    bare, prompts = BareEngine(engine), ImagePrompts("llamacpp", engine, model)
    prompt = prompts.chat(user("Look: ", patchwork(1, 32, 32), "What is it?"))
    (span,) = prompt.spans
    alone = [bare.fresh_answer(prompt.token_ids, 8, prompt.spans), bare.fresh_answer(text_ids(40), 8)]
    seeing, text = bare.insert(prompt.token_ids, spans=prompt.spans), bare.insert(text_ids(40))
    while seeing.num_computed < span.start:
        bare.step(seeing)
    chunks = (Chunk(seeing, span.start, span.tile.size), Chunk(text, 0, 40))
    result = engine.step(StepPlan(chunks), lambda: True)
    assert result.was_aborted
    assert result.num_computed == {seeing.sequence_id: span.start, text.sequence_id: 0}
    assert bare.run(seeing, text, num_tokens=8) == alone
