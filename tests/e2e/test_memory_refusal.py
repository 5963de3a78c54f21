"""A load that cannot fit is refused with its numbers, and whoever is loaded stays loaded."""

from collections.abc import Callable

import psutil
import pytest

from tests.support.gateway_process import GatewayProcess

StartGateway = Callable[..., GatewayProcess]
CHAT = {"messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 4}
CELLS = 100_000_000
CELL_BYTES = 2 * 2 * 2 * 16 * 4
"""Layers, keys and values, heads, their width, bytes of a float32: the tiny model's."""


@pytest.mark.skipif(psutil.virtual_memory().total > CELLS * CELL_BYTES, reason="this machine has the memory")
def test_a_load_that_cannot_fit_is_refused_before_anything_is_unloaded(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"llamacpp": {"kv_cells": CELLS}})
    assert gateway.post("/v1/chat/completions", CHAT | {"model": "tiny@mlx"}).status_code == 200
    (before,) = gateway.status()["workers"]
    refused = gateway.post("/v1/chat/completions", CHAT | {"model": "tiny@llamacpp"})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (503, "insufficient_memory")
    assert error["needed_bytes"] > CELLS * CELL_BYTES > error["available_bytes"] > 0
    assert "tiny" in error["message"]
    (after,) = gateway.status()["workers"]
    assert (after["pid"], after["state"]) == (before["pid"], before["state"])
    assert gateway.post("/v1/chat/completions", CHAT | {"model": "tiny@mlx"}).status_code == 200
