"""What upstreams are sent and what they send by each protocol: Ollama's, another mlxr's, vectors, loops of servers."""

import base64
import json
import struct
from typing import Any

import pytest
from msgspec.structs import replace

from router.config.upstreams import UpstreamConfig
from tests.support.fake_openai import FakeFront, with_front
from tests.support.scripted_upstream import (
    END,
    HEAD,
    MODEL_ID,
    Script,
    ScriptedUpstream,
    chunk,
    event,
    plain,
    sending,
    usage,
)
from tests.support.waiting import until

SAID = [{"role": "user", "content": "hi"}]
NAME = "their/big-model"
NDJSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def use(front: FakeFront, server: ScriptedUpstream, **keys: Any) -> None:
    current = front.fleet.current_config
    config = UpstreamConfig(name="box", url=server.url, **keys)
    current.take_over(replace(current.config, upstreams=(config,)))
    front.services.upstreams.follow()
    made = front.services.upstreams.made
    assert made is not None
    await until(lambda: made.status()[0].checked_at is not None, "its list was read")


def lines(*bodies: Any) -> Script:
    return sending(NDJSON, *(json.dumps(body).encode() + b"\n" for body in bodies), closes=True)


def spoken(*texts: str, reason: str = "stop") -> Script:
    said = [{"message": {"role": "assistant", "content": text}, "done": False} for text in texts]
    counts = {"prompt_eval_count": 9, "eval_count": len(texts)}
    return lines(*said, {"message": {"content": ""}, "done": True, "done_reason": reason, **counts})


@with_front()
async def test_ollama_is_asked_in_its_own_words(front: FakeFront) -> None:
    async with ScriptedUpstream(listing=[{"id": "small:latest"}]) as server:
        await use(front, server, protocol="ollama")
        server.scripts.append(spoken("one", " two"))
        image = "data:image/png;base64," + base64.b64encode(PIXEL).decode()
        parts = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": image}}]
        schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
        answer = await front.chat(
            model="small",
            messages=[{"role": "user", "content": parts}],
            max_tokens=7,
            top_k=5,
            seed=3,
            repetition_penalty=1.5,
            reasoning_effort="low",
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"] == "one two"
        assert (answer.json()["usage"]["prompt_tokens"], answer.json()["usage"]["completion_tokens"]) == (9, 2)
        (asked,) = server.asked
        assert (asked.path, asked.body["model"], asked.body["think"]) == ("/api/chat", "small", "low")
        assert asked.body["format"] == schema
        wanted = {"num_predict": 7, "top_k": 5, "seed": 3, "repeat_penalty": 1.5, "temperature": 0}
        assert wanted.items() <= asked.body["options"].items()
        (message,) = asked.body["messages"]
        assert (message["content"], base64.b64decode(message["images"][0])) == ("see", PIXEL)


@with_front()
async def test_calls_of_ollama_come_as_whole_ones(front: FakeFront) -> None:
    async with ScriptedUpstream(listing=[{"id": "small"}]) as server:
        await use(front, server, protocol="ollama")
        calls = [
            {"function": {"name": "look", "arguments": {"at": "x"}}},
            {"function": {"name": "look", "arguments": {}}},
        ]
        server.scripts.append(
            lines(
                {"message": {"content": "", "thinking": "hm"}, "done": False},
                {"message": {"content": "", "tool_calls": calls}, "done": False},
                {"message": {"content": ""}, "done": True, "done_reason": "stop"},
            )
        )
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
        answer = (await front.chat(model="small", tools=[tool])).json()
        message = answer["choices"][0]["message"]
        assert message["reasoning_content"] == "hm"
        assert [each["function"]["arguments"] for each in message["tool_calls"]] == ['{"at":"x"}', "{}"]
        assert answer["choices"][0]["finish_reason"] == "tool_calls"
        refused = await front.chat(model="small", tools=[tool], tool_choice="required")
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tool_choice")


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (lambda: lines({"message": {"content": "a"}, "done": False}), "upstream_failed"),
        (lambda: lines({"error": "model is gone"}), "upstream_failed"),
        (lambda: sending(NDJSON + b"{garbage\n", closes=True), "upstream_failed"),
    ],
)
@with_front()
async def test_what_goes_wrong_with_ollama_is_an_error_of_ours(front: FakeFront, script: Any, code: str) -> None:
    async with ScriptedUpstream(listing=[{"id": "small"}], usual=script()) as server:
        await use(front, server, protocol="ollama")
        answer = await front.chat(model="small")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, code)


@with_front()
async def test_a_text_is_gone_on_from_by_ollama(front: FakeFront) -> None:
    async with ScriptedUpstream(listing=[{"id": "small"}]) as server:
        await use(front, server, protocol="ollama")
        server.scripts.append(lines({"response": "b"}, {"response": "", "done": True, "done_reason": "length"}))
        body = {"model": "small", "prompt": "a", "echo": True, "max_tokens": 1}
        answer = (await front.client.post("/v1/completions", json=body)).json()
        assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == ("ab", "length")
        assert (server.asked[0].path, server.asked[0].body["raw"]) == ("/api/generate", True)


@pytest.mark.parametrize("protocol", ["openai", "ollama"])
@with_front()
async def test_vectors_are_passed_on_at_length_one(front: FakeFront, protocol: str) -> None:
    async with ScriptedUpstream() as server:
        await use(front, server, protocol=protocol)
        rows = [[3.0, 4.0], [0.0, 2.0]]
        told: Any = {"embeddings": rows, "prompt_eval_count": 5}
        if protocol == "openai":
            packed = base64.b64encode(struct.pack("<2f", *rows[0])).decode()
            told = {"data": [{"index": 1, "embedding": rows[1]}, {"index": 0, "embedding": packed}]}
            told["usage"] = {"prompt_tokens": 5, "total_tokens": 5}
        server.scripts.append(sending(plain(200, told)))
        answer = await front.client.post("/v1/embeddings", json={"model": NAME, "input": ["a", "b"]})
        assert answer.status_code == 200, answer.text
        vectors = [each["embedding"] for each in answer.json()["data"]]
        assert vectors == [pytest.approx([0.6, 0.8]), pytest.approx([0.0, 1.0])]
        assert answer.json()["usage"]["prompt_tokens"] == 5
        assert answer.json()["mlxr"]["engine"] == "upstream:box"
        server.scripts.append(sending(plain(200, {"data": []})))
        refused = await front.client.post("/v1/embeddings", json={"model": NAME, "input": "a"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (502, "upstream_failed")


@with_front()
async def test_another_mlxr_is_told_what_only_it_knows(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, server, protocol="mlxr")
        progress = {"choices": [], "prompt_progress": {"processed": 3, "total": 8, "cache": 2, "time_ms": 1}}
        timings = {"queue_ms": 5, "load_ms": 7, "prompt_ms": 11, "predicted_ms": 13}
        end = event(chunk("stop")) + event({**usage(8, 1), "timings": timings}) + event(b"[DONE]") + END
        server.scripts.append(sending(HEAD, event(progress), event(chunk(content="a")), end))
        headers = {"x-session-id": "talk", "x-mlxr-priority": "background"}
        body = {"model": NAME, "messages": SAID, "stream": True, "return_progress": True, "timings_per_token": True}
        answer = await front.client.post("/v1/chat/completions", json=body, headers=headers)
        assert '"processed":3,"total":8' in answer.text.replace(" ", "") or '"total":8' in answer.text
        sent = server.asked[0].headers
        assert (sent["x-session-id"], sent["x-mlxr-priority"], sent["x-mlxr-hops"]) == ("talk", "background", "1")
        server.scripts.append(sending(HEAD, event(chunk(content="a")), end))
        shown = (await front.chat(model=NAME)).json()["timings"]
        assert (shown["prompt_ms"], shown["predicted_ms"]) == (11, 13)
        assert shown["queue_ms"] >= 12


@with_front()
async def test_servers_that_name_each_other_are_found_out(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, server)
        body = {"model": NAME, "messages": SAID}
        passed = await front.client.post("/v1/chat/completions", json=body, headers={"x-mlxr-hops": "2"})
        assert (passed.status_code, server.asked[0].headers["x-mlxr-hops"]) == (200, "3")
        for hops in ("3", "x", "99999"):
            refused = await front.client.post("/v1/chat/completions", json=body, headers={"x-mlxr-hops": hops})
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "too_many_hops")
        assert server.asked[0].body["model"] == MODEL_ID


@with_front()
async def test_tokens_are_not_counted_there(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, server)
        body = {"model": NAME, "messages": SAID}
        refused = await front.client.post("/v1/messages/count_tokens", json=body)
        assert (refused.status_code, "tokens are counted" in refused.text) == (400, True)
        for field in ("return_token_ids",):
            refused = await front.chat(model=NAME, **{field: True})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


@with_front()
async def test_decisions_are_taken_where_the_model_runs(front: FakeFront) -> None:
    async with ScriptedUpstream() as server:
        await use(front, server)
        body = {"model": NAME, "state": "x", "questions": {"q": {"type": "noul", "instructions": "Is it?"}}}
        refused = await front.client.post("/v1/systemone", json=body)
        error = refused.json()["error"]
        assert (refused.status_code, error["param"]) == (422, "model")
        assert "'box'" in error["message"]
        refused = await front.client.post("/v1/rerank", json={"model": NAME, "query": "x", "documents": ["a"]})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
        assert server.asked == []
