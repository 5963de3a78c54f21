"""Caches of ended sequences in 8 bits: how large, how exact, and that answers go on from them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.cache import KVCache, RotatingKVCache

from backends.mlx.caches import KeptCache
from backends.mlx.loaded import LoadedMLX
from backends.mlx.retired import Retired, RetiredCaches
from backends.wire.load import LoadSpec
from router.config.paths import paths_from_env
from tests.support.bare_engine import BareEngine, load

NUM_TOKENS = 300


def layer_of(layer: Any, head_length: int, dtype: mx.Dtype = mx.float16) -> Any:
    """Fill a layer with numbers that differ by head and place."""
    shape = (1, 3, NUM_TOKENS, head_length)
    keys, values = (mx.random.normal(shape, key=mx.random.key(seed)).astype(dtype) for seed in (1, 2))
    layer.update_and_fetch(keys, values)
    return layer


def farthest(before: mx.array, after: mx.array) -> float:
    return float(np.abs(np.asarray(before.astype(mx.float32)) - np.asarray(after.astype(mx.float32))).max())


def kept_and_back(layer: Any, bits: int | None = 8) -> Any:
    caches = RetiredCaches(bits)
    caches.put(1, Retired(KeptCache([layer], NUM_TOKENS), [7] * NUM_TOKENS))
    back = caches.get(1)
    assert back is not None
    assert (back.token_ids, back.kept.num_tokens) == ([7] * NUM_TOKENS, NUM_TOKENS)
    caches.drop(1)
    assert caches.get(1) is None
    return back.kept.layers[0]


@pytest.mark.parametrize("head_length", [64, 96, 128])
@pytest.mark.parametrize("dtype", [mx.float16, mx.bfloat16, mx.float32], ids=["float16", "bfloat16", "float32"])
def test_what_comes_back_is_nearly_what_was_put(head_length: int, dtype: mx.Dtype) -> None:
    layer = layer_of(KVCache(), head_length, dtype)
    back = kept_and_back(layer)
    assert isinstance(back, KVCache)
    assert back.offset == NUM_TOKENS
    for before, after in zip(layer.keys_and_values(), back.keys_and_values(), strict=True):
        assert (after.shape, after.dtype) == (before.shape, before.dtype)
        off = farthest(before, after)
        assert 0 < off < 0.05, "of a range of some 8 a 255th, by which both of its ends are moved"
    again = back
    for _ in range(20):
        again = kept_and_back(again)
    for before, after in zip(layer.keys_and_values(), again.keys_and_values(), strict=True):
        assert farthest(before, after) < 0.05, "no turn adds to it"


@pytest.mark.parametrize(
    ("layer", "head_length"), [(KVCache(), 80), (RotatingKVCache(max_size=64), 64)], ids=["head", "window"]
)
def test_others_stay_as_they_are(layer: Any, head_length: int) -> None:
    assert kept_and_back(layer_of(layer, head_length)) is layer


def test_nothing_is_packed_unless_asked_for() -> None:
    layer = layer_of(KVCache(), 64)
    assert kept_and_back(layer, bits=None) is layer


@pytest.fixture(scope="module")
def bundled_mlx() -> Path:
    folder = paths_from_env(os.environ).models_dir / "smollm2-135m-instruct-mlx-4bit"
    if not folder.exists():
        pytest.skip(f"{folder} does not exist; `make setup` converts the bundled model")
    return folder


@pytest.fixture(scope="module")
def engines(bundled_mlx: Path) -> Iterator[dict[int | None, LoadedMLX]]:
    engines = {}
    for bits in (None, 8):
        engine = load(
            "mlx", LoadSpec(model_path=str(bundled_mlx), context_length=1024, max_sequences=2, kept_bits=bits)
        )
        assert isinstance(engine, LoadedMLX)
        engines[bits] = engine
    yield engines
    for engine in engines.values():
        engine.close()


@pytest.mark.slow
def test_a_real_models_next_turn_goes_on_from_what_was_kept(engines: dict[int | None, LoadedMLX]) -> None:
    tokenizer = engines[None].tokenizer
    prompt = tokenizer.encode("The capital of France is Paris. The capital of Italy is Rome. " * 3, add_bos=False)
    turn = tokenizer.encode("The capital of France is", add_bos=False)
    answers, sizes = {}, {}
    for bits, engine in engines.items():
        bare = BareEngine(engine)
        source = bare.insert(prompt)
        bare.run(source, num_tokens=1)
        num_kept = bare.retire(source)
        assert num_kept >= len(prompt)
        exported = engine.export_cache(source.sequence_id)
        assert exported is not None
        before = mx.get_active_memory()
        bare.remove(source)
        mx.clear_cache()
        del exported
        sizes[bits] = before - mx.get_active_memory()
        again = bare.insert(prompt)
        bare.run(again, num_tokens=1)
        assert bare.retire(again) == num_kept
        fork = bare.fork(again, num_kept, [*again.token_ids, *turn])
        assert fork is not None
        assert fork.num_pending <= len(turn) + 1
        (answers[bits],) = bare.run(fork, num_tokens=1)
        bare.close()
    assert answers[8] == answers[None]
    assert b"Paris" in b"".join(map(tokenizer.token_bytes, answers[8]))
    assert sizes[8] < 0.5 * sizes[None]


def test_saved_ones_are_not_taken_for_exact_ones(engines: dict[int | None, LoadedMLX]) -> None:
    assert engines[8].cache_fingerprint != engines[None].cache_fingerprint
