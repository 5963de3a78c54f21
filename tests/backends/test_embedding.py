import numpy as np
import pytest

from backends.embedding import Pooler, normalised
from backends.errors import EngineError
from backends.wire.request import Pooling

STATES = np.array([[3, 0], [0, 4], [1, 1], [-2, 5]], np.float32)


def pooled(pooling: Pooling, *pieces: np.ndarray) -> np.ndarray:
    pooler = Pooler(pooling)
    for piece in pieces:
        pooler.add(piece)
    return np.frombuffer(pooler.vector(), "<f4")


@pytest.mark.parametrize(
    ("pooling", "direction"), [(Pooling.MEAN, [0.5, 2.5]), (Pooling.CLS, [3, 0]), (Pooling.LAST, [-2, 5])]
)
def test_pools_to_length_one_whatever_the_pieces(pooling: Pooling, direction: list[float]) -> None:
    expected = np.array(direction) / np.linalg.norm(direction)
    for cut in range(1, len(STATES)):
        assert pooled(pooling, STATES[:cut], STATES[cut:]) == pytest.approx(expected, abs=1e-6)
    assert pooled(pooling, STATES) == pytest.approx(expected, abs=1e-6)


def test_what_is_kept_is_a_copy() -> None:
    states = STATES.copy()
    pooler = Pooler(Pooling.LAST)
    pooler.add(states)
    states[:] = 7
    assert np.frombuffer(pooler.vector(), "<f4") == pytest.approx(np.array([-2, 5]) / 29**0.5, abs=1e-6)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_a_vector_without_a_direction_is_an_error(value: float) -> None:
    with pytest.raises(EngineError, match="direction"):
        normalised(np.full(4, value, np.float32))


def test_huge_and_tiny_vectors_have_a_direction() -> None:
    for scale in (1e30, 1e-30):
        vector = np.frombuffer(normalised(np.array([scale, scale], np.float32)), "<f4")
        assert vector == pytest.approx([0.5**0.5] * 2, abs=1e-6)
