"""The unmodified Anthropic client of npm against a real server; skipped where Node is not."""

from pathlib import Path

import pytest

from tests.support import npm
from tests.support.gateway_process import GatewayProcess

SCRIPT = Path(__file__).parent / "clients" / "anthropic_client.mjs"


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_the_npm_client_creates_streams_calls_counts_and_lists(
    tooled_gateway: GatewayProcess, node_folder: Path, engine: str
) -> None:
    results = npm.results_of(node_folder, SCRIPT, tooled_gateway.url, f"tooled@{engine}")
    assert results["whole"] == results["streamed"] == results["final"] != ""
    assert results["stops"] == ["max_tokens", "max_tokens", "tool_use", "tool_use"]
    whole, streamed = results["calls"]
    assert whole == streamed
    assert (whole[0], set(whole[1])) == ("weather", {"town"})
    assert results["prompt"] == results["counted"]
    assert sorted(results["models"]) == ["tiny", "tooled"]
    assert results["failure"] == ["NotFoundError", 404, "not_found_error"]
