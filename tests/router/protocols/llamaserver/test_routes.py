import asyncio
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

REFUSED: list[tuple[str, Any, str | None]] = [
    ("/tokenize", {}, "content"),
    ("/tokenize", {"content": 5}, "content"),
    ("/tokenize", {"content": ["a"]}, "content"),
    ("/tokenize", {"content": "a", "add_special": "yes"}, "add_special"),
    ("/tokenize", {"content": "a", "model": ""}, "model"),
    ("/tokenize", b'{"content": "\\ud800", "model": "m"}', None),
    ("/tokenize", b'{"content": "\xff", "model": "m"}', None),
    ("/detokenize", {}, "tokens"),
    ("/detokenize", {"tokens": "a"}, "tokens"),
    ("/detokenize", {"tokens": [-1]}, "tokens[0]"),
    ("/detokenize", {"tokens": [1.5]}, "tokens[0]"),
    ("/detokenize", {"tokens": [2**31]}, "tokens[0]"),
    ("/detokenize", {"tokens": [10**8], "model": "m"}, "tokens"),
    ("/detokenize", {"tokens": [258], "model": "m"}, "tokens"),
    ("/detokenize", {"tokens": [1] * 262_145}, "tokens"),
    ("/apply-template", {"model": "m"}, "messages"),
    ("/apply-template", {"model": "m", "messages": []}, "messages"),
    ("/apply-template", {"model": "m", "messages": [{"role": "king"}]}, "messages[0].role"),
    ("/v1/chat/completions/input_tokens", {"model": "m", "messages": "hi"}, "messages"),
]
HI = [{"role": "user", "content": "hi"}]
HI_TEXT = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


async def post(front: FakeFront, path: str, body: dict[str, Any]) -> Any:
    response = await front.client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


async def refused(front: FakeFront, path: str, body: Any, status: int = 400) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    response = await front.client.post(path, content=content)
    assert response.status_code == status, response.text
    error: dict[str, Any] = response.json()["error"]
    return error


@with_front()
async def test_a_text_becomes_tokens_and_tokens_a_text(front: FakeFront) -> None:
    tokens = (await post(front, "/tokenize", {"model": "m", "content": "hé"}))["tokens"]
    assert tokens == list("hé".encode())
    assert await post(front, "/detokenize", {"model": "m", "tokens": tokens}) == {"content": "hé"}
    assert await post(front, "/tokenize", {"model": "m", "content": ""}) == {"tokens": []}
    assert await post(front, "/detokenize", {"model": "m", "tokens": []}) == {"content": ""}


@with_front()
async def test_pieces_are_texts_or_bytes(front: FakeFront) -> None:
    body = {"model": "m", "content": "é<|im_end|>a", "with_pieces": True}
    assert (await post(front, "/tokenize", body))["tokens"] == [
        {"id": 0xC3, "piece": [0xC3]},
        {"id": 0xA9, "piece": [0xA9]},
        {"id": 257, "piece": "<|im_end|>"},
        {"id": ord("a"), "piece": "a"},
    ]


@with_front()
async def test_control_tokens_are_text_where_they_are_not_to_be_parsed(front: FakeFront) -> None:
    body = {"model": "m", "content": "<|im_end|>", "parse_special": False}
    assert (await post(front, "/tokenize", body))["tokens"] == list(b"<|im_end|>")
    assert (await post(front, "/tokenize", body | {"parse_special": True}))["tokens"] == [257]


@with_front()
async def test_nul_is_a_character_like_any_other(front: FakeFront) -> None:
    assert (await post(front, "/tokenize", {"model": "m", "content": "a\0b"}))["tokens"] == [97, 0, 98]


@with_front()
async def test_a_template_is_applied_and_a_chat_counted(front: FakeFront) -> None:
    assert await post(front, "/apply-template", {"model": "m", "messages": HI}) == {"prompt": HI_TEXT}
    count = await post(front, "/v1/chat/completions/input_tokens", {"model": "m", "messages": HI})
    assert count["object"] == "response.input_tokens"
    answer = await front.chat(messages=HI)
    assert count["input_tokens"] == answer.json()["usage"]["prompt_tokens"]


@with_front()
async def test_the_only_loaded_model_need_not_be_named(front: FakeFront) -> None:
    error = await refused(front, "/tokenize", {"content": "x"})
    assert (error["param"], error["code"]) == ("model", "missing_required_parameter")
    await front.chat(model="m@mlx")
    assert await post(front, "/tokenize", {"content": "x"}) == {"tokens": [120]}
    assert await post(front, "/apply-template", {"messages": HI}) == {"prompt": HI_TEXT}
    assert (await front.client.get("/props")).json()["model_alias"] == "m"
    assert front.fleet.num_launches == {"mlx": 1, "llamacpp": 0}, "a look at a model does not move it"


@with_front()
async def test_what_is_wrong_is_refused_by_name(front: FakeFront) -> None:
    for path, body, param in REFUSED:
        assert (await refused(front, path, body))["param"] == param, (path, body)


@pytest.mark.parametrize(
    ("path", "body", "code", "param"),
    [
        ("/tokenize", {"content": "a" * 4_000_000}, "invalid_request", "content"),
        ("/apply-template", {"messages": [{"role": "user", "content": "a" * 4_000_000}]}, None, None),
        (
            "/v1/chat/completions/input_tokens",
            {"messages": [{"role": "user", "content": "a" * 4_000_000}]},
            "context_length_exceeded",
            "messages",
        ),
    ],
)
@with_front()
async def test_megabytes_are_answered_without_being_tokenized(
    front: FakeFront, path: str, body: Any, code: str | None, param: str | None
) -> None:
    await front.chat()
    response = await front.client.post(path, json={"model": "m"} | body)
    if code is None:
        assert response.status_code == 200
    else:
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["param"]) == (400, code, param)
    assert (await front.chat()).status_code == 200


@with_front()
async def test_an_unknown_model_is_not_found(front: FakeFront) -> None:
    assert (await refused(front, "/tokenize", {"model": "nobody", "content": "x"}, 404))["code"] == "model_not_found"
    assert (await front.client.get("/props", params={"model": "nobody"})).status_code == 404
    assert (await front.client.get("/slots", params={"model": "nobody"})).status_code == 404


@with_front(llamacpp=FakeOptions(decode_s=0.02))
async def test_a_question_is_answered_while_every_place_is_taken(front: FakeFront) -> None:
    num_places = front.services.serving.config.generation.parallel
    running = [asyncio.create_task(front.complete(max_tokens=None)) for _ in range(num_places)]
    await front.fleet.until(lambda: len(_progress(front)) == num_places, "all run")
    assert await post(front, "/tokenize", {"model": "m", "content": "x"}) == {"tokens": [120]}
    assert not any(task.done() for task in running)
    slots = (await front.client.get("/slots", params={"model": "m"})).json()
    assert [slot["is_processing"] for slot in slots] == [True] * num_places
    response = await front.client.get("/slots", params={"model": "m", "fail_on_no_slot": "1"})
    assert (response.status_code, response.json()["error"]["type"]) == (503, "unavailable_error")
    for task in running:
        task.cancel()
    await front.fleet.until(lambda: not _progress(front), "all are gone")
    assert (await front.client.get("/slots", params={"fail_on_no_slot": "1"})).status_code == 200


@with_front()
async def test_slots_tell_what_is_known_of_running_sequences(front: FakeFront) -> None:
    assert (await front.client.get("/slots")).json() == [], "nothing is loaded"
    front.fleet.hold("token-3")
    running = asyncio.create_task(front.complete(prompt="once", max_tokens=300))
    await front.fleet.until(lambda: any(each.num_output_tokens == 3 for each in _progress(front)), "it decodes")
    busy, *idle = (await front.client.get("/slots")).json()
    assert busy["next_token"] == [{"has_next_token": True, "n_remain": 297, "n_decoded": 3}]
    assert (busy["id"], busy["is_processing"], busy["n_prompt_tokens"], busy["n_prompt_tokens_processed"]) == (
        0,
        True,
        4,
        4,
    )
    assert all(slot == {"id": slot["id"], "n_ctx": 8192, "speculative": False, "is_processing": False} for slot in idle)
    assert len(idle) == front.services.serving.config.generation.parallel - 1
    running.cancel()


@with_front()
async def test_properties_describe_the_model_and_the_defaults(front: FakeFront) -> None:
    response = await front.client.get("/props", params={"model": "m", "autoload": "false"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "autoload")
    props = (await front.client.get("/props", params={"model": "m"})).json()
    assert props["default_generation_settings"]["n_ctx"] == 8192
    assert props["default_generation_settings"]["params"]["temperature"] == 1.0
    assert props["total_slots"] == front.services.serving.config.generation.parallel
    assert (props["model_alias"], props["model_path"]) == ("m", "/m/a.gguf")
    assert "add_generation_prompt" in props["chat_template"]
    assert (props["bos_token"], props["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert props["modalities"] == {"vision": False, "video": False, "audio": False}
    assert props["is_sleeping"] is False
    again = await front.client.get("/props", params={"model": "m", "autoload": "false"})
    assert again.json() == props, "it is loaded now"


@with_front(llamacpp=[FakeOptions(), FakeOptions()])
async def test_a_question_survives_the_death_of_its_worker(front: FakeFront) -> None:
    await front.chat()
    front.fleet.holder.client.kill()  # type: ignore[union-attr]
    assert await post(front, "/tokenize", {"model": "m", "content": "x"}) == {"tokens": [120]}


def _progress(front: FakeFront) -> list[Any]:
    holder = front.fleet.holder
    return [] if holder is None or holder.client is None else list(holder.client.progress.values())
