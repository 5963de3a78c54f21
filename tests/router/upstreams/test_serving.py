"""Models of upstreams through all of the gateway: listed, asked by every protocol, and named in the answers."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.engines import EngineSetting
from router.models.targets import EngineReason
from tests.support.fake_openai import UPSTREAM_ENVIRONMENT, UPSTREAM_KEY, FakeFront, with_front
from tests.support.scripted_upstream import (
    END,
    HEAD,
    MODEL_ID,
    ScriptedUpstream,
    chunk,
    dawdling,
    event,
    plain,
    sending,
    stalling,
    usage,
)
from tests.support.using_upstreams import NAME, box, use

SAID = [{"role": "user", "content": "hi"}]


@with_front()
async def test_a_model_that_only_an_upstream_has_is_in_every_list(front: FakeFront) -> None:
    async with ScriptedUpstream(listing=[{"id": MODEL_ID, "max_model_len": 4096}]) as server:
        await use(front, box(server))
        listed = {each["id"]: each for each in (await front.client.get("/v1/models")).json()["data"]}
        assert listed[NAME]["engines"] == ["upstream:box"]
        assert listed[NAME]["context_length"] == 4096
        assert (await front.client.get(f"/v1/models/{NAME}")).json()["engines"] == ["upstream:box"]
        anthropic = await front.client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
        assert NAME in [each["id"] for each in anthropic.json()["data"]]
        tags = {each["name"]: each for each in (await front.client.get("/api/tags")).json()["models"]}
        assert tags[f"{NAME}:latest"]["remote_model"] == MODEL_ID
        shown = await front.client.post("/api/show", json={"model": NAME})
        assert (shown.status_code, "completion" in shown.json()["capabilities"]) == (200, True)
        assert NAME in [each["id"] for each in (await front.client.get("/api/v0/models")).json()["data"]]


@pytest.mark.parametrize(
    ("path", "body", "text_of"),
    [
        ("/v1/chat/completions", {"messages": SAID}, lambda a: a["choices"][0]["message"]["content"]),
        ("/v1/completions", {"prompt": "hi"}, lambda a: a["choices"][0]["text"]),
        ("/v1/messages", {"messages": SAID, "max_tokens": 9}, lambda a: a["content"][0]["text"]),
        ("/v1/responses", {"input": "hi"}, lambda a: a["output"][-1]["content"][0]["text"]),
        ("/api/chat", {"messages": SAID, "stream": False}, lambda a: a["message"]["content"]),
        ("/api/generate", {"prompt": "hi", "stream": False}, lambda a: a["response"]),
    ],
)
@with_front()
async def test_every_protocol_asks_it(
    front: FakeFront, path: str, body: dict[str, Any], text_of: Callable[[Any], str]
) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        answer = await front.client.post(path, json={"model": NAME} | body)
        assert answer.status_code == 200, answer.text
        assert text_of(answer.json()) == "one two three"
        (asked,) = server.asked
        assert asked.body["model"] == MODEL_ID
        told = answer.json().get("timings") or answer.json()["mlxr"]
        assert (told["engine"], told["engine_reason"]) == ("upstream:box", EngineReason.UPSTREAM_ONLY.value)


@pytest.mark.parametrize("status", [400, 404, 405, 422])
@with_front()
async def test_refusals_of_some_requests_do_not_close_an_upstream_to_others(front: FakeFront, status: int) -> None:
    """`mlx_lm.server` answers 404 to pictures; three of them closed it."""
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        body = {"model": NAME, "messages": SAID}
        for _ in range(4):
            server.scripts.append(sending(plain(status, {"error": "only text is supported"})))
            refused = await front.client.post("/v1/chat/completions", json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "upstream_refused")
            assert "only text is supported" in refused.json()["error"]["message"]
        assert (await front.client.post("/v1/chat/completions", json=body)).status_code == 200


@pytest.mark.parametrize("listing", [None, b""], ids=["missing", "empty"])
@with_front()
async def test_a_server_without_a_list_has_the_models_that_the_config_names(
    front: FakeFront, listing: bytes | None
) -> None:
    """`mlx_lm.server` sends an empty one where Hugging Face's folder is missing; that was a failure at each look."""
    async with ScriptedUpstream() as server:
        server.listing = listing
        await use(front, box(server, names={"small": "default_model"}))
        made = front.services.upstreams.made
        assert made is not None
        (status,) = made.status()
        assert (status.state, status.num_failed) == ("closed", 0)
        answer = await front.client.post("/v1/chat/completions", json={"model": "small", "messages": SAID})
        assert answer.status_code == 200, answer.text
        (asked,) = server.asked
        assert asked.body["model"] == "default_model"


@with_front()
async def test_a_stream_goes_through_piece_by_piece(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        go_on = asyncio.Event()
        server.scripts.append(stalling(HEAD, event(chunk(content="first")), until=go_on))
        body = {"model": NAME, "messages": SAID, "stream": True}
        async with front.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            lines = answer.aiter_lines()
            async for line in lines:
                if "first" in line:
                    break
            assert not go_on.is_set(), "nothing is held back until the end"
            go_on.set()


@with_front()
async def test_usage_reasoning_calls_and_thoughts_come_through(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":'}}
        rest = {"index": 0, "function": {"arguments": " 1}"}}
        server.scripts.append(
            sending(
                HEAD,
                event(chunk(reasoning_content="hm")),
                event(chunk(tool_calls=[call])),
                event(chunk(tool_calls=[rest])),
                event(chunk("tool_calls")),
                event(usage(11, 5)) + event(b"[DONE]") + END,
            )
        )
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        answer = (await front.chat(model=NAME, tools=[tool], max_tokens=99)).json()
        message = answer["choices"][0]["message"]
        assert message["reasoning_content"] == "hm"
        assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (11, 5)
        assert server.asked[0].body["tools"][0]["function"]["name"] == "look"
        history = [
            *SAID,
            message,
            {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "found"},
        ]
        await front.chat(model=NAME, messages=history, tools=[tool])
        sent = server.asked[1].body["messages"]
        assert json.loads(sent[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
        assert sent[2]["tool_call_id"] == sent[1]["tool_calls"][0]["id"]


@with_front()
async def test_a_client_that_goes_takes_its_request_along(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        server.scripts.append(stalling(HEAD, event(chunk(content="first"))))
        body = {"model": NAME, "messages": SAID, "stream": True}
        async with front.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for line in answer.aiter_lines():
                if "first" in line:
                    break
        await server.left.wait()


@with_front()
async def test_its_key_is_sent_and_a_clients_is_not(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        server.required_key = UPSTREAM_KEY
        await use(front, box(server, api_key_env=next(iter(UPSTREAM_ENVIRONMENT))))
        headers = {"authorization": "Bearer sk-client", "x-api-key": "sk-client"}
        answer = await front.client.post(
            "/v1/chat/completions", json={"model": NAME, "messages": SAID}, headers=headers
        )
        assert answer.status_code == 200, answer.text
        (asked,) = server.asked
        assert asked.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"
        assert "sk-client" not in str(asked.headers)


Fault = tuple[Callable[[], Any], int, str]
FIRST = HEAD + event(chunk(content="first"))
FAULTS: dict[str, Fault] = {
    "429": (lambda: sending(plain(429, {"error": {"message": "slow down"}}, retry_after="7")), 429, "upstream_busy"),
    "400": (lambda: sending(plain(400, {"error": {"message": "no such tool"}})), 400, "upstream_refused"),
    "401": (lambda: sending(plain(401, {"error": f"bad key {UPSTREAM_KEY}"})), 502, "upstream_key_refused"),
    "500": (lambda: sending(plain(500, {"error": f"oops {UPSTREAM_KEY}"})), 502, "upstream_failed"),
    "a redirect": (lambda: sending(plain(302, b"", location="http://elsewhere.example/")), 502, "upstream_failed"),
    "cut": (lambda: sending(FIRST, closes=True), 502, "upstream_failed"),
    "an end too early": (lambda: sending(FIRST + END), 502, "upstream_failed"),
    "garbage": (lambda: sending(FIRST + event(b"{garbage") + END), 502, "upstream_failed"),
    "no chunk": (lambda: sending(FIRST + event([1, 2]) + END), 502, "upstream_failed"),
    "an error in the stream": (lambda: sending(FIRST + event({"error": {"message": "lost"}})), 502, "upstream_failed"),
    "a wrong length": (lambda: sending(FIRST + b"5\r\nabc", closes=True), 502, "upstream_failed"),
}


@pytest.mark.parametrize("fault", FAULTS)
@with_front()
async def test_what_goes_wrong_there_is_an_error_of_ours(
    front: FakeFront, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    make, status, code = FAULTS[fault]
    async with ScriptedUpstream(usual=make()) as server:
        await use(front, box(server, api_key_env=next(iter(UPSTREAM_ENVIRONMENT))))
        answer = await front.chat(model=NAME)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text
        assert "'box'" in answer.json()["error"]["message"]
        if fault == "429":
            assert answer.headers["retry-after"] == "7"
        assert len(server.asked) == 1, "it may have cost: it is not asked again"
        assert UPSTREAM_KEY not in answer.text
        assert UPSTREAM_KEY not in caplog.text


@pytest.mark.parametrize("first", [plain(503, {"error": "loading"}), plain(502, b""), b"", HEAD + END])
@with_front()
async def test_what_fails_before_anything_came_is_tried_once_more(front: FakeFront, first: bytes) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        server.scripts.append(sending(first, closes=not first))
        answer = await front.chat(model=NAME)
        assert (answer.status_code, len(server.asked)) == (200, 2), answer.text
        server.scripts += [sending(first, closes=not first) for _ in range(3)]
        answer = await front.chat(model=NAME)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "upstream_unreachable")
        assert len(server.asked) == 4, "once, and no more often"


@pytest.mark.parametrize("first", [b"", HEAD, FIRST])
@with_front()
async def test_a_silence_that_is_too_long_ends_the_answer(front: FakeFront, first: bytes) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, first_token_timeout_s=0.3, inter_token_timeout_s=0.3))
        server.scripts.append(stalling(first, until=asyncio.Event()))
        answer = await front.chat(model=NAME)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "upstream_timeout")
        assert ("first_token_timeout_s" in answer.text) == (first != FIRST)


@with_front()
async def test_comments_are_signs_of_life_once_the_answer_has_begun(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, inter_token_timeout_s=1.0))
        server.scripts.append(dawdling(FIRST, comments_s=1.5, then=event(chunk("stop")) + event(b"[DONE]") + END))
        answer = await front.chat(model=NAME)
        assert answer.json()["choices"][0]["message"]["content"] == "first"


@with_front()
async def test_several_choices_are_several_requests(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server))
        answer = (await front.chat(model=NAME, n=3, seed=5)).json()
        assert [each["message"]["content"] for each in answer["choices"]] == ["one two three"] * 3
        assert sorted(each.body["seed"] for each in server.asked) == [5, 6, 7]


@with_front()
async def test_the_engine_of_a_model_that_is_here_as_well_is_chosen_by_name(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, names={"m": MODEL_ID}))
        assert (await front.chat()).json()["timings"]["engine"] == "llamacpp", "auto takes nobody else's machine"
        for answer in (
            await front.chat(model="m@upstream:box"),
            await front.client.post(
                "/v1/chat/completions", json={"model": "m", "messages": SAID}, headers={"x-mlxr-engine": "upstream:box"}
            ),
        ):
            timings = answer.json()["timings"]
            assert (timings["engine"], timings["engine_reason"]) == ("upstream:box", EngineReason.REQUEST.value)
        unknown = await front.chat(model="m@upstream:nobody")
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (400, "upstream_not_available")
        assert "'m@upstream:box'" in unknown.text


@with_front()
async def test_fallback_goes_both_ways_and_says_so(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, box(server, names={"only-gguf": MODEL_ID}), engine_fallback="upstream")
        timings = (await front.chat(model="only-gguf@mlx")).json()["timings"]
        assert timings["engine"] == "upstream:box"
        assert timings["engine_reason"] == EngineReason.FALLBACK_NO_ARTIFACT.value
        setting = EngineSetting("upstream:box")
        await use(front, box(server, names={"m": MODEL_ID}), engine=setting, engine_fallback="other")
        assert (await front.chat()).json()["timings"]["engine"] == "upstream:box"
        server.usual = sending(plain(500, {"error": "oops"}))
        for _ in range(3):
            assert (await front.chat()).status_code == 502
        timings = (await front.chat()).json()["timings"]
        assert (timings["engine"], timings["engine_reason"]) == ("llamacpp", EngineReason.FALLBACK_UPSTREAM.value)
