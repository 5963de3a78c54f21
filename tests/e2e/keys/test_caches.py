"""What one key's prompts have left in caches is of no use to another key, in memory or in files."""

from typing import Any

import pytest

from tests.support.keyed_server import KeyedServer

TEXT = "a text of which nobody else is to know that it was asked, not even by the time that it takes"


@pytest.fixture(scope="module")
def keys(server: KeyedServer) -> tuple[str, str]:
    for name in ("asks", "guesses"):
        server.key(name, "--scope", "models")
    return "asks", "guesses"


def cached(server: KeyedServer, kind: str, text: str = TEXT, **body: Any) -> int:
    with server.client(kind=kind) as client:
        answer = client.post("/v1/completions", json={"model": "tiny", "prompt": text, "max_tokens": 2, **body})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def act(server: KeyedServer, kind: str, action: str, slot: int, name: str) -> Any:
    with server.client(kind=kind) as client:
        return client.post(f"/slots/{slot}?action={action}", json={"filename": name, "model": "tiny"})


def test_a_prompt_begins_with_its_own_keys_caches_only(server: KeyedServer, keys: tuple[str, str]) -> None:
    asks, guesses = keys
    assert cached(server, asks) == 0
    assert cached(server, guesses) == 0
    assert cached(server, asks) > 0
    assert cached(server, guesses) > 0, "by its own"


def test_places_and_their_files_are_a_keys_own(server: KeyedServer, keys: tuple[str, str]) -> None:
    asks, guesses = keys
    cached(server, asks, f"of a place, {TEXT}", id_slot=3)
    assert act(server, guesses, "save", 3, "stolen").json()["n_saved"] == 0
    assert act(server, guesses, "erase", 3, "unused").json()["n_erased"] == 0
    assert act(server, asks, "save", 3, "mine").json()["n_saved"] > 0
    missing = act(server, guesses, "restore", 2, "mine")
    assert missing.status_code == 400
    assert act(server, asks, "restore", 2, "mine").json()["n_restored"] > 0
