"""Caches of places in the batch, in files: saved, restored, erased."""

from typing import Any

import pytest

from tests.support.fake_openai import FakeFront, with_front

PROMPT = {"model": "m", "prompt": "tell me everything about foxes", "n_predict": 8, "temperature": 0}
NUM_HELD = 30 + 7  # all tokens but the last, which nobody has evaluated


async def act(front: FakeFront, slot: object, action: str, status: int = 200, **body: Any) -> Any:
    response = await front.client.post(f"/slots/{slot}?action={action}", json=body)
    assert response.status_code == status, response.text
    return response.json()


async def complete(front: FakeFront, **fields: Any) -> Any:
    return (await front.client.post("/completion", json=PROMPT | fields)).json()


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
@with_front()
async def test_a_saved_cache_serves_after_a_restart_of_the_model(front: FakeFront, engine: str) -> None:
    model = f"m@{engine}"
    first = await complete(front, model=model, id_slot=2)
    assert first["id_slot"] == 2
    saved = await act(front, 2, "save", filename="foxes.bin", model=model)
    assert (saved["id_slot"], saved["filename"], saved["n_saved"]) == (2, "foxes.bin", NUM_HELD)
    assert saved["n_written"] > 0
    assert saved["timings"]["save_ms"] >= 0
    await front.fleet.supervisor.stop_model("m")
    restored = await act(front, 0, "restore", filename="foxes.bin", model=model)
    assert (restored["n_restored"], restored["n_read"]) == (NUM_HELD, saved["n_written"])
    again = await complete(front, model=model, id_slot=0)
    assert again["content"] == first["content"]
    assert again["timings"]["cache_n"] == first["tokens_evaluated"] - 1


@with_front()
async def test_an_openai_request_names_its_place_too(front: FakeFront) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "id_slot": 3}
    assert (await front.client.post("/v1/chat/completions", json=body)).status_code == 200
    assert (await act(front, 3, "save", filename="chat", model="m"))["n_saved"] > 0
    assert (await act(front, 0, "save", filename="none", model="m"))["n_saved"] == 0


@with_front()
async def test_an_erased_cache_serves_nobody(front: FakeFront) -> None:
    first = await complete(front, id_slot=1)
    assert await act(front, 1, "erase", model="m") == {"id_slot": 1, "n_erased": NUM_HELD}
    assert await act(front, 1, "erase", model="m") == {"id_slot": 1, "n_erased": 0}
    assert (await complete(front))["timings"]["cache_n"] == first["timings"]["cache_n"] == 0


@with_front()
async def test_a_place_that_nobody_had_has_nothing_to_save(front: FakeFront) -> None:
    await complete(front)
    saved = await act(front, 3, "save", filename="none", model="m")
    assert (saved["n_saved"], saved["n_written"]) == (0, 0)
    error = (await act(front, 3, "restore", 400, filename="none", model="m"))["error"]
    assert (error["param"], "no saved cache of that name" in error["message"]) == ("filename", True)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "", ".", "..", ".hidden", "x" * 200, "a\0b", "a\nb"])
@with_front()
async def test_only_plain_names_are_files(front: FakeFront, name: str) -> None:
    for action in ("save", "restore"):
        assert (await act(front, 0, action, 400, filename=name, model="m"))["error"]["param"] == "filename"


@pytest.mark.parametrize(
    ("slot", "action", "body", "param"),
    [
        (0, "save", {"model": "m"}, "filename"),
        (0, "restore", {"model": "m"}, "filename"),
        (0, "dance", {"model": "m"}, "action"),
        (0, "", {"model": "m"}, "action"),
        (-1, "erase", {"model": "m"}, "id_slot"),
        (10**9, "erase", {"model": "m"}, "id_slot"),
    ],
)
@with_front()
async def test_what_is_wrong_is_named(
    front: FakeFront, slot: int, action: str, body: dict[str, Any], param: str
) -> None:
    assert (await act(front, slot, action, 400, **body))["error"]["param"] == param


@with_front()
async def test_another_models_file_is_not_found(front: FakeFront) -> None:
    await complete(front)
    await act(front, 0, "save", filename="foxes", model="m")
    await act(front, 0, "restore", 400, filename="foxes", model="only-gguf")
