"""Adapters on both real engines: the same matrices as a GGUF and as an MLX folder, over the same float32 weights.

Greedy answers must be the same tokens on both engines, and those of the model that has the adapter merged in.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from backends.errors import LoadError
from backends.wire.load import LoadSpec
from backends.wire.request import Pooling
from tests.support import tiny_adapter, tiny_model
from tests.support.bare_engine import load as load_on
from tests.support.engine_driver import EngineDriver

pytestmark = pytest.mark.slow

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
PROMPTS = ("The quick brown fox", "hello world", "Übermut tut selten gut")
Tokens = list[list[int]]


class Forms(NamedTuple):
    """Everything that can be loaded, of one engine."""

    base: Path
    merged: Path
    adapter: Path
    zero_adapter: Path


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path, tiny_mlx: Path) -> dict[str, Forms]:
    folder = tmp_path_factory.mktemp("adapters")
    matrices, zeros = tiny_adapter.pairs(), tiny_adapter.pairs(factor=0.0)
    merged = tiny_adapter.merged(matrices)
    return {
        "llamacpp": Forms(
            tiny_gguf,
            tiny_model.write_gguf(folder / "merged.gguf", tensors=merged),
            tiny_adapter.write_gguf_lora(folder / "fox.gguf", matrices),
            tiny_adapter.write_gguf_lora(folder / "zero.gguf", zeros),
        ),
        "mlx": Forms(
            tiny_mlx,
            tiny_model.write_mlx(folder / "merged", tensors=merged),
            tiny_adapter.write_mlx_lora(folder / "fox", matrices),
            tiny_adapter.write_mlx_lora(folder / "zero", zeros),
        ),
    }


Load = Callable[..., EngineDriver]


@pytest.fixture
def load() -> Iterator[Load]:
    drivers: list[EngineDriver] = []

    def load_one(engine_name: str, path: Path, adapter: Path | None = None, scale: float = 1.0) -> EngineDriver:
        spec = LoadSpec(
            model_path=str(path),
            context_length=128,
            max_sequences=2,
            num_threads=1,
            adapter_path=None if adapter is None else str(adapter),
            adapter_scale=scale,
        )
        drivers.append(EngineDriver(load_on(engine_name, spec)))
        return drivers[-1]

    yield load_one
    for driver in drivers:
        driver.engine.close()


def greedy(driver: EngineDriver) -> Tokens:
    return [driver.answer(prompt, max_tokens=12, ignore_eos=True).token_ids for prompt in PROMPTS]


@ENGINES
def test_it_answers_as_the_model_with_the_adapter_merged_in(load: Load, forms: dict[str, Forms], engine: str) -> None:
    base, merged, adapter, _ = forms[engine]
    changed = greedy(load(engine, base, adapter))
    assert changed == greedy(load(engine, merged))
    assert all(ours != theirs for ours, theirs in zip(changed, greedy(load(engine, base)), strict=True))


def test_both_engines_answer_the_same(load: Load, forms: dict[str, Forms]) -> None:
    for scale in (1.0, 0.25, -1.0):
        first, second = (load(name, form.base, form.adapter, scale) for name, form in forms.items())
        assert greedy(first) == greedy(second)


@ENGINES
def test_without_an_effect_it_answers_as_the_base(load: Load, forms: dict[str, Forms], engine: str) -> None:
    base, _, adapter, zero_adapter = forms[engine]
    plain = greedy(load(engine, base))
    assert greedy(load(engine, base, adapter, 0.0)) == plain
    assert greedy(load(engine, base, zero_adapter)) == plain


def test_dora_folders_are_loaded_by_mlx(load: Load, forms: dict[str, Forms], tmp_path: Path) -> None:
    """With the magnitudes of the base and no product it is the base; with a product it is not."""
    weights, matrices = tiny_model.weights(), tiny_adapter.pairs()
    magnitudes = {name: np.linalg.norm(weights[name], axis=1) for name in matrices}
    without = tiny_adapter.write_mlx_dora(tmp_path / "zero", tiny_adapter.pairs(factor=0.0), magnitudes)
    changed = tiny_adapter.write_mlx_dora(tmp_path / "fox", matrices, magnitudes)
    base = forms["mlx"].base
    plain = greedy(load("mlx", base))
    assert greedy(load("mlx", base, without)) == plain
    assert greedy(load("mlx", base, changed)) != plain
    assert greedy(load("mlx", base, changed, 0.0)) == plain


@ENGINES
def test_a_shared_beginning_is_the_adapters_own(load: Load, forms: dict[str, Forms], engine: str) -> None:
    """Two answers that share a beginning in one worker are those of two workers that share nothing."""
    base, _, adapter, _ = forms[engine]
    first = load(engine, base, adapter)
    ids = [first.submit(f"{'The quick brown fox ' * 3}{end}", max_tokens=8, ignore_eos=True) for end in ("a", "b")]
    first.run()
    together = [first.answers[sequence_id].token_ids for sequence_id in ids]
    second = load(engine, base, adapter)
    alone = [
        second.answer(f"{'The quick brown fox ' * 3}{end}", max_tokens=8, ignore_eos=True).token_ids
        for end in ("a", "b")
    ]
    assert together == alone


@ENGINES
def test_it_changes_embeddings_as_well(load: Load, forms: dict[str, Forms], engine: str) -> None:
    def vector(driver: EngineDriver) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        encoder = driver.engine.create_encoder(Pooling.MEAN, max_tokens=32)
        try:
            encoder.start([72, 73, 74])
            found = None
            while found is None:
                found = encoder.step(32, lambda: False)
            return np.frombuffer(found, np.float32)
        finally:
            encoder.close()

    base, merged, adapter, _ = forms[engine]
    changed = vector(load(engine, base, adapter))
    assert np.allclose(changed, vector(load(engine, merged)), atol=1e-4)
    assert not np.allclose(changed, vector(load(engine, base)), atol=1e-2)


def other_width(folder: Path) -> dict[str, Path]:
    wide = {"blk.0.attn_q": (np.ones((4, 128), np.float32), np.ones((64, 4), np.float32))}
    return {
        "llamacpp": tiny_adapter.write_gguf_lora(folder / "a.gguf", wide),
        "mlx": tiny_adapter.write_mlx_lora(folder / "a", wide),
    }


def cut_short(folder: Path) -> dict[str, Path]:
    gguf, mlx = tiny_adapter.write_gguf_lora(folder / "a.gguf"), tiny_adapter.write_mlx_lora(folder / "a")
    for file in (gguf, mlx / "adapters.safetensors"):
        file.write_bytes(file.read_bytes()[:-100])
    return {"llamacpp": gguf, "mlx": mlx}


def absent(folder: Path) -> dict[str, Path]:
    return {"llamacpp": folder / "a.gguf", "mlx": folder / "a"}


@ENGINES
@pytest.mark.parametrize("make", [other_width, cut_short, absent])
def test_one_that_does_not_fit_is_a_refused_load_that_names_it(
    load: Load, forms: dict[str, Forms], engine: str, make: Callable[[Path], dict[str, Path]], tmp_path: Path
) -> None:
    """Registration refuses these; here the file has become another one since."""
    adapter = make(tmp_path)[engine]
    with pytest.raises(LoadError, match="could not load the adapter") as caught:
        load(engine, forms[engine].base, adapter)
    assert str(adapter) in str(caught.value)
