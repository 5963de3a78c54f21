"""Evaluations over HTTP: what lm-eval asks of a server, on both engines, against a direct computation."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.direct_scores import direct_logprobs
from tests.support.gateway_process import GatewayProcess

ENGINES = ("llamacpp", "mlx")
TEXTS = ("The capital of France is Paris.", "2 + 2 = 4", "To be or not to be, that is the question: " * 12)
CLOSE = 1e-4
ROUNDING = 1e-6
"""What llama.cpp's float32 angles of positions cost per token of a text of some 500 tokens, about twice."""


def scored(gateway: GatewayProcess, engine: str, prompts: list[list[int]]) -> list[dict[str, Any]]:
    """Send what lm-eval's `local-completions` sends for log-likelihoods."""
    body = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "seed": 1234, "echo": True}
    answer = gateway.post("/v1/completions", {**body, "model": f"tooled@{engine}", "prompt": prompts})
    assert answer.status_code == 200, answer.text
    choices: list[dict[str, Any]] = answer.json()["choices"]
    return sorted(choices, key=lambda choice: choice["index"])


@pytest.mark.parametrize("engine", ENGINES)
def test_scores_are_those_of_a_direct_computation(
    tooled_gateway: GatewayProcess, tooled: tuple[Path, Path], engine: str
) -> None:
    prompts = [[*text.encode()] for text in TEXTS]
    for prompt, choice in zip(prompts, scored(tooled_gateway, engine, prompts), strict=True):
        told = choice["logprobs"]
        assert len(told["tokens"]) == len(prompt) + 1
        assert told["token_logprobs"][0] is told["top_logprobs"][0] is None
        scores = told["token_logprobs"][1:-1]
        expected = direct_logprobs(tooled[1], prompt)
        assert scores == pytest.approx(expected, abs=CLOSE)
        assert sum(scores) == pytest.approx(sum(expected), abs=max(CLOSE, ROUNDING * len(prompt)))
        for score, top in zip(told["token_logprobs"][1:], told["top_logprobs"][1:], strict=True):
            assert 1 <= len(top) <= 2
            assert score <= max(top.values())


def test_both_engines_say_the_same(tooled_gateway: GatewayProcess) -> None:
    prompts = [[*text.encode()] for text in TEXTS]
    for ours, theirs in zip(*(scored(tooled_gateway, engine, prompts) for engine in ENGINES), strict=True):
        assert ours["text"] == theirs["text"]
        assert ours["logprobs"]["tokens"] == theirs["logprobs"]["tokens"]
        assert ours["logprobs"]["text_offset"] == theirs["logprobs"]["text_offset"]
        assert ours["logprobs"]["token_logprobs"][1:] == pytest.approx(
            theirs["logprobs"]["token_logprobs"][1:], abs=CLOSE
        )
