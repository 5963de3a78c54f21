"""What a load was estimated to take beside what it took: for the test and for the bench."""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from backends.wire.load import LoadSpec
from registry.facts import ModelFacts
from registry.gguf.facts import facts_from_headers
from registry.gguf.header import read_header
from registry.mlx.folder import read_mlx_dir
from registry.settings import KVType
from router.placement.memory import this_machine
from router.placement.memory_need import MemoryNeed, memory_need

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 280


class Comparison(NamedTuple):
    need: MemoryNeed
    measured_bytes: int

    @property
    def deviation(self) -> float:
        """How far the estimate is off, as a share of what was measured."""
        return (self.need.total_bytes + self.need.cold_bytes) / self.measured_bytes - 1


def facts_of(path: Path) -> ModelFacts:
    return read_mlx_dir(path) if path.is_dir() else facts_from_headers([read_header(path)])


def compare(path: Path, context_length: int, kv_type: KVType | None = None) -> Comparison:
    settings = LoadSpec(model_path="", context_length=context_length, kv_type=kv_type)
    need = memory_need(facts_of(path), settings, this_machine())
    argv = [sys.executable, "-m", "tests.support.memory_probe", need.engine, str(path), str(context_length)]
    argv += [] if kv_type is None else [kv_type]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return Comparison(need, json.loads(done.stdout.splitlines()[-1])["peak_bytes"])
