"""Loading models that see on mlx: what is read when, what is refused, and texts, which are as without a tower."""

import gc
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
from mlx import nn
from mlx.utils import tree_flatten
from mlx_vlm.utils import load_model
from safetensors.numpy import load_file, save_file

from backends.base import LoadedEngine
from backends.errors import LoadError
from backends.mlx.engine import MLXEngine
from backends.mlx.loaded import LoadedMLX
from backends.wire.request import Pooling, SamplingParams
from tests.backends.mlx.vision.conftest import Seeing
from tests.support.bare_engine import BareEngine, load, text_ids
from tests.support.direct_scores import direct_logprobs
from tests.support.image_prompts import ImagePrompts, user
from tests.support.tiny_vision import VisionModel, patchwork

pytestmark = pytest.mark.slow

TEXT = text_ids(40)
KNOWN_TO_MLX_LM = ("qwen2_vl", "gemma3")
NUM = 16
Models = Callable[[str], VisionModel]


def changed(model: VisionModel, folder: Path, **values: object) -> VisionModel:
    """Copy a model's folder and change its config.json; None takes a value away."""
    shutil.copytree(model.folder, folder)
    config = json.loads((folder / "config.json").read_text()) | values
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
    return model._replace(folder=folder)


def rows_of(engine: LoadedEngine, model: VisionModel) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    tile = ImagePrompts("mlx", engine, model).tile(patchwork(1))
    assert engine.encode(tile, lambda: False)
    assert tile.rows is not None
    return tile.rows


def memory_in_use() -> int:
    gc.collect()  # of tests before, which would be missed in the middle otherwise
    return mx.get_active_memory()


class TestTheTower:
    def test_it_takes_no_memory_before_the_first_picture(self, vision_model: Models) -> None:
        """Its parameters are read by the first picture, those of the language model by the load."""
        model = vision_model("qwen2_vl")
        before = memory_in_use()
        engine = load("mlx", model.load_spec("mlx"))
        loaded = mx.get_active_memory()
        rows_of(engine, model)
        mx.synchronize()
        seen = mx.get_active_memory()
        assert isinstance(engine, LoadedMLX)
        assert engine._vision is not None
        sizes = {name: array.nbytes for name, array in tree_flatten(engine._vision.tower._model.parameters())}
        tower = sum(size for name, size in sizes.items() if not name.startswith("language_model."))
        text = sum(sizes.values()) - tower
        assert tower > 100_000
        assert text <= loaded - before < text + tower // 2
        assert seen - loaded >= tower * 0.9
        engine.close()

    def test_reading_it_is_given_up_and_gone_on_with(self, vision_model: Models) -> None:
        model = vision_model("qwen2_vl")
        expected = rows_of(load("mlx", model.load_spec("mlx")), model)
        engine = load("mlx", model.load_spec("mlx"))
        tile = ImagePrompts("mlx", engine, model).tile(patchwork(1))
        answers = iter([False, False, True])
        assert not engine.encode(tile, lambda: next(answers))
        np.testing.assert_array_equal(rows_of(engine, model), expected)
        engine.close()

    def test_it_is_loaded_at_once_where_that_is_wanted(self, vision_model: Models) -> None:
        model = vision_model("qwen2_vl")
        before = memory_in_use()
        engine = load("mlx", model.load_spec("mlx", vision=model.vision_spec("mlx", is_preloaded=True)))
        assert isinstance(engine, LoadedMLX)
        assert engine._vision is not None
        whole = sum(array.nbytes for _, array in tree_flatten(engine._vision.tower._model.parameters()))
        assert mx.get_active_memory() - before >= whole
        engine.close()

    def test_gemmas_rows_have_the_right_scale_though_the_config_names_the_width_for_texts_only(
        self, vision_model: Models, tmp_path: Path
    ) -> None:
        model = vision_model("gemma3")
        silent = changed(model, tmp_path / "silent", hidden_size=None)
        expected = rows_of(load("mlx", model.load_spec("mlx")), model)
        np.testing.assert_array_equal(rows_of(load("mlx", silent.load_spec("mlx")), silent), expected)

    @pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
    def test_quantized_weights_are_near_the_full_ones(self, family: str, vision_model: Models, tmp_path: Path) -> None:
        """The language model and what of the tower can be: as mlx-vlm's own converter leaves them."""
        model = vision_model(family)
        quantized = quantize(model, tmp_path / "quantized")
        engine = load("mlx", quantized.load_spec("mlx"))
        rows = rows_of(engine, quantized)
        expected = rows_of(load("mlx", model.load_spec("mlx")), model)
        cosine = (rows * expected).sum() / np.linalg.norm(rows) / np.linalg.norm(expected)
        assert 0.99 < cosine < 1
        assert len(answer_to_picture(engine, quantized)) == NUM


def answer_to_picture(engine: LoadedEngine, model: VisionModel) -> list[int]:
    prompt = ImagePrompts("mlx", engine, model).chat(user(patchwork(1), "What is it?"))
    for span in prompt.spans:
        assert engine.encode(span.tile, lambda: False)
    answer = BareEngine(engine).fresh_answer(prompt.token_ids, NUM, prompt.spans)
    engine.close()
    return answer


def quantize(model: VisionModel, folder: Path) -> VisionModel:
    """Write a model with 8 bits a weight wherever its code allows it."""
    shutil.copytree(model.folder, folder)
    whole = load_model(model.folder)
    nn.quantize(
        whole,
        group_size=32,
        bits=8,
        class_predicate=lambda _, module: hasattr(module, "to_quantized") and module.weight.shape[-1] % 32 == 0,
    )
    weights = dict(tree_flatten(whole.parameters()))
    assert any(name.endswith(".scales") and "vision" in name for name in weights)
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
    config = json.loads((folder / "config.json").read_text())
    quantization = {"group_size": 32, "bits": 8, "mode": "affine"}
    (folder / "config.json").write_text(json.dumps(config | {"quantization": quantization}))
    return model._replace(folder=folder)


def test_smolvlm_is_idefics_3_by_another_name(vision_model: Models, tmp_path: Path) -> None:
    model = vision_model("idefics3")
    other = changed(model, tmp_path / "smolvlm", model_type="smolvlm")
    answers = [answer_to_picture(load("mlx", each.load_spec("mlx")), each) for each in (model, other)]
    assert answers[0] == answers[1]


def test_an_adapter_lies_over_the_language_model(vision_model: Models, tmp_path: Path) -> None:
    """The answer to a picture is that of the model with the same matrices merged in."""
    model = vision_model("llava")
    rng = np.random.default_rng(7)
    prefix, scale = "language_model.model.layers.", 2.0
    weights = load_file(model.folder / "model.safetensors")
    factors: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] = {}
    for name in [
        name for name in weights if name.startswith(prefix) and name.endswith(("q_proj.weight", "v_proj.weight"))
    ]:
        outputs, inputs = weights[name].shape
        a, b = (rng.standard_normal(shape).astype(np.float32) * 0.2 for shape in ((inputs, 4), (4, outputs)))
        factors |= {name.replace("weight", "lora_a"): a, name.replace("weight", "lora_b"): b}
        weights[name] += scale * (a @ b).T
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    save_file(factors, adapter / "adapters.safetensors")
    parameters = {"rank": 4, "scale": scale, "dropout": 0.0, "keys": ["self_attn.q_proj", "self_attn.v_proj"]}
    said = {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": parameters}
    (adapter / "adapter_config.json").write_text(json.dumps(said))
    merged = changed(model, tmp_path / "merged")
    save_file(weights, merged.folder / "model.safetensors")
    answers = [
        answer_to_picture(load("mlx", each.load_spec("mlx", adapter_path=path)), each)
        for each, path in ((model, str(adapter)), (merged, None), (model, None))
    ]
    assert answers[0] == answers[1] != answers[2]


class TestRefusals:
    def test_code_that_comes_with_a_model_is_not_run(self, vision_model: Models, tmp_path: Path) -> None:
        model = changed(vision_model("llava"), tmp_path / "hostile", model_file="model.py")
        (model.folder / "model.py").write_text("raise SystemExit('it was run')")
        with pytest.raises(LoadError, match="code that comes with a model is not run"):
            load("mlx", model.load_spec("mlx"))

    @pytest.mark.parametrize("family", ["idefics3", "qwen2_vl"])
    def test_a_tower_that_lacks_weights_leaves_a_text_model_if_there_is_one(
        self, family: str, vision_model: Models, tmp_path: Path
    ) -> None:
        model = changed(vision_model(family), tmp_path / "broken")
        weights = load_file(model.folder / "model.safetensors")
        (name, *_) = [name for name in weights if "vision_model" in name or "visual" in name]
        del weights[name]
        save_file(weights, model.folder / "model.safetensors")
        lack = "with its tower: .*Missing 1 parameters"
        with pytest.raises(LoadError, match=lack):
            load("mlx", model.load_spec("mlx", vision=model.vision_spec("mlx", is_preloaded=True)))
        if family not in KNOWN_TO_MLX_LM:
            with pytest.raises(LoadError, match=lack):
                load("mlx", model.load_spec("mlx"))
            return
        engine = load("mlx", model.load_spec("mlx"))
        assert not engine.evaluates_rows
        assert engine.why_text_only is not None
        assert re.search(lack, engine.why_text_only)
        assert len(BareEngine(engine).fresh_answer(TEXT, NUM)) == NUM

    def test_a_tower_of_unknown_rules_leaves_a_text_model(self, vision_model: Models, tmp_path: Path) -> None:
        model = changed(vision_model("qwen2_vl"), tmp_path / "silent")
        (model.folder / "preprocessor_config.json").unlink()
        (model.folder / "processor_config.json").unlink()
        engine = load("mlx", model.load_spec("mlx"))
        assert not engine.evaluates_rows
        assert engine.why_text_only is not None
        assert "lacks preprocessor_config.json" in engine.why_text_only
        assert len(BareEngine(engine).fresh_answer(TEXT, NUM)) == NUM
        with pytest.raises(LoadError, match="lacks preprocessor_config"):
            load("mlx", model.load_spec("mlx", vision=model.vision_spec("mlx", is_preloaded=True)))

    def test_without_mlx_vlm_it_is_a_text_model(self, vision_model: Models, monkeypatch: pytest.MonkeyPatch) -> None:
        model = vision_model("qwen2_vl")
        monkeypatch.setattr(MLXEngine, "can_see", False)
        engine = MLXEngine()
        assert engine.info().versions.keys() == {"mlx", "mlx-lm"}
        loaded = engine.load(model.load_spec("mlx"), lambda _: None)
        assert not loaded.evaluates_rows
        assert len(BareEngine(loaded).fresh_answer(TEXT, NUM)) == NUM
        loaded.close()


@pytest.mark.parametrize("family", KNOWN_TO_MLX_LM)
class TestTexts:
    """As those of the model that mlx-lm loads, without the tower."""

    def test_answers(self, family: str, vision_model: Models, seeing_models: Callable[[str], Seeing]) -> None:
        plain = load("mlx", vision_model(family).load_spec("mlx", vision=None))
        expected = BareEngine(plain).fresh_answer(TEXT, NUM)
        assert seeing_models(family).bare.fresh_answer(TEXT, NUM) == expected
        plain.close()

    def test_scores(self, family: str, seeing_models: Callable[[str], Seeing]) -> None:
        seeing = seeing_models(family)
        sequence = seeing.bare.insert(TEXT, SamplingParams(temperature=0, num_prompt_logprobs=1))
        found: list[float] = []
        while sequence.num_computed < len(TEXT):
            scores = seeing.bare.step(sequence).prompt_scores
            found += [score.likelihoods.drawn.logprob for told in scores.values() for score in told.scores]
        np.testing.assert_allclose(found, direct_logprobs(seeing.model.folder, TEXT), rtol=1e-3, atol=1e-3)
        seeing.bare.remove(sequence)

    def test_embeddings(self, family: str, vision_model: Models, seeing_models: Callable[[str], Seeing]) -> None:
        plain = load("mlx", vision_model(family).load_spec("mlx", vision=None))
        vectors = [embedding(engine) for engine in (plain, seeing_models(family).bare.engine)]
        np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)
        plain.close()


def test_a_model_that_mlx_lm_does_not_know_embeds_too(seeing: Seeing) -> None:
    """By the hidden states of its language model, in pieces or as a whole."""
    whole, pieces = embedding(seeing.bare.engine), embedding(seeing.bare.engine, max_tokens=7)
    assert np.linalg.norm(whole) == pytest.approx(1)
    np.testing.assert_allclose(pieces, whole, atol=1e-4)


def embedding(engine: LoadedEngine, max_tokens: int = 64) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    encoder = engine.create_encoder(Pooling.MEAN, len(TEXT))
    encoder.start(TEXT)
    vector = None
    while vector is None:
        vector = encoder.step(max_tokens, lambda: False)
    encoder.close()
    return np.frombuffer(vector, np.float32)
