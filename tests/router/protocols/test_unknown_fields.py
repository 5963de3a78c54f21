"""Fields that nobody knows, in all protocols: left out and named, or refused where that is wanted."""

import asyncio
import json
import logging
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.fake_openai import FakeFront, sse_objects, with_front

POLL_S = 0.02
HI = [{"role": "user", "content": "hi", "zig": 1}]
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/chat/completions", {"messages": HI, "zag": {}, "max_tokens": 2}, "messages[].zig, zag"),
    ("/v1/chat/completions/input_tokens", {"messages": HI}, "messages[].zig"),
    ("/v1/completions", {"prompt": "x", "max_tokens": 2, "zag": None}, "zag"),
    ("/v1/embeddings", {"input": "x", "zag": 1}, "zag"),
    ("/v2/rerank", {"query": "x", "documents": [{"text": "a", "zig": 1}], "zag": 1}, "documents[].zig, zag"),
    (
        "/v1/decisions",
        {"input": "x", "questions": [{"type": "predicate", "instructions": "?", "zig": 1}], "zag": 1},
        "questions[].zig, zag",
    ),
    (
        "/v1/responses",
        {"input": [{"role": "user", "content": "hi", "zig": 1}], "zag": {}, "max_output_tokens": 2},
        "zag, input[].zig",
    ),
    (
        "/v1/messages",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi", "zig": 1}]}], "max_tokens": 2},
        "messages[].content[].zig",
    ),
    (
        "/v1/messages/count_tokens",
        {"messages": [{"role": "user", "content": "hi"}], "tools": [{"name": "f", "input_schema": {}, "zig": 1}]},
        "tools[].zig",
    ),
    ("/api/chat", {"messages": HI, "stream": False, "options": {"zag": 1}}, "messages[].zig, options.zag"),
    ("/api/generate", {"prompt": "x", "stream": False, "zag": 1}, "zag"),
    ("/api/embed", {"input": "x", "zag": 1}, "zag"),
    ("/tokenize", {"content": "x", "zag": 1}, "zag"),
    ("/v1/mlxr/models/stop", {"zag": 1}, "zag"),
]


async def post(front: FakeFront, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return await front.client.post(path, json={"model": "m", **body}, headers=shown)


@pytest.mark.parametrize(("path", "body", "ignored"), CASES, ids=[f"{path}" for path, _, _ in CASES])
@with_front()
async def test_they_are_left_out_and_named(front: FakeFront, path: str, body: dict[str, Any], ignored: str) -> None:
    answer = await post(front, path, body)
    assert (answer.status_code, answer.headers.get("x-mlxr-ignored")) == (200, ignored), answer.text
    strict = await post(front, path, body, X_Mlxr_Strict="true")
    assert strict.status_code == 400
    assert "is not known here" in strict.text
    assert "x-mlxr-ignored" not in strict.headers


@with_front()
async def test_the_config_may_refuse_them_and_a_request_may_want_otherwise(front: FakeFront) -> None:
    current = front.services.serving.config
    front.fleet.current_config.config = msgspec.structs.replace(
        current, server=msgspec.structs.replace(current.server, strict_fields=True)
    )
    path, body, ignored = CASES[0]
    assert (await post(front, path, body)).status_code == 400
    assert (await post(front, path, body, X_Mlxr_Strict="false")).headers["x-mlxr-ignored"] == ignored
    report = (await front.client.get("/v1/mlxr/capabilities")).json()
    assert report["unknown_fields"] == "refused"


@with_front()
async def test_nothing_is_named_where_nothing_was_left_out(front: FakeFront) -> None:
    assert "x-mlxr-ignored" not in (await front.chat()).headers
    assert (await front.client.get("/v1/mlxr/capabilities")).json()["unknown_fields"] == "ignored"


@with_front()
async def test_a_stream_and_an_error_name_them_too(front: FakeFront) -> None:
    path, body, ignored = CASES[0]
    streamed = await post(front, path, {**body, "stream": True})
    assert streamed.headers["x-mlxr-ignored"] == ignored
    assert sse_objects(streamed)[-1] == "[DONE]"
    refused = await post(front, path, {**body, "model": "nobody"})
    assert (refused.status_code, refused.headers["x-mlxr-ignored"]) == (404, ignored)


@with_front()
async def test_a_known_one_that_changes_the_answer_stays_refused_by_name(front: FakeFront) -> None:
    for body, param in (({"guided_regex": "x", "zag": 1}, "guided_regex"), ({"mirostat": 2}, "mirostat")):
        refused = await front.chat(**body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


@with_front()
async def test_whole_numbers_and_nulls_are_read_as_they_are_meant(front: FakeFront) -> None:
    answer = await front.chat(max_tokens=3.0, seed=42.0, stream=True, stream_options={"include_usage": None})
    assert answer.status_code == 200
    assert (await front.chat(max_tokens=3.5)).status_code == 400
    options = {"num_predict": 2.0, "top_k": 40.0, "seed": 1.0}
    answer = await post(front, "/api/chat", {"messages": [], "options": options})
    assert answer.status_code == 200


@with_front()
async def test_odd_names_do_not_break_the_header(front: FakeFront) -> None:
    names = ["a\r\nx-evil: 1", "é", "a,b", "long" * 100, *(f"field{number}" for number in range(300))]
    answer = await front.chat(**dict.fromkeys(names, 1))
    assert answer.status_code == 200
    assert "x-evil" not in answer.headers
    shown = answer.headers["x-mlxr-ignored"]
    assert shown.startswith("a??x-evil:?1, ?, a?b, longlong")
    assert shown.endswith("...")
    assert len(shown) < 1100


@with_front()
async def test_parameters_of_a_query_are_treated_alike(front: FakeFront) -> None:
    answer = await front.client.get("/v1/batches", params={"zag": 1})
    assert (answer.status_code, answer.headers["x-mlxr-ignored"]) == (200, "?zag")
    strict = await front.client.get("/v1/batches", params={"zag": 1}, headers={"X-Mlxr-Strict": "1"})
    assert strict.status_code == 400


@with_front()
async def test_the_log_names_each_once(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="router.http.ignored"):
        for _ in range(3):
            await front.chat(only_logged_once=1)
    assert [record for record in caplog.messages if "only_logged_once" in record] == [
        "POST /v1/chat/completions: only_logged_once has no effect here (told once)"
    ]


@with_front()
async def test_lines_of_a_batch_name_them_in_their_results(front: FakeFront) -> None:
    body = {"model": "m", "messages": HI, "max_tokens": 2}
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body, "zag": 1}
    files: Any = {"file": ("a.jsonl", json.dumps(line).encode()), "purpose": (None, "batch"), "zig": (None, "1")}
    file = await front.client.post("/v1/files", files=files)
    assert (file.status_code, file.headers["x-mlxr-ignored"]) == (200, "zig"), file.text
    wanted = {"input_file_id": file.json()["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = (await front.client.post("/v1/batches", json=wanted)).json()
    ends = f"/v1/mlxr/batches/{batch['id']}/ends"
    while True:
        if found := (await front.client.get(ends)).json()["data"]:
            break
        await asyncio.sleep(POLL_S)
    assert [end["result"]["response"]["ignored"] for end in found] == [["messages[].zig"]]
