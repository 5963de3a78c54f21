"""litellm, unmodified, as a client of the Anthropic API; it lives in an environment of its own."""

import json

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.python_clients import PythonClients


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_litellm_completes_streams_and_calls_tools(
    tooled_gateway: GatewayProcess, python_clients: PythonClients, engine: str
) -> None:
    results = python_clients.results_of("litellm_anthropic_client.py", f"{tooled_gateway.url}/v1", f"tooled@{engine}")
    assert results["whole"] == results["streamed"] != ""
    assert results["usage"] == 12
    assert results["finish"] == ["length", "tool_calls", "tool_calls"]
    ((whole,), (streamed,)) = results["calls"]
    assert whole[0] == streamed[0] == "weather"
    assert json.loads(whole[1]) == json.loads(streamed[1])
    assert set(json.loads(whole[1])) == {"town"}
