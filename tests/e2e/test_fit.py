"""The estimate of memory against what engines really take, on the bundled model in both forms."""

import functools
import sys
from pathlib import Path
from typing import Final

import pytest

from registry.settings import KVType
from router.config.paths import paths_from_env
from tests.support.memory_table import compare

pytestmark = [
    pytest.mark.long,
    pytest.mark.real_model,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; Metal's memory is not a process's own"),
]

TOLERANCE = 0.1
ENDS = [2048, 8192]
"""Context lengths: what a load takes is a line over them, which two of its points prove."""
QUANTIZED: Final[KVType] = "q4_0"

compared = functools.cache(compare)
"""A process with a filled cache takes seconds: each is asked for once."""


@pytest.fixture
def setup_mlx() -> Path:
    """The folder that `make setup` converts, in the data folder of the user who runs the tests."""
    import os

    folder = paths_from_env(os.environ).models_dir / "smollm2-135m-instruct-mlx-4bit"
    if not folder.exists():
        pytest.skip("the bundled model was not converted for MLX here; `make setup` does it")
    return folder


@pytest.mark.parametrize("context_length", ENDS)
def test_the_estimate_for_llamacpp_is_within_ten_percent(bundled_gguf: Path, context_length: int) -> None:
    comparison = compared(bundled_gguf, context_length)
    assert abs(comparison.deviation) <= TOLERANCE, comparison


def test_the_estimate_for_a_quantized_cache_is_within_ten_percent_and_it_takes_less(bundled_gguf: Path) -> None:
    """The smaller of the two: what its blocks take by themselves is where an estimate would be off most."""
    comparison = compared(bundled_gguf, ENDS[-1], QUANTIZED)
    assert abs(comparison.deviation) <= TOLERANCE, comparison
    assert comparison.measured_bytes < 0.8 * compared(bundled_gguf, ENDS[-1]).measured_bytes


@pytest.mark.parametrize("context_length", ENDS)
def test_the_estimate_for_mlx_is_within_ten_percent(setup_mlx: Path, context_length: int) -> None:
    comparison = compared(setup_mlx, context_length)
    assert abs(comparison.deviation) <= TOLERANCE, comparison
