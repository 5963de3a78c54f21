"""What becomes of a full context may be said in every protocol, by a header or a field, and the header counts."""

from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from router.requests.context_wish import ContextWish
from router.requests.request import GenerationRequest
from tests.support.fake_openai import FakeFront, with_front

HI = [{"role": "user", "content": "hi"}]
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HI, "max_tokens": 2},
    "/v1/responses": {"input": "hi", "max_output_tokens": 16},
    "/v1/messages": {"messages": HI, "max_tokens": 2},
    "/api/chat": {"messages": HI, "stream": False, "options": {"num_predict": 2}},
    "/api/generate": {"system": "s", "prompt": "hi", "stream": False, "options": {"num_predict": 2}},
}
WITHOUT_TURNS: dict[str, dict[str, Any]] = {
    "/v1/completions": {"prompt": "hi", "max_tokens": 2},
    "/completion": {"prompt": "hi", "n_predict": 2},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 2},
    "/api/generate": {"prompt": "hi", "raw": True, "stream": False, "options": {"num_predict": 2}},
}
VECTORS: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"input": "hi"},
    "/embedding": {"content": "hi"},
    "/api/embed": {"input": "hi"},
    "/api/embeddings": {"prompt": "hi"},
}


@pytest.mark.parametrize("path", REQUESTS)
@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_what_is_wanted_of_a_full_context_is_said_by_header_or_field(front: FakeFront, *, path: str) -> None:
    wishes: list[ContextWish | None] = []
    front.services.serving.requests.ended.add(lambda running: wishes.append(running.generation.request.context))
    body = {"model": "m", **REQUESTS[path]}
    said = body | {"mlxr": {"context": "wind"}}
    for each, headers in (
        (body, {}),
        (said, {}),
        (body, {"X-Mlxr-Context": "wind"}),
        (said, {"X-Mlxr-Context": "error"}),
    ):
        answer = await front.client.post(path, json=each, headers=headers)
        assert answer.status_code == 200, answer.text
    assert wishes == [None, ContextWish(mode="wind"), ContextWish(mode="wind"), ContextWish(mode="error")]
    refused = await front.client.post(path, json=body | {"mlxr": {"context": "cut"}})
    assert refused.status_code == 400
    assert "mlxr.context" in refused.text


@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_what_is_made_of_a_conversation_is_stored_where_that_is_and_goes_with_it(front: FakeFront) -> None:
    asked: list[GenerationRequest] = []
    front.services.serving.requests.ended.add(lambda running: asked.append(running.generation.request))

    async def respond(**body: Any) -> str:
        answer = await front.client.post("/v1/responses", json={"model": "m", "input": "hi", **body})
        assert answer.status_code == 200, answer.text
        found: str = answer.json()["id"]
        return found

    first = await respond()
    second = await respond(previous_response_id=first)
    await respond(previous_response_id=second, store=False)
    kept = (await front.client.post("/v1/conversations", json={})).json()["id"]
    await respond(conversation=kept)
    await respond(store=False)
    await front.chat()
    await front.chat(store=False)
    places = [(request.kept_in, request.is_stored) for request in asked]
    chain = [(first, True), (first, True), (first, False)]
    assert places == [*chain, (kept, True), (None, False), (None, True), (None, False)]


@pytest.mark.parametrize("path", [*WITHOUT_TURNS, *VECTORS])
@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_what_has_no_turns_cannot_be_wound(front: FakeFront, *, path: str) -> None:
    body = {"model": "m", **(WITHOUT_TURNS | VECTORS)[path]}
    by_header = await front.client.post(path, json=body, headers={"X-Mlxr-Context": "wind"})
    assert by_header.status_code == 400
    assert "X-Mlxr-Context: only conversations have older turns" in by_header.text
    if path in WITHOUT_TURNS:
        by_field = await front.client.post(path, json=body | {"mlxr": {"context": "wind"}})
        assert by_field.status_code == 400
        assert "mlxr.context: only conversations have older turns" in by_field.text
    if path not in {"/infill", *VECTORS}:  # which the fake model does not know
        assert (await front.client.post(path, json=body, headers={"X-Mlxr-Context": "error"})).status_code == 200


@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_responses_say_it_by_their_own_fields(front: FakeFront) -> None:
    wishes: list[ContextWish | None] = []
    front.services.serving.requests.ended.add(lambda running: wishes.append(running.generation.request.context))
    body = {"model": "m", "input": "hi", "max_output_tokens": 16}
    compaction = {"context_management": [{"type": "compaction", "compact_threshold": 5000}]}
    for each, headers in (
        ({"truncation": "wind"}, {}),
        ({"truncation": "disabled"}, {}),
        ({"truncation": "auto"}, {}),
        (compaction, {}),
        (compaction | {"truncation": "disabled"}, {"X-Mlxr-Context": "wind"}),
        (compaction, {"X-Mlxr-Context": "error"}),
    ):
        answer = await front.client.post("/v1/responses", json=body | each, headers=headers)
        assert answer.status_code == 200, answer.text
    above = ContextWish(mode="wind", threshold=5000)
    wind, error = ContextWish(mode="wind"), ContextWish(mode="error")
    assert wishes == [wind, error, None, above, above, error]
    assert (await front.client.post("/v1/responses", json=body | {"truncation": "wind"})).json()["truncation"] == "wind"
    unknown = body | {"context_management": [{"type": "forget"}]}
    refused = await front.client.post("/v1/responses", json=unknown)
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "context_management[0].type"
