"""Client libraries that want other versions of our dependencies, unmodified, in an environment of their own."""

import json

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.python_clients import PythonClients

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])


@ENGINES
def test_instructor_gets_its_models_by_tools_and_by_schema(
    tooled_gateway: GatewayProcess, python_clients: PythonClients, engine: str
) -> None:
    results = python_clients.results_of("instructor_client.py", f"{tooled_gateway.url}/v1", f"tooled@{engine}")
    assert len(results) == 3
    for animal in results.values():
        assert animal["kind"] in {"fox", "bear"}
        assert 0 <= animal["legs"] <= 99
        assert len(animal["name"]) <= 6


@ENGINES
def test_litellm_completes_streams_calls_tools_and_embeds(
    tooled_gateway: GatewayProcess, python_clients: PythonClients, engine: str
) -> None:
    results = python_clients.results_of("litellm_client.py", f"{tooled_gateway.url}/v1", f"tooled@{engine}")
    assert results["whole"] == results["streamed"]
    assert results["usage"] == 12
    assert results["finish"] == ["length", "tool_calls", "tool_calls"]
    ((whole,), (streamed,)) = results["calls"]
    assert whole == streamed
    assert whole[0] == "weather"
    assert set(json.loads(whole[1])) == {"town"}
    assert results["num_vectors"] == 2
