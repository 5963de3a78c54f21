"""Fills a worker's caches as a full-context answer after a full-context answer does, and prints what the process holds.

`python -P -m tests.support.memory_probe ENGINE PATH CONTEXT [KV_TYPE]`: a process of its own with the worker's modules
in it; one line of JSON, bytes. Prefilling 8,192 tokens takes minutes, so the engine is brought into the same state on
shorter ways: llama.cpp computes one piece and puts its state back into cells of its own as often as needed; mlx is
given a cache of constants. The last chunk of the prompt is then really computed over the full cache.
"""

import json
import sys
from pathlib import Path

import backends.process.worker  # noqa: F401 - a worker has all of this in memory
from backends.base import LoadedEngine
from backends.engines import create_engine
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams

PIECE_TOKENS = 512


def main(engine_name: str, path: str, context_length: int, kv_type: str | None = None) -> None:
    engine = create_engine(engine_name)
    engine.info()
    spec = LoadSpec(model_path=path, context_length=context_length, kv_type=kv_type)
    loaded = engine.load(spec, lambda _share: None)
    if engine_name == "mlx":
        _fill_mlx(loaded, context_length)
    else:
        _fill_llamacpp(loaded, context_length)
    print(json.dumps({"peak_bytes": _status("VmHWM"), "rss_bytes": _status("VmRSS")}))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def _token_ids(num_tokens: int) -> list[int]:
    return [5 + index % 200 for index in range(num_tokens)]


def _sequence(engine: LoadedEngine, sequence_id: int, num_tokens: int) -> Sequence:
    sequence = Sequence(sequence_id, _token_ids(num_tokens), num_tokens, 4, SamplingParams(temperature=0))
    engine.insert(sequence)
    return sequence


def _compute(engine: LoadedEngine, sequence: Sequence, end: int) -> None:
    """Compute a sequence's tokens up to `end`, in the engine's own steps."""
    while sequence.num_computed < end:
        num_tokens = min(engine.limits.step_tokens, end - sequence.num_computed)
        result = engine.step(StepPlan((Chunk(sequence, sequence.num_computed, num_tokens),)), lambda: False)
        sequence.num_computed = result.num_computed.get(sequence.sequence_id, sequence.num_computed)


def _fill_llamacpp(engine: LoadedEngine, context_length: int) -> None:
    num_pieces = context_length // PIECE_TOKENS
    first = _sequence(engine, 1, PIECE_TOKENS + 1)
    _compute(engine, first, PIECE_TOKENS)
    assert engine.retire(1) == PIECE_TOKENS
    for sequence_id in range(2, num_pieces + 1):
        _sequence(engine, sequence_id, PIECE_TOKENS)
        assert engine.fork(1, sequence_id, PIECE_TOKENS), "a retired state gets cells of its own"
    _compute(engine, _sequence(engine, 100, PIECE_TOKENS), PIECE_TOKENS)  # all other cells are in use
    for sequence_id in (*range(2, num_pieces + 1), 100):
        engine.retire(sequence_id)


def _fill_mlx(engine: LoadedEngine, context_length: int) -> None:
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache

    from backends.mlx.caches import KeptCache
    from backends.mlx.loaded import LoadedMLX
    from backends.mlx.retired import Retired

    assert isinstance(engine, LoadedMLX)
    num_held = context_length - engine.limits.step_tokens - 1
    layers = make_prompt_cache(engine._model)
    for index, layer in enumerate(layers):
        attention = engine._model.layers[index].self_attn
        shape = (1, attention.n_kv_heads, num_held, attention.k_proj.weight.shape[0] // attention.n_kv_heads)
        layer.keys, layer.values, layer.offset = mx.full(shape, 0.01), mx.full(shape, 0.01), num_held
        mx.eval(layer.keys, layer.values)
    token_ids = _token_ids(num_held)
    engine._retired.put(1, Retired(KeptCache(layers, num_held), token_ids))  # the answer before
    engine._prefill.num_tokens = engine.limits.step_tokens
    sequence = _sequence(engine, 2, context_length - 1)
    assert engine.fork(1, 2, num_held)
    sequence.num_computed = num_held
    _compute(engine, sequence, context_length - 2)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
