"""Many connections at once, in small; tests/bench/bench_connections.py has 2,000 and 500."""

from pathlib import Path

import pytest

from tests.bench.bench_connections import Load, allow_files, measure


@pytest.mark.slow
def test_idle_connections_and_streams_side_by_side_all_come_to_their_end(tmp_path: Path) -> None:
    load = Load(num_idle=300, num_streams=60, seconds=2, tokens_per_s=10)
    allow_files(1000)
    seen = measure(load, tmp_path)
    assert seen.errors == []
    assert seen.num_tokens == 60 * load.num_tokens
