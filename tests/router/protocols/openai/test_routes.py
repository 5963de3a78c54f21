"""The OpenAI API over HTTP, with real worker processes of the fake engine behind it."""

import asyncio
from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, sse_objects, with_front

CHAT = "/v1/chat/completions"
TIMING_KEYS = {
    *("cache_n", "prompt_n", "prompt_ms", "prompt_per_token_ms", "prompt_per_second"),
    *("predicted_n", "predicted_ms", "predicted_per_token_ms", "predicted_per_second"),
    *("engine", "engine_reason", "worker", "load_ms", "queue_ms"),
}


def error_of(response: Any) -> dict[str, Any]:
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    extra = {"n_prompt_tokens", "n_ctx"} if error["code"] == "context_length_exceeded" else set()
    assert set(error) == {"message", "type", "param", "code"} | extra
    return error


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_a_streamed_chat_says_the_same_as_a_whole_one_to_the_letter(front: FakeFront) -> None:
    whole = (await front.chat()).json()
    streamed = await front.chat(stream=True)
    assert streamed.status_code == 200
    assert streamed.headers["content-type"].startswith("text/event-stream")
    *chunks, done = sse_objects(streamed)
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert all("usage" not in chunk for chunk in chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [("role" in delta) for delta in deltas] == [True] + [False] * (len(deltas) - 1)
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert whole["object"] == "chat.completion"
    message = whole["choices"][0]["message"]
    assert message == {"role": "assistant", "content": message["content"], "refusal": None}
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"] != ""
    assert set(whole["timings"]) == set(chunks[-1]["timings"]) == TIMING_KEYS
    assert whole["timings"]["engine"] == "llamacpp"
    assert whole["usage"]["completion_tokens"] == whole["timings"]["predicted_n"]


@with_front()
async def test_usage_comes_in_a_chunk_of_its_own_when_it_is_asked_for(front: FakeFront) -> None:
    *chunks, last, done = sse_objects(await front.chat(stream=True, stream_options={"include_usage": True}))
    assert done == "[DONE]"
    assert last["choices"] == []
    assert last["usage"]["total_tokens"] == last["usage"]["prompt_tokens"] + 6
    assert all(chunk["usage"] is None for chunk in chunks)


@with_front()
async def test_completions_take_several_prompts_and_token_ids(front: FakeFront) -> None:
    several = (await front.complete(prompt=["a", "b", "a"])).json()
    assert several["object"] == "text_completion"
    texts = [choice["text"] for choice in several["choices"]]
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2]
    assert texts[0] == texts[2] != texts[1]
    assert {choice["finish_reason"] for choice in several["choices"]} == {"length"}
    ids = (await front.complete(prompt=[97])).json()
    assert ids["choices"][0]["text"] == texts[0]
    *chunks, _ = sse_objects(await front.complete(prompt=["a", "b"], stream=True))
    streamed = ["", ""]
    for chunk in chunks:
        streamed[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert streamed == texts[:2]


@with_front()
async def test_the_engine_follows_the_name_the_header_and_the_setting(front: FakeFront) -> None:
    assert (await front.chat()).json()["timings"]["engine"] == "llamacpp"
    flipped = (await front.chat(model="nick@mlx")).json()
    assert (flipped["timings"]["engine"], flipped["timings"]["engine_reason"]) == ("mlx", "request")
    assert flipped["model"] == "nick@mlx"
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    headed = await front.client.post(CHAT, json=body, headers={"X-Mlxr-Engine": "mlx"})
    assert headed.json()["timings"]["engine"] == "mlx"


@pytest.mark.parametrize("stream", [False, True])
@with_front()
async def test_a_request_that_cannot_be_served_is_a_plain_error(front: FakeFront, *, stream: bool) -> None:
    cases: list[tuple[dict[str, Any], int, str, str | None]] = [
        ({"model": "nobody"}, 404, "model_not_found", None),
        ({"model": "../etc"}, 400, "invalid_model_name", None),
        ({"model": "only-gguf@mlx"}, 400, "engine_not_available", "model"),
        ({"n": 9}, 400, "invalid_request", "n"),
        ({"service_tier": "scale"}, 400, "invalid_request", "service_tier"),
        ({"prompt_cache_key": "k" * 513}, 400, "invalid_request", "prompt_cache_key"),
        ({"verbosity": "low"}, 400, "unsupported_parameter", "verbosity"),
        ({"temperature": 9}, 400, "invalid_request", "temperature"),
        ({"messages": [{"role": "user", "content": "x" * 10_000}]}, 400, "context_length_exceeded", "messages"),
    ]
    for body, status, code, param in cases:
        response = await front.chat(**body, stream=stream)
        error = error_of(response)
        assert (response.status_code, error["code"]) == (status, code), body
        assert param is None or error["param"] == param
    assert "mlxr models add" in error_of(await front.chat(model="only-gguf@mlx"))["message"]


NO_OBJECTS = {
    "empty": b"",
    "open": b"{",
    "array": b"[]",
    "null": b"null",
    "cut off": b'{"model": "m"',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"messages":' * 100_000,
    "invalid utf-8": b'{"model":"\xff\xfe"}',
    "key twice": b'{"model":"m","model":"m","messages":[]}',
    "nan": b'{"model":NaN}',
    "lone surrogate": b'{"model":"\\ud800"}',
    "long integer": b'{"seed":' + b"9" * 10_000,
}


@pytest.mark.parametrize("body", NO_OBJECTS.values(), ids=NO_OBJECTS.keys())
@with_front()
async def test_a_body_that_is_no_json_object_is_a_400(front: FakeFront, body: bytes) -> None:
    response = await front.client.post(CHAT, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"
    assert (await front.client.get("/health")).status_code == 200


@with_front(keepalive_s=600.0, llamacpp=FakeOptions(load_error="no tensor 'output'"))
async def test_a_failed_load_gives_the_engines_words_then_the_breaker_answers(front: FakeFront) -> None:
    for stream in (False, True, False):
        response = await front.chat(model="m@llamacpp", stream=stream)
        assert response.status_code == 500
        error = error_of(response)
        assert error["code"] == "model_load_failed"
        assert "no tensor 'output'" in error["message"]
    refused = await front.chat(model="m@llamacpp")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1


@with_front(llamacpp=[FakeOptions(crash_at_token=3), FakeOptions()])
async def test_an_error_after_the_start_ends_the_stream_without_done(front: FakeFront) -> None:
    response = await front.chat(stream=True)
    assert response.status_code == 200
    *chunks, last = sse_objects(response)
    assert chunks
    assert set(last) == {"error"}
    assert last["error"]["code"] == "engine_crashed"
    assert "[DONE]" not in response.text
    assert (await front.chat()).status_code == 200


@with_front(llamacpp=[FakeOptions(crash_at_token=3), FakeOptions()])
async def test_a_whole_answer_that_began_again_on_another_worker_says_so(front: FakeFront) -> None:
    again, plain = await front.chat(), await front.chat()
    assert (again.status_code, again.headers["x-mlxr-retries"]) == (200, "1")
    assert (plain.status_code, "x-mlxr-retries" in plain.headers) == (200, False)
    assert again.json()["choices"] == plain.json()["choices"]


STREAM = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "max_tokens": 3}


@with_front(keepalive_s=0.05)
async def test_comments_keep_a_stream_alive_while_its_model_loads_and_its_prompt_is_evaluated(front: FakeFront) -> None:
    text = await front.stream_past(["load", "prefill"], ": keep-alive\n\n", CHAT, STREAM)
    assert sse_objects(text)[-1] == "[DONE]"


@with_front(keepalive_s=0.05, llamacpp=FakeOptions(load_error="bad"))
async def test_an_error_after_a_keep_alive_is_a_chunk(front: FakeFront) -> None:
    asked = STREAM | {"model": "m@llamacpp"}
    [error] = sse_objects(await front.stream_past(["load"], ": keep-alive\n\n", CHAT, asked))
    assert error["error"]["code"] == "model_load_failed"


@pytest.mark.parametrize("stream", [False, True])
@with_front(config=make_config(parallel=1))
async def test_a_client_that_goes_away_frees_its_place(front: FakeFront, *, stream: bool) -> None:
    await front.chat(max_tokens=1)
    front.fleet.hold("decode")
    doomed = asyncio.create_task(front.chat(max_tokens=None, stream=stream))
    holder = front.fleet.holder
    assert holder is not None
    await front.fleet.until(lambda: holder.use.num_running == 1, "it runs")
    doomed.cancel()
    assert (await front.chat(max_tokens=1)).status_code == 200


@with_front(config=make_config(max_queue=2))
async def test_a_full_queue_is_a_429_with_a_time_to_retry(front: FakeFront) -> None:
    front.fleet.hold("load")
    asked = [asyncio.create_task(front.chat()) for _ in range(6)]
    await front.fleet.until(lambda: sum(each.done() for each in asked) == 4, "four are refused")
    front.fleet.let_go("load")
    responses = await asyncio.gather(*asked)
    assert sorted(response.status_code for response in responses) == [200] * 2 + [429] * 4
    for response in responses:
        if response.status_code == 429:
            assert error_of(response)["code"] == "queue_full"
            assert int(response.headers["retry-after"]) >= 1


@with_front()
async def test_models_are_listed_and_described(front: FakeFront) -> None:
    listed = (await front.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["m", "only-gguf"]
    described = (await front.client.get("/v1/models/nick")).json()
    assert described == listed["data"][0]
    assert described["object"] == "model"
    assert described["owned_by"] == "mlxr"
    assert described["engines"] == ["llamacpp", "mlx"]
    missing = await front.client.get("/v1/models/org/nobody")
    assert (missing.status_code, error_of(missing)["code"]) == (404, "model_not_found")
