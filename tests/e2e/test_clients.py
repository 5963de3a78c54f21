"""Client libraries that want other versions of our dependencies, unmodified, in an environment of their own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])


def run_client(script: str, gateway: GatewayProcess, engine: str) -> Any:
    assert PYTHON.exists(), "`scripts/setup --dev` makes .venv-clients"
    argv: list[str | Path] = [
        PYTHON,
        "-P",
        ROOT / "tests" / "e2e" / "clients" / script,
        f"{gateway.url}/v1",
        f"tooled@{engine}",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@ENGINES
def test_instructor_gets_its_models_by_tools_and_by_schema(tooled_gateway: GatewayProcess, engine: str) -> None:
    results = run_client("instructor_client.py", tooled_gateway, engine)
    assert len(results) == 3
    for animal in results.values():
        assert animal["kind"] in {"fox", "bear"}
        assert 0 <= animal["legs"] <= 99
        assert len(animal["name"]) <= 6


@ENGINES
def test_litellm_completes_streams_calls_tools_and_embeds(tooled_gateway: GatewayProcess, engine: str) -> None:
    results = run_client("litellm_client.py", tooled_gateway, engine)
    assert results["whole"] == results["streamed"]
    assert results["usage"] == 12
    assert results["finish"] == ["length", "tool_calls", "tool_calls"]
    ((whole,), (streamed,)) = results["calls"]
    assert whole == streamed
    assert whole[0] == "weather"
    assert set(json.loads(whole[1])) == {"town"}
    assert results["num_vectors"] == 2
