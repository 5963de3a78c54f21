"""Clients made for Ollama, unmodified, against both engines: nothing tells them that this is another server."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import npm
from tests.support.gateway_process import GatewayProcess
from tests.support.python_clients import PYTHON, SCRIPTS, PythonClients
from tests.support.waiting import WITHIN_S

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
OPENAI_BODY = {"messages": [{"role": "user", "content": "Name a colour."}], "temperature": 0, "max_tokens": 8}


def openais_text(gateway: GatewayProcess, model: str, **more: Any) -> str:
    answer = gateway.post("/v1/chat/completions", {**OPENAI_BODY, **more, "model": model}).json()
    return str(answer["choices"][0]["message"]["content"])


@ENGINES
def test_ollamas_own_client(tooled_gateway: GatewayProcess, python_clients: PythonClients, engine: str) -> None:
    model = f"tooled@{engine}"
    expected = openais_text(tooled_gateway, model)
    results = python_clients.results_of("ollama_client.py", tooled_gateway.url, model)
    for name in ("chat", "streamed", "text", "text_streamed"):
        assert results[name] == expected, name
    assert results["done_reasons"] == ["length", "length", "load", "unload"]
    assert results["counts"] == [8, 8, True]
    assert results["thinking"]
    assert results["formed"]["a"] in {1, 2}
    assert results["logprobs"] == [8, 2]
    assert results["called"]
    assert results["answered"]
    assert set(results["listed"]) == {"tooled:latest", "tiny:latest"}
    assert results["running"] == [["tooled:latest", 8192, 0]]
    assert results["capabilities"] == ["completion", "tools", "thinking"]
    assert results["context_length"] == 8192
    assert results["num_vectors"] == 2
    assert results["is_same_vector"]
    assert results["left"] == []
    assert results["error"] == [404, "model 'nope' not found"]


@ENGINES
def test_langchain_and_llama_index(tooled_gateway: GatewayProcess, python_clients: PythonClients, engine: str) -> None:
    model = f"tooled@{engine}"
    expected = openais_text(tooled_gateway, model)
    results = python_clients.results_of("ollama_frameworks.py", tooled_gateway.url, model)
    langchain, llama_index = results["langchain"], results["llama_index"]
    assert langchain["whole"] == langchain["streamed"] == langchain["text"] == expected
    assert (langchain["usage"], langchain["done_reason"], langchain["num_vectors"]) == (8, "length", 2)
    assert langchain["answered"]
    assert llama_index["whole"] == llama_index["streamed"] == llama_index["completed"] == expected
    assert llama_index["context_window"] == 8192


def test_llm_with_its_plugin(tooled_gateway: GatewayProcess, tmp_path: Path) -> None:
    """It finds the models by itself, and asks each for what it can."""
    expected = openais_text(tooled_gateway, "tooled@llamacpp")
    environment = {**os.environ, "OLLAMA_HOST": tooled_gateway.url, "LLM_USER_PATH": str(tmp_path)}

    def llm(*arguments: str) -> str:
        argv: list[str | Path] = [PYTHON.parent / "llm", *arguments]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        return str(done.stdout)

    assert "ollama/tooled:latest" in llm("models")
    options = ("-o", "temperature", "0", "-o", "num_predict", "8", "--no-log")
    for more in ((), ("--no-stream",)):
        assert llm("-m", "ollama/tooled:latest", *options, *more, "Name a colour.").rstrip("\n") == expected.rstrip(
            "\n"
        )


@ENGINES
def test_the_npm_client_and_the_ai_sdk(tooled_gateway: GatewayProcess, node_folder: Path, engine: str) -> None:
    model = f"tooled@{engine}"
    expected = openais_text(tooled_gateway, model)
    results = npm.results_of(node_folder, SCRIPTS / "ollama_client.mjs", tooled_gateway.url, model)
    assert results["chat"] == results["streamed"] == results["text"] == expected
    # The provider sends `think: false` with every request.
    silent = openais_text(tooled_gateway, model, enable_thinking=False)
    assert results["whole"] == results["sdkStreamed"] == silent
    assert results["usage"] == 8
    assert results["hasTemplate"]
    assert results["formed"]["a"] in {1, 2}
    assert results["calls"]
    assert all(call == ["weather", ["town"]] for call in results["calls"])
    assert (results["numVectors"], results["numEmbedded"]) == (2, 2)
    assert set(results["listed"]) == {"tooled:latest", "tiny:latest"}
    assert results["running"] == ["tooled:latest"]
    assert results["refused"] == [404, "model 'nope' not found"]
