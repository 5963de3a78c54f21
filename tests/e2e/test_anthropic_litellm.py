"""litellm, unmodified, as a client of the Anthropic API; it lives in an environment of its own."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_litellm_completes_streams_and_calls_tools(tooled_gateway: GatewayProcess, engine: str) -> None:
    assert PYTHON.exists(), "`scripts/setup --dev` makes .venv-clients"
    script = ROOT / "tests" / "e2e" / "clients" / "litellm_anthropic_client.py"
    argv: list[str | Path] = [PYTHON, "-P", script, f"{tooled_gateway.url}/v1", f"tooled@{engine}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout.splitlines()[-1])
    assert results["whole"] == results["streamed"] != ""
    assert results["usage"] == 12
    assert results["finish"] == ["length", "tool_calls", "tool_calls"]
    ((whole,), (streamed,)) = results["calls"]
    assert whole[0] == streamed[0] == "weather"
    assert json.loads(whole[1]) == json.loads(streamed[1])
    assert set(json.loads(whole[1])) == {"town"}
