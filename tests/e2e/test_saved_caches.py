"""Conversations that survive a swap of the engine: `cache.persist`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess

WORDS = "the quick brown fox jumps over the lazy dog and then it sleeps for a while in the warm sun beside the river"
MODEL = "tiny"


def complete(gateway: GatewayProcess, engine: str, prompt: str) -> Any:
    body = {"model": f"{MODEL}@{engine}", "prompt": prompt, "max_tokens": 8, "temperature": 0}
    answer = gateway.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def cached(answer: Any) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_a_conversation_goes_on_from_its_saved_cache_after_two_swaps(
    tmp_path: Path, make_home: Callable[[Path], Path], engine: str
) -> None:
    other = "mlx" if engine == "llamacpp" else "llamacpp"
    home = make_home(tmp_path / "home")
    gateway = GatewayProcess(home, config={"cache": {"persist": True}})
    try:
        first = complete(gateway, engine, WORDS)
        longer = WORDS + first["choices"][0]["text"] + " and so on"
        num_known = first["usage"]["prompt_tokens"] - 1
        expected = complete(gateway, engine, longer)
        assert cached(expected) >= num_known
        complete(gateway, other, "something else")
        again = complete(gateway, engine, longer)
        assert cached(again) >= num_known
        assert again["choices"][0]["text"] == expected["choices"][0]["text"]
    finally:
        assert gateway.stop() == 0
    folders = list((home / "data" / "caches").iterdir())
    assert folders
    assert all(folder.stat().st_mode & 0o077 == 0 for folder in folders), "conversations are nobody else's business"


def test_nothing_is_saved_unless_asked_for(tmp_path: Path, make_home: Callable[[Path], Path]) -> None:
    home = make_home(tmp_path / "home")
    gateway = GatewayProcess(home)
    try:
        complete(gateway, "llamacpp", WORDS)
        complete(gateway, "mlx", "something else")
        assert cached(complete(gateway, "llamacpp", WORDS)) == 0
    finally:
        assert gateway.stop() == 0
    assert not (home / "data" / "caches").exists()
