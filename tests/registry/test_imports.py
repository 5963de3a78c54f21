import subprocess
import sys
from pathlib import Path

from tests.support.waiting import WITHIN_S

PROJECT = Path(__file__).parents[2]

CODE = """
import sys
import registry.store, registry.scan, registry.removing.removal, registry.gguf
heavy = {"numpy", "gguf", "mlx", "llama_cpp", "mlx_lm", "asyncio", "litestar", "httpx", "backends", "router"}
print(sorted(heavy & set(sys.modules)))
"""


def test_importing_the_registry_brings_nothing_heavy_and_nothing_from_above() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, cwd=PROJECT, check=True, timeout=WITHIN_S
    )
    assert done.stdout.strip() == "[]"
