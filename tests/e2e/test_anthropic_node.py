"""The unmodified Anthropic client of npm against a real server; skipped where Node is not."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess

SCRIPT = Path(__file__).parent / "clients" / "anthropic_client.mjs"
PACKAGE = "@anthropic-ai/sdk@1"


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not there")
    folder = tmp_path_factory.mktemp("anthropic-node")
    argv = ["npm", "install", "--no-audit", "--no-fund", "--silent", PACKAGE]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not install {PACKAGE} here in time")
    if done.returncode:
        pytest.skip(f"npm cannot install {PACKAGE} here: {done.stderr[-200:]}")
    return folder


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_the_npm_client_creates_streams_calls_counts_and_lists(
    tooled_gateway: GatewayProcess, node_folder: Path, engine: str
) -> None:
    script = shutil.copy(SCRIPT, node_folder)
    argv = ["node", script, tooled_gateway.url, f"tooled@{engine}"]
    done = subprocess.run(argv, cwd=node_folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    results = json.loads(done.stdout)
    assert results["whole"] == results["streamed"] == results["final"] != ""
    assert results["stops"] == ["max_tokens", "max_tokens", "tool_use", "tool_use"]
    whole, streamed = results["calls"]
    assert whole == streamed
    assert (whole[0], set(whole[1])) == ("weather", {"town"})
    assert results["prompt"] == results["counted"]
    assert sorted(results["models"]) == ["tiny", "tooled"]
    assert results["failure"] == ["NotFoundError", 404, "not_found_error"]
