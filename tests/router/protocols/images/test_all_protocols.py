"""A picture by each protocol, over the fake engine: what is shown, what the answer says of it, how it is counted."""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect

from backends.fake.engine import FakeOptions
from router.config.images import ImagesConfig
from tests.support.batch_client import begun, content, ended, results
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, as_base64, chat_part, data_uri, photo
from tests.support.waiting import WITHIN_S, until

PHOTO = photo()
TEXT = {"type": "text", "text": "What is it?"}
CHAT = {"messages": [{"role": "user", "content": [TEXT, chat_part(PHOTO)]}], "max_tokens": 4}
RESPONSE = {
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": data_uri(PHOTO)},
            ],
        }
    ],
    "max_output_tokens": 4,
}
BLOCK = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": as_base64(PHOTO)}}
MESSAGES = {"messages": [{"role": "user", "content": [BLOCK, TEXT]}], "max_tokens": 4}
OLLAMA_CHAT = {
    "messages": [{"role": "user", "content": "What is it?", "images": [as_base64(PHOTO)]}],
    "options": {"num_predict": 4},
    "stream": False,
}
OLLAMA_TEXT = {"prompt": "What is it?", "images": [data_uri(PHOTO)], "options": {"num_predict": 4}, "stream": False}
NATIVE = {
    "prompt": {"prompt_string": "A<__media__>What is it?", "multimodal_data": [as_base64(PHOTO)]},
    "n_predict": 4,
}
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/responses", RESPONSE),
    ("/v1/messages", MESSAGES),
    ("/api/chat", OLLAMA_CHAT),
    ("/api/generate", OLLAMA_TEXT),
    ("/completion", NATIVE),
]
NUM_ROWS = 256
"""Of every picture that Gemma 3 is shown."""


TELLS = FakeOptions(answers=(("", "{colours}"),))
"""What the model answers to anything: the colours of the pictures that it was shown."""
RED, BLUE, GREEN = (photo(colour=colour) for colour in ("red", "blue", "lime"))


def count_of(answer: dict[str, Any]) -> int:
    """Return the tokens of an answer's prompt, by whatever name."""
    usage = answer.get("usage") or answer
    if "cache_read_input_tokens" in usage:
        return int(usage["input_tokens"]) + int(usage["cache_read_input_tokens"])
    names = ("prompt_tokens", "input_tokens", "prompt_eval_count", "tokens_evaluated")
    return next(int(usage[name]) for name in names if name in usage)


@pytest.mark.parametrize(("path", "body"), ASKED, ids=[path for path, _ in ASKED])
@with_front()
async def test_an_answer_says_what_was_seen(front: FakeFront, *, path: str, body: dict[str, Any]) -> None:
    add_seeing_model(front.registry)
    for is_cached in (False, True):
        response = await front.client.post(path, json={"model": SEEING, **body})
        assert response.status_code == 200, response.text
        answer = response.json()
        (seen,) = answer["mlxr"]["images"]
        assert (seen["original"], seen["tokens"], seen["cached"]) == ([90, 60], NUM_ROWS, is_cached)
        assert count_of(answer) > NUM_ROWS
    assert "x-mlxr-ignored" not in response.headers


def streamed(path: str, text: str) -> list[dict[str, Any]]:
    """Return the objects of a stream, by whatever form."""
    if path.startswith("/api/"):
        return [msgspec.json.decode(line) for line in text.splitlines()]
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    return [msgspec.json.decode(each) for each in data]


@pytest.mark.parametrize(("path", "body"), ASKED, ids=[path for path, _ in ASKED])
@with_front()
async def test_a_stream_says_it_with_its_end(front: FakeFront, *, path: str, body: dict[str, Any]) -> None:
    add_seeing_model(front.registry)
    response = await front.client.post(path, json={"model": SEEING, **body, "stream": True})
    assert response.status_code == 200, response.text
    objects = streamed(path, response.text)
    responses = [each["response"] for each in objects if isinstance(each.get("response"), dict)]
    told = [each.get("mlxr") for each in responses or objects]
    ((told_at, seen),) = [(index, each) for index, each in enumerate(told) if each is not None]
    assert [image["original"] for image in seen["images"]] == [[90, 60]]
    assert told_at >= len(told) - 2, "an end of Anthropic's has one more event"


COUNTED = [
    ("/v1/chat/completions", "/v1/chat/completions/input_tokens", CHAT),
    ("/v1/responses", "/v1/responses/input_tokens", RESPONSE),
    ("/v1/messages", "/v1/messages/count_tokens", {"messages": MESSAGES["messages"]}),
]


@with_front()
async def test_a_count_is_that_of_the_usage(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    for path, counting, body in COUNTED:
        counted = await front.client.post(counting, json={"model": SEEING, **body})
        answer = await front.client.post(path, json={"model": SEEING, "max_tokens": 4, **body})
        assert counted.json()["input_tokens"] == count_of(answer.json()), path
    usage = (await front.client.post("/v1/chat/completions", json={"model": SEEING, **CHAT})).json()["usage"]
    assert usage["prompt_tokens_details"]["image_tokens"] == NUM_ROWS
    usage = (await front.client.post("/v1/responses", json={"model": SEEING, **RESPONSE})).json()["usage"]
    assert usage["input_tokens_details"]["image_tokens"] == NUM_ROWS
    shown = await front.client.post("/apply-template", json={"model": SEEING, **CHAT})
    assert shown.status_code == 200, shown.text


@with_front(llamacpp=TELLS)
async def test_several_pictures_in_any_turn_and_role_are_seen_in_their_order(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    chat = [
        {"role": "system", "content": [{"type": "text", "text": "Look."}, chat_part(RED)]},
        {"role": "user", "content": [chat_part(BLUE), TEXT, chat_part(RED)]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": [chat_part(GREEN)]},
        {"role": "user", "content": [chat_part(BLUE)]},
    ]
    answer = (await front.client.post("/v1/chat/completions", json={"model": SEEING, "messages": chat})).json()
    assert answer["choices"][0]["message"]["content"] == "red, blue, red, green, blue"
    assert [image["cached"] for image in answer["mlxr"]["images"]] == [False, False, True, False, True]


def block(data: bytes) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": as_base64(data)}}


@with_front(llamacpp=TELLS)
async def test_pictures_in_results_of_tools_are_seen(front: FakeFront) -> None:
    """As Claude Code's Read, Codex' view_image and what looks at a screen give them."""
    add_seeing_model(front.registry)
    read = {"type": "tool_use", "id": "c1", "name": "Read", "input": {"file_path": "a.png"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [block(RED), {"type": "text", "text": "a.png"}]}
    turns = [
        {"role": "user", "content": "read a.png"},
        {"role": "assistant", "content": [read]},
        {"role": "user", "content": [result, {"type": "text", "text": "and this?"}, block(BLUE)]},
    ]
    body = {"model": SEEING, "max_tokens": 40, "messages": turns}
    answer = (await front.client.post("/v1/messages", json=body)).json()
    assert answer["content"][0]["text"] == "red, blue"
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "look at a.png"}]},
        {"type": "function_call", "call_id": "c1", "name": "view_image", "arguments": "{}"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_image", "image_url": data_uri(GREEN), "detail": "high"}],
        },
        {"type": "computer_call", "call_id": "c2", "action": {"type": "screenshot"}},
        {
            "type": "computer_call_output",
            "call_id": "c2",
            "output": {"type": "computer_screenshot", "image_url": data_uri(BLUE)},
        },
    ]
    answer = (await front.client.post("/v1/responses", json={"model": SEEING, "input": items})).json()
    assert answer["output"][0]["content"][0]["text"] == "green, blue"


@with_front(llamacpp=TELLS)
async def test_a_conversation_of_responses_keeps_its_pictures(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    previous = None
    for colour, told in ((RED, "red"), (None, "red"), (BLUE, "red, blue")):
        parts = [{"type": "input_text", "text": "What is it?"}]
        parts += [] if colour is None else [{"type": "input_image", "image_url": data_uri(colour)}]
        body = {"model": SEEING, "input": [{"role": "user", "content": parts}], "previous_response_id": previous}
        answer = (await front.client.post("/v1/responses", json=body)).json()
        assert answer["output"][0]["content"][0]["text"] == told
        previous = answer["id"]
    items = (await front.client.get(f"/v1/responses/{previous}/input_items")).json()["data"]
    pictures = [part for item in items for part in item["content"] if part["type"] == "input_image"]
    assert [part["image_url"] for part in pictures] == [data_uri(BLUE), data_uri(RED)], "newest first, as they came"
    text_only = {"model": "m", "input": "And now?", "previous_response_id": previous}
    answer = await front.client.post("/v1/responses", json=text_only)
    assert (answer.status_code, answer.headers["x-mlxr-ignored"]) == (
        200,
        "previous_response_id[].content[].type=input_image",
    )


@with_front(llamacpp=TELLS)
async def test_uploaded_files_websockets_and_batches_have_pictures_too(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    upload = {"files": {"file": ("a.png", RED)}, "data": {"purpose": "vision"}}
    file_id = (await front.client.post("/v1/files", **upload)).json()["id"]  # type: ignore[arg-type]
    items = [{"role": "user", "content": [{"type": "input_image", "file_id": file_id}]}]
    answer = (await front.client.post("/v1/responses", json={"model": SEEING, "input": items})).json()
    assert answer["output"][0]["content"][0]["text"] == "red"
    source = {"type": "file", "file_id": file_id}
    turns = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    body = {"model": SEEING, "max_tokens": 40, "messages": turns}
    assert (await front.client.post("/v1/messages", json=body)).json()["content"][0]["text"] == "red"
    missing = [{"role": "user", "content": [{"type": "input_image", "file_id": "file-0"}]}]
    for path, field in (("/v1/responses", "input"), ("/v1/chat/completions", "messages")):
        refused = await front.client.post(path, json={"model": SEEING, field: missing})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, f"{field}[0].content[0].file_id")

    url = f"{front.services.server.url}/v1/responses".replace("http://", "ws://")
    async with connect(url) as socket:
        await socket.send(msgspec.json.encode({"type": "response.create", "model": SEEING, "input": items}).decode())
        last: dict[str, Any] = {}
        while last.get("type") != "response.completed":
            last = msgspec.json.decode(await socket.recv())
        assert last["response"]["output"][0]["content"][0]["text"] == "red"

    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": SEEING, **CHAT}}
    batch = await ended(front, await begun(front, line))
    assert content((await results(front, batch["output_file_id"]))["a"]) == "blac", (
        "the mean of four colours, cut by max_tokens"
    )


@with_front(llamacpp=TELLS)
async def test_ollamas_context_brings_pictures_back(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    first = {"prompt": "What is it?", "images": [as_base64(RED)]}
    plain = {"model": SEEING, "stream": False, "options": {"num_predict": 40}}
    context = (await front.client.post("/api/generate", json=plain | first)).json()["context"]
    second = {"prompt": "And this?", "images": [as_base64(BLUE)], "context": context}
    answer = (await front.client.post("/api/generate", json=plain | second)).json()
    assert answer["prompt_eval_count"] > 2 * NUM_ROWS
    assert answer["prompt_cached_count"] > NUM_ROWS


@with_front()
async def test_no_address_leads_to_this_machine(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    config = front.fleet.current_config.config
    front.fleet.set_config(msgspec.structs.replace(config, images=ImagesConfig(fetch="public")))
    for address in (f"{front.services.server.url}/health", "http://localhost/a.png", "http://[::ffff:127.0.0.1]/"):
        image = {"type": "image_url", "image_url": {"url": address}}
        body = {"model": SEEING, "messages": [{"role": "user", "content": [image]}]}
        refused = await front.client.post("/v1/chat/completions", json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (400, "invalid_image")
        assert error["param"] == "messages[0].content[0].image_url"
        assert "not in the public internet" in error["message"]


@pytest.mark.parametrize(
    ("path", "field", "part"),
    [
        ("/v1/chat/completions", "messages", {"type": "image_url", "image_url": "https://a.example/"}),
        ("/v1/responses", "input", {"type": "input_image", "image_url": "https://a.example/"}),
    ],
)
@with_front()
async def test_a_client_that_goes_away_ends_the_fetching(
    front: FakeFront, monkeypatch: pytest.MonkeyPatch, *, path: str, field: str, part: dict[str, Any]
) -> None:
    add_seeing_model(front.registry)
    config = front.fleet.current_config.config
    front.fleet.set_config(msgspec.structs.replace(config, images=ImagesConfig(fetch="public")))
    asked: list[str] = []
    ended = asyncio.Event()

    async def fetch(address: str) -> bytes:
        asked.append(address)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return b""

    monkeypatch.setattr(front.services.serving.images, "_fetch", fetch)
    body = {"model": SEEING, field: [{"role": "user", "content": [part]}]}
    asking = asyncio.create_task(front.client.post(path, json=body))
    await until(lambda: bool(asked), "it is fetched")
    asking.cancel()
    await asyncio.wait_for(ended.wait(), WITHIN_S)
    assert not front.running


@with_front(llamacpp=TELLS)
async def test_the_model_of_the_config_answers_and_is_named(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    config = front.fleet.current_config.config
    front.fleet.set_config(msgspec.structs.replace(config, images=ImagesConfig(model=SEEING)))
    for path, body in ASKED[:-1]:
        answer = (await front.client.post(path, json={"model": "m", **body})).json()
        assert answer["model"] == SEEING, path
    for path in ("/v1/chat/completions", "/v1/responses"):
        body = {"model": "m", **dict(ASKED)[path], "stream": True}
        events = await front.client.post(path, json=body, headers={"X-Mlxr-Prefill-Progress": "true"})
        named = [each for each in streamed(path, events.text) if "prefill" in each or "n_past" in each]
        assert {each["model"] for each in named} == {SEEING}, path


@with_front()
async def test_how_large_pictures_are_seen_is_told(front: FakeFront) -> None:
    add_seeing_model(front.registry, family="qwen2_vl")
    large = photo(1200, 800)
    sizes = []
    for detail, headers, fields in (
        ("low", {}, {}),
        ("high", {}, {}),
        ("high", {"X-Mlxr-Image-Side": "320"}, {}),
        ("low", {}, {"mlxr": {"image_side_px": 320}}),
    ):
        messages = [{"role": "user", "content": [chat_part(large, detail=detail)]}]
        body = {"model": SEEING, "messages": messages, "max_tokens": 1, **fields}
        answer = (await front.client.post("/v1/chat/completions", json=body, headers=headers)).json()
        (seen,) = answer["mlxr"]["images"]
        assert seen["original"] == [1200, 800]
        sizes.append(seen["seen"][0])
    low, high, by_header, by_body = sizes
    assert low < by_header == by_body < high
    refused = await front.client.post("/v1/chat/completions", json=CHAT, headers={"X-Mlxr-Image-Side": "tiny"})
    assert refused.status_code == 400


@pytest.mark.parametrize("has_doubles", [False, True])
@with_front(llamacpp=TELLS)
async def test_ollamas_context_brings_a_picture_back(front: FakeFront, *, has_doubles: bool) -> None:
    """Also from a client that has no other numbers than doubles."""
    add_seeing_model(front.registry)
    ask = {"model": SEEING, "stream": False, "options": {"num_predict": 20}}
    first = (await front.client.post("/api/generate", json=OLLAMA_TEXT | ask)).json()
    context = [int(Decimal(repr(float(each)))) for each in first["context"]] if has_doubles else first["context"]
    response = await front.client.post("/api/generate", json=ask | {"prompt": "And now?", "context": context})
    assert response.status_code == 200, response.text
    assert response.json()["response"] == first["response"]
    assert response.json()["prompt_eval_count"] > first["prompt_eval_count"] > NUM_ROWS
    other = await front.client.post("/api/generate", json=ask | {"prompt": "x", "context": [*context[:40], 1 << 62, 1]})
    assert other.status_code == 400
    assert "context" in other.json()["error"]
