"""OpenAI's npm client and the AI SDK's provider for compatible servers, unmodified; skipped where Node is not."""

from pathlib import Path

import pytest

from tests.support import npm
from tests.support.gateway_process import GatewayProcess

SCRIPT = Path(__file__).parent / "clients" / "openai_client.mjs"
BODY = {"messages": [{"role": "user", "content": "Name a colour."}], "temperature": 0, "max_tokens": 8}


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_the_npm_client_and_the_ai_sdk(tooled_gateway: GatewayProcess, node_folder: Path, engine: str) -> None:
    model = f"tooled@{engine}"
    answer = tooled_gateway.post("/v1/chat/completions", BODY | {"model": model}).json()
    expected = answer["choices"][0]["message"]["content"]
    results = npm.results_of(node_folder, SCRIPT, tooled_gateway.url, model)
    assert results["whole"] == results["streamed"] == results["final"] == expected
    assert results["sdkWhole"] == results["sdkStreamed"] == expected
    assert results["usage"] == results["sdkUsage"] == 8
    assert sorted(results["listed"]) == ["tiny", "tooled"]
    assert (results["numVectors"], results["numEmbedded"]) == (2, 2)
    assert results["refused"] == [400, "verbosity"]
    assert results["formed"]["a"] in {1, 2}
    assert len(results["calls"]) >= 2
    assert all(call == ["weather", ["town"]] for call in results["calls"])
