"""Real answers of every endpoint that the fake fleet can serve, against the types that the API's document shows."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from backends.fake.engine import FakeOptions
from tests.support.api_answers import check_answer, decode_any, endpoint_of
from tests.support.fake_openai import FakeFront, with_front

HI = [{"role": "user", "content": "hi"}]
PARAMETERS = {"type": "object", "properties": {"a": {"enum": ["b"]}}, "required": ["a"]}
FUNCTION = {"name": "f", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]
CHAT = {"model": "m", "messages": HI, "max_tokens": 40}
TEXT = {"model": "m", "prompt": "once", "max_tokens": 4}
RESPONSE = {"model": "m", "input": "hi", "max_output_tokens": 40}
MESSAGES = {"model": "m", "messages": HI, "max_tokens": 40}
OLLAMA = {"model": "m", "messages": HI, "options": {"num_predict": 40}}
WITH_TOOLS = {"tools": TOOLS, "tool_choice": "required"}
ANTHROPIC_TOOLS = {"tools": [{"name": "f", "input_schema": PARAMETERS}], "tool_choice": {"type": "any"}}
RESPONSE_TOOLS = {"tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"}
QUESTIONS = {
    "c": {"type": "choice", "instructions": "?", "criteria": {"a": "b", "c": None}},
    "s": {"type": "score", "instructions": "?", "criteria": ["a", "b"]},
    "n": {"type": "noul", "instructions": "?"},
}
LISTED = [
    {"type": "choice", "instructions": "?", "choices": [{"value": True}, {"value": "a"}]},
    {"type": "score", "instructions": "?", "levels": [{"label": "a"}, {"label": "b"}]},
    {"type": "predicate", "instructions": "?", "name": "p"},
]
LOGPROBS = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}

POSTS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", CHAT),
    ("/v1/chat/completions", {**CHAT, "n": 2, "service_tier": "flex", "logprobs": True, "top_logprobs": 2}),
    ("/v1/chat/completions", {**CHAT, **WITH_TOOLS}),
    ("/v1/chat/completions", {**CHAT, **WITH_TOOLS, "stream": True}),
    (
        "/v1/chat/completions",
        {**CHAT, "stream": True, "return_progress": True, "timings_per_token": True, "logprobs": True},
    ),
    ("/v1/chat/completions", {**CHAT, "stream": True, "stream_options": {"include_usage": True}}),
    ("/v1/chat/completions", {**CHAT, "temperature": 9}),
    ("/v1/chat/completions", {**CHAT, "messages": [{"role": "user", "content": "x" * 9000}]}),
    ("/v1/completions", TEXT),
    ("/v1/completions", {**TEXT, "prompt": ["a", "b"], "logprobs": 2}),
    ("/v1/completions", {**TEXT, "stream": True, "logprobs": 2, "stream_options": {"include_usage": True}}),
    ("/v1/completions", {**TEXT, "stream": True, "echo": True, "return_progress": True}),
    ("/v1/completions", {**TEXT, "stream": True, "echo": True, "logprobs": 1}),
    ("/v1/completions", {**TEXT, "echo": True, "logprobs": 1, "prompt_logprobs": 2, "max_tokens": 0}),
    ("/v1/chat/completions", {**CHAT, "prompt_logprobs": 1}),
    ("/v1/chat/completions/input_tokens", {"messages": HI}),
    ("/v1/embeddings", {"model": "m", "input": ["a", "b"]}),
    ("/v1/embeddings", {"model": "m", "input": "a", "encoding_format": "base64", "pooling": "last"}),
    ("/v1/systemone", {"model": "m", "state": "x", "questions": QUESTIONS}),
    ("/v1/systemone", {"model": "m", "state": "x", "questions": {}}),
    ("/v1/systemone", {"model": "nobody", "state": "x", "questions": QUESTIONS}),
    ("/v1/decisions", {"model": "m", "input": "x", "questions": LISTED}),
    ("/v1/decisions", {"model": "m", "input": "x", "questions": []}),
    ("/v1/rerank", {"model": "m", "query": "x", "documents": ["a", "b"], "return_documents": True}),
    ("/rerank", {"model": "m", "query": "x", "documents": []}),
    ("/v1/responses", RESPONSE),
    ("/v1/responses", {**RESPONSE, **RESPONSE_TOOLS}),
    ("/v1/responses", {**RESPONSE, **RESPONSE_TOOLS, "stream": True}),
    ("/v1/responses", {**RESPONSE, **LOGPROBS, "stream": True, "instructions": "be", "metadata": {"a": "b"}}),
    ("/v1/responses", {**RESPONSE, "text": {"format": {"type": "json_schema", "name": "n", "schema": PARAMETERS}}}),
    ("/v1/responses", {**RESPONSE, "tools": [{"type": "web_search"}]}),
    ("/v1/responses/input_tokens", {"input": "hi"}),
    ("/v1/messages", MESSAGES),
    ("/v1/messages", {**MESSAGES, "stream": True}),
    ("/v1/messages", {**MESSAGES, **ANTHROPIC_TOOLS}),
    ("/v1/messages", {**MESSAGES, **ANTHROPIC_TOOLS, "stream": True}),
    ("/v1/messages", {**MESSAGES, "thread": "t"}),
    ("/v1/messages", {}),
    ("/v1/messages/count_tokens", {"model": "m", "messages": HI}),
    ("/api/chat", OLLAMA),
    ("/api/chat", {**OLLAMA, "stream": False}),
    ("/api/chat", {**OLLAMA, **WITH_TOOLS}),
    ("/api/chat", {**OLLAMA, **WITH_TOOLS, "stream": False}),
    ("/api/chat", {**OLLAMA, "logprobs": True, "top_logprobs": 2}),
    ("/api/chat", {"model": "m", "stream": False}),
    ("/api/chat", {"model": "none"}),
    ("/api/generate", {"model": "m", "prompt": "hi", "options": {"num_predict": 2}}),
    ("/api/generate", {"model": "m", "prompt": "hi", "options": {"num_predict": 2}, "stream": False}),
    ("/api/generate", {"model": "m", "keep_alive": 0}),
    ("/api/embed", {"model": "m", "input": ["a", "b"]}),
    ("/api/embed", {"model": "m"}),
    ("/api/embeddings", {"model": "m", "prompt": "a"}),
    ("/api/push", {"model": "m"}),
    ("/tokenize", {"content": "a\u00e9"}),
    ("/tokenize", {"content": "a\u00e9", "with_pieces": True}),
    ("/detokenize", {"tokens": [97, 98]}),
    ("/apply-template", {"messages": HI}),
    ("/v1/mlxr/models/stop", {"model": "m"}),
]

GETS = [
    "/",
    "/api/version",
    "/api/tags",
    "/api/ps",
    "/v1/models",
    "/v1/models/m",
    "/v1/models/none",
    "/props?model=m",
    "/slots",
    "/health",
    "/schema",
    "/v1/mlxr/status",
    "/v1/mlxr/capabilities",
    "/v1/mlxr/capabilities?model=m",
    "/v1/mlxr/requests",
    "/v1/mlxr/engine/explain?model=m",
    "/v1/files",
    "/v1/batches",
]


def check(response: httpx.Response) -> httpx.Response:
    request = response.request
    row = endpoint_of(request.method, request.url.path)
    check_answer(row, response.status_code, response.headers, response.content)
    return response


@with_front(llamacpp=FakeOptions(answer_tokens=6))
async def test_answers_to_posts_are_of_their_types(front: FakeFront) -> None:
    for path, body in POSTS:
        check(await front.client.post(path, json={"model": "m"} | body if path == "/tokenize" else body))


@with_front(llamacpp=FakeOptions(answer_tokens=6))
async def test_answers_to_gets_are_of_their_types(front: FakeFront) -> None:
    await front.chat()
    for path in GETS:
        check(await front.client.get(path))
    check(await front.client.get("/v1/models", headers={"anthropic-version": "2023-06-01"}))
    check(await front.client.get("/v1/models/m", headers={"anthropic-version": "2023-06-01"}))
    check(await front.client.head("/"))
    check(await front.client.get("/v1/mlxr/capabilities?model=none"))


@with_front(llamacpp=FakeOptions(decode_s=0.01))
async def test_what_runs_is_listed_and_cancelled_in_its_types(front: FakeFront) -> None:
    chat = asyncio.create_task(front.chat(max_tokens=4000))
    while not front.running:  # noqa: ASYNC110 - the list is what is looked at
        await asyncio.sleep(0.01)
    (request,) = check(await front.client.get("/v1/mlxr/requests")).json()["requests"]
    check(await front.client.get("/slots"))
    check(await front.client.get("/v1/mlxr/status"))
    check(await front.client.post(f"/v1/mlxr/requests/{request['id']}/cancel"))
    assert check(await chat).status_code == 499


@with_front(llamacpp=FakeOptions(answer_tokens=6))
async def test_stored_responses_are_of_their_types(front: FakeFront) -> None:
    asked = {**RESPONSE, **RESPONSE_TOOLS, **LOGPROBS, "max_output_tokens": 400, "seed": 1}
    first = check(await front.client.post("/v1/responses", json=asked)).json()
    call = next(item for item in first["output"] if item["type"] == "function_call")
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}], "content": []}
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "t"}], "phase": "p"}
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "1"}
    body = {"model": "m", "input": [result, said, thought], "previous_response_id": first["id"], "max_output_tokens": 2}
    second = check(await front.client.post("/v1/responses", json=body)).json()
    path = f"/v1/responses/{second['id']}"
    check(await front.client.get(path))
    items = check(await front.client.get(f"{path}/input_items?limit=100")).json()["data"]
    assert {item["type"] for item in items} == {"message", "function_call", "function_call_output", "reasoning"}
    check(await front.client.post(f"{path}/cancel"))
    check(await front.client.delete(path))
    assert check(await front.client.get(path)).status_code == 404


@with_front(llamacpp=FakeOptions(answer_tokens=6))
async def test_background_responses_are_of_their_types(front: FakeFront) -> None:
    body = {**RESPONSE, "background": True, "stream": True}
    events = check(await front.client.post("/v1/responses", json=body))
    response_id = json.loads(events.text.split("\n")[1].removeprefix("data: "))["response"]["id"]
    check(await front.client.get(f"/v1/responses/{response_id}?stream=true"))
    quiet = check(await front.client.post("/v1/responses", json={**RESPONSE, "background": True})).json()
    check(await front.client.post(f"/v1/responses/{quiet['id']}/cancel"))


@with_front(llamacpp=FakeOptions(answer_tokens=6))
async def test_files_and_batches_are_of_their_types(front: FakeFront) -> None:
    client = front.client
    wanted = [{"model": "m", "messages": HI, "max_tokens": 2}, {"model": "none", "messages": HI}]
    lines = [
        {"custom_id": f"l{index}", "method": "POST", "url": "/v1/chat/completions", "body": body}
        for index, body in enumerate(wanted)
    ]
    good = "\n".join(json.dumps(line) for line in lines).encode()
    ids = []
    for content in (good, b"junk"):
        form = {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "3600"}
        sent = await client.post("/v1/files", files={"file": ("f.jsonl", content)}, data=form)
        ids.append(check(sent).json()["id"])
    batches = [await _ended(front, file_id) for file_id in ids]
    assert [batch["status"] for batch in batches] == ["completed", "failed"]
    for path in ("/v1/files", "/v1/files?limit=1", f"/v1/files/{ids[0]}", "/v1/batches"):
        check(await client.get(path))
    assert check(await client.get(f"/v1/files/{ids[0]}/content")).content == good
    ends = check(await client.get(f"/v1/mlxr/batches/{batches[0]['id']}/ends")).json()
    assert len(ends["data"]) == 2
    check(await client.post(f"/v1/batches/{batches[0]['id']}/cancel"))
    check(await client.delete(f"/v1/files/{ids[0]}"))


async def _ended(front: FakeFront, file_id: str) -> Any:
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = check(await front.client.post("/v1/batches", json=body)).json()
    while batch["status"] not in {"completed", "failed"}:
        await asyncio.sleep(0.02)
        batch = check(await front.client.get(f"/v1/batches/{batch['id']}")).json()
    return batch


def test_the_check_sees_what_is_wrong() -> None:
    row = endpoint_of("GET", "/health")
    json_headers = {"content-type": "application/json"}
    check_answer(row, 200, json_headers, b'{"status":"ok","resident":[]}')
    wrongs: list[Callable[[], None]] = [
        lambda: check_answer(row, 200, json_headers, b'{"status":1,"resident":[]}'),
        lambda: check_answer(row, 200, {"content-type": "text/html"}, b'{"status":"ok","resident":[]}'),
        lambda: check_answer(row, 204, json_headers, b'{"status":"ok","resident":[]}'),
        lambda: check_answer(row, 400, json_headers, b'{"error":"x"}'),
        lambda: decode_any(b"{}", (int, str)),
    ]
    for wrong in wrongs:
        with pytest.raises(AssertionError):
            wrong()
