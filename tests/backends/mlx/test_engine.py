"""What is particular to the mlx engine: half-precision folders on a CPU, and the size of prefill steps."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlx.core as mx
import pytest

from backends.errors import LoadError
from backends.mlx.engine import MLXEngine
from backends.mlx.loaded import LoadedMLX
from backends.mlx.prefill_size import TARGET_STEP_S, PrefillSize
from backends.wire.load import LoadSpec
from backends.wire.prompts import ForkPrompt
from backends.wire.request import SamplingParams
from tests.backends.conftest import EngineUnderTest
from tests.support import tiny_model
from tests.support.bare_engine import BareEngine, text_ids
from tests.support.engine_driver import EngineDriver


def never_told(_share: float) -> None:
    pass


@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_folders_work(tiny_mlx: Path, tmp_path: Path, dtype: mx.Dtype) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_mlx, folder)
    loaded = mx.load(str(folder / "model.safetensors"))
    assert isinstance(loaded, dict)
    tensors = {name: tensor.astype(dtype) for name, tensor in loaded.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})
    config = json.loads((folder / "config.json").read_text())
    config["torch_dtype"] = str(dtype).rpartition(".")[2]
    (folder / "config.json").write_text(json.dumps(config))
    engine = MLXEngine().load(LoadSpec(model_path=str(folder), context_length=64, max_sequences=2), never_told)
    driver = EngineDriver(engine)
    first, second = driver.answer("abc", max_tokens=8), driver.answer("abc", max_tokens=8)
    assert first.token_ids == second.token_ids
    assert len(first.token_ids) == 8
    assert isinstance(engine, LoadedMLX)
    if not mx.metal.is_available():
        assert engine._model.layers[0].self_attn.q_proj.weight.dtype == mx.float32
    engine.close()


@pytest.mark.parametrize(
    "template", ["one", [{"name": "tools", "template": "t"}, {"name": "default", "template": "one"}]]
)
def test_a_template_in_a_file_for_processors_counts_where_the_tokenizer_has_none(
    tmp_path: Path, template: object
) -> None:
    folder = tiny_model.write_mlx(tmp_path / "m", chat_template=None)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    engine = MLXEngine().load(LoadSpec(model_path=str(folder), context_length=64, max_sequences=2), never_told)
    assert engine.tokenizer.chat_template == "one"
    engine.close()


def test_a_steps_prefill_is_shared_among_prompts(loaded_engines: Callable[[str], EngineUnderTest]) -> None:
    """Four prompts at once must not take four times the time that a cancel may wait."""
    loaded = loaded_engines("mlx")
    engine = loaded.engine
    assert isinstance(engine, LoadedMLX)
    engine._prefill.num_tokens = 8
    bare = BareEngine(engine)
    sequences = [bare.insert(text_ids(16)) for _ in range(4)]
    bare.step(*sequences)
    assert [sequence.num_computed for sequence in sequences] == [2, 2, 2, 2]
    bare.close()


def test_prefill_steps_grow_to_the_rate_and_shrink_with_it() -> None:
    size = PrefillSize(64)
    first = size.num_tokens
    size.adapt(first, 0.001)
    assert size.num_tokens == first * 2
    size.num_tokens = 64
    size.adapt(64, TARGET_STEP_S * 4)
    assert size.num_tokens == 16
    size.adapt(1, 3600)
    assert size.num_tokens == 2


@pytest.mark.parametrize(("has_metal", "limits"), [(True, [123]), (False, [])])
def test_the_wired_limit_is_set_where_there_is_metal(
    monkeypatch: pytest.MonkeyPatch, tiny_mlx: Path, *, has_metal: bool, limits: list[int]
) -> None:
    given: list[int] = []
    monkeypatch.setattr("backends.mlx.memory_limits.has_metal", lambda: has_metal)
    monkeypatch.setattr("backends.mlx.memory_limits.mx.set_wired_limit", given.append)
    engine = MLXEngine().load(LoadSpec(model_path=str(tiny_mlx), wired_limit_bytes=123), never_told)
    assert given == limits
    engine.close()


@pytest.fixture
def windowed(tiny_mlx: Path, tmp_path: Path) -> Iterator[EngineDriver]:
    """The tiny model with one layer that sees the last 16 tokens only, whose cache goes round."""
    folder = tmp_path / "windowed"
    shutil.copytree(tiny_mlx, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
    (folder / "config.json").write_text(json.dumps(config))
    engine = MLXEngine().load(
        LoadSpec(model_path=str(folder), context_length=128, max_sequences=3, kv_cells=400), never_told
    )
    yield EngineDriver(engine)
    engine.close()


@pytest.mark.parametrize(
    ("num_prompt", "num_answered", "num_forked"),
    [
        (10, 3, 2),  # nothing has left the window yet
        (60, 0, 2),  # nothing has to be cut off
        (60, 3, 1),  # the other one is computed, and has a checkpoint
    ],
)
def test_a_cache_that_has_gone_round_is_not_cut_for_forks(
    windowed: EngineDriver, num_prompt: int, num_answered: int, num_forked: int
) -> None:
    prompt = ("abcdefgh" * 8)[:num_prompt]
    samplings = [SamplingParams(temperature=0.9, seed=seed) for seed in range(3)]
    expected = [windowed.answer(prompt, sampling, max_tokens=12).token_ids for sampling in samplings]
    source = windowed.submit(prompt, samplings[0], max_tokens=12)
    windowed.step_until(lambda: windowed.num_output_tokens(source) >= num_answered)
    forks = [windowed.submit(ForkPrompt(source), sampling, max_tokens=12) for sampling in samplings[1:]]
    windowed.run()
    assert [windowed.answers[i].token_ids for i in [source, *forks]] == expected
    assert windowed.batcher.forked == forks[2 - num_forked :]


@pytest.mark.parametrize("num_left_out", [0, 5])
@pytest.mark.parametrize("num_prompt", [6, 60])
def test_retired_caches_that_have_gone_round_begin_others_as_a_whole_only(
    windowed: EngineDriver, num_prompt: int, num_left_out: int
) -> None:
    bare = BareEngine(windowed.engine)
    source = bare.insert(text_ids(num_prompt))
    bare.run(source, num_tokens=8)
    num_tokens = bare.retire(source) - num_left_out
    text = source.token_ids[:num_tokens] + text_ids(10, seed=1)
    fork = bare.fork(source, num_tokens, text)
    assert (fork is not None) == (num_left_out == 0 or num_prompt < 10)
    if fork is not None:
        assert bare.run(fork, num_tokens=12) == [bare.fresh_answer(text, 12)]
    bare.close()


@pytest.mark.parametrize("num_prompt", [6, 60])
def test_windowed_sequences_that_were_held_go_on(windowed: EngineDriver, num_prompt: int) -> None:
    """Recomputed where the cache cannot be cut by the token that was drawn ahead."""
    bare = BareEngine(windowed.engine)
    expected = bare.fresh_answer(text_ids(num_prompt), 24)
    held, other = bare.insert(text_ids(num_prompt)), bare.insert(text_ids(9, seed=1))
    for num in (1, 5, 12):
        bare.run(held, num_tokens=num)
        bare.run(other, num_tokens=num)
    assert bare.run(held, num_tokens=24) == [expected]
    bare.close()


def test_a_plan_bounds_the_prefill(loaded_engines: Callable[[str], EngineUnderTest]) -> None:
    engine = loaded_engines("mlx").engine
    assert isinstance(engine, LoadedMLX)
    engine._prefill.num_tokens = 64
    bare = BareEngine(engine)
    sequences = [bare.insert(text_ids(100, seed)) for seed in range(2)]
    bare.step(sequences[0], max_tokens=10)
    assert sequences[0].num_computed == 10
    assert engine._prefill.num_tokens >= 64, "a small budget says nothing of the machine"
    engine._prefill.num_tokens = 64
    bare.step(*sequences, max_tokens=200)
    assert [sequence.num_computed for sequence in sequences] == [10 + 32, 32]
    bare.close()


def test_another_type_of_the_kv_cache_is_refused(tiny_mlx: Path) -> None:
    with pytest.raises(LoadError, match="kv_type q8_0: on mlx the KV cache always has"):
        MLXEngine().load(LoadSpec(model_path=str(tiny_mlx), kv_type="q8_0"), never_told)
