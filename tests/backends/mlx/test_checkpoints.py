"""What mlx's checkpoints take: no more than they say, whatever the batch was that they come from."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, KVCache, RotatingKVCache

from backends.mlx.checkpoints import copy_of, cutting_of
from backends.mlx.inputs import cut_at

MANY = 1 << 20


def test_a_state_is_not_the_whole_batchs() -> None:
    batch = ArraysCache(1)
    batch[0] = mx.zeros((8, MANY))
    mx.eval(batch[0])
    before = mx.get_active_memory()
    state = copy_of([batch.extract(3), KVCache()], 5)
    assert state.num_bytes == 4 * MANY
    assert list(state.layers) == [0]
    del batch
    assert mx.get_active_memory() - before == 4 * MANY - 8 * 4 * MANY


@pytest.mark.parametrize("num_tokens", [5, 16, 40])
def test_a_window_is_no_longer_than_it_is(num_tokens: int) -> None:
    layer = RotatingKVCache(16)
    keys = mx.arange(num_tokens, dtype=mx.float32).reshape(1, 1, num_tokens, 1)
    layer.update_and_fetch(mx.concatenate([keys] * 2, axis=3), keys)
    state = copy_of([layer], num_tokens).layers[0]
    num_kept = min(16, num_tokens)
    assert state.keys.shape == (1, 1, num_kept, 2)
    assert state.values.flatten().tolist() == list(range(num_tokens))[-num_kept:]
    assert state.offset == num_tokens
    assert layer.keys.shape[2] == num_tokens, "that one stays as it was"


def test_what_can_be_cut_is_seen_by_the_layers() -> None:
    assert cutting_of([KVCache(), KVCache()]) == (True, None)
    assert cutting_of([KVCache(), RotatingKVCache(64), RotatingKVCache(32)]) == (False, 31)
    assert cutting_of([KVCache(), ArraysCache(2)]) == (False, 0)
    assert cutting_of([RotatingKVCache(64), ArraysCache(2)]) == (False, 0)


def test_segments_end_at_places() -> None:
    segments = [[1, 2, 3], [4, 5, 6, 7]]
    assert cut_at(segments, 10, ()) == segments
    assert cut_at(segments, 10, (3, 10, 11, 13, 15, 17, 99)) == [[1], [2, 3], [4, 5], [6, 7]]
