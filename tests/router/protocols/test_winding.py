"""Conversations that fill their context, in each protocol, over HTTP and with real workers of the fake engine."""

import itertools
import json
from typing import Any

import httpx
import pytest

from backends.fake.engine import FakeOptions
from router.protocols.fields.carried import carried_context
from tests.support.fake_openai import FakeFront, with_front

CONTEXT_LENGTH = 2048
ENGINE = FakeOptions(
    context_length=CONTEXT_LENGTH, answers=(("Summarize", "Facts\n- The port is 4711."), ("", "Done."))
)
NARRATIVE = "Facts\n- The port is 4711."
LOREM = "The harbour lies in the north, and ships come in every day but Sunday. " * 3


def talk(num_turns: int, **last: Any) -> list[dict[str, Any]]:
    """Return a conversation; a turn has some 430 tokens."""
    said = [
        message
        for number in range(num_turns)
        for message in (
            {"role": "user", "content": f"{number}: {LOREM}"},
            {"role": "assistant", "content": f"{number}. {LOREM}"},
        )
    ]
    return [*said, {"role": "user", "content": "And now?", **last}]


async def compact(front: FakeFront, **body: Any) -> dict[str, Any]:
    answer = await front.client.post("/v1/responses/compact", json={"model": "m", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def respond(front: FakeFront, **body: Any) -> dict[str, Any]:
    answer = await front.client.post("/v1/responses", json={"model": "m", "max_output_tokens": 16, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def events_of(stream: httpx.Response) -> list[Any]:
    """Return the data of a stream's events."""
    return [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]


def shown_texts(asked: list[Any]) -> list[str]:
    return [str(message["content"]) for message in asked[-1].prompts[0].messages]


@with_front(llamacpp=ENGINE)
async def test_a_response_is_compacted_and_gone_on_from(front: FakeFront) -> None:
    compacted = await compact(front, input=talk(6), instructions="Be brief.")
    assert compacted["object"] == "response.compaction"
    *users, item = compacted["output"]
    assert [each["role"] for each in users] == ["user"] * 7
    assert item["type"] == "compaction"
    assert item["wound"]["turns"] > 0
    assert compacted["usage"]["input_tokens"] > CONTEXT_LENGTH
    assert compacted["usage"]["output_tokens"] == len(NARRATIVE)
    asked: list[Any] = []
    front.services.serving.requests.ended.add(lambda running: asked.append(running.generation.request))
    after = {"role": "user", "content": "Which port?"}
    for output in (compacted["output"], [item]):
        answer = await respond(front, input=[*output, after], instructions="Be brief.")
        assert answer["output"][0]["content"][0]["text"] == "Done."
        texts = shown_texts(asked)
        assert texts[0] == "Be brief."
        assert NARRATIVE in texts[1]
        assert texts[-1] == "Which port?"
        assert sum(len(text) for text in texts) < CONTEXT_LENGTH


@with_front(llamacpp=ENGINE)
async def test_what_is_short_already_is_compacted_to_itself(front: FakeFront) -> None:
    compacted = await compact(front, input="hi")
    user, item = compacted["output"]
    assert user["content"][0]["text"] == "hi"
    assert carried_context(item["encrypted_content"], "x").put_behind([]) == [{"role": "user", "content": "hi"}]
    assert compacted["usage"]["total_tokens"] == 0


@with_front(llamacpp=ENGINE)
async def test_a_threshold_compacts_what_the_context_would_hold(front: FakeFront) -> None:
    sent = talk(3)
    plain = await respond(front, input=sent, truncation="wind")
    assert "wound" not in plain["timings"]["context"]
    managed = {"context_management": [{"type": "compaction", "compact_threshold": 1000}]}
    item, message = (await respond(front, input=sent, **managed))["output"]
    assert (item["type"], message["type"]) == ("compaction", "message")
    again = await respond(front, input=[*sent, item, message, {"role": "user", "content": "Go on."}], **managed)
    assert again["output"][0]["type"] == "message", "it is short now"
    stream = await front.client.post(
        "/v1/responses", json={"model": "m", "input": sent, "max_output_tokens": 16, "stream": True, **managed}
    )
    events = events_of(stream)
    told = next(number for number, event in enumerate(events) if "context_wound" in event)
    assert events[told + 1]["type"] == "response.output_item.added"
    assert events[told + 1]["item"]["type"] == "compaction"


@with_front(llamacpp=ENGINE)
async def test_what_is_kept_says_where_it_was_wound_and_keeps_all(front: FakeFront) -> None:
    first = await respond(front, input=talk(6), truncation="wind")
    assert first["timings"]["context"]["wound"]
    listed = (await front.client.get(f"/v1/responses/{first['id']}/input_items?order=asc&limit=50")).json()["data"]
    assert [each["type"] for each in listed] == ["message"] * 13 + ["compaction"]
    assert listed[-1]["context_id"] == first["timings"]["context"]["id"]
    second = await respond(front, input="Go on.", previous_response_id=first["id"], truncation="wind")
    assert second["timings"]["context"]["id"] == first["timings"]["context"]["id"]
    listed = (await front.client.get(f"/v1/responses/{second['id']}/input_items?order=asc&limit=50")).json()["data"]
    assert [each["type"] for each in listed].count("compaction") == 1, "it is told once"


@with_front(llamacpp=ENGINE)
async def test_a_kept_conversation_has_the_wind_as_an_item(front: FakeFront) -> None:
    key = (await front.client.post("/v1/conversations", json={"items": talk(6)})).json()["id"]
    answer = await respond(front, input="Go on.", conversation=key, truncation="wind")
    assert answer["timings"]["context"]["wound"]
    assert [item["type"] for item in answer["output"]] == ["message"]
    items = (await front.client.get(f"/v1/conversations/{key}/items?order=asc&limit=50")).json()["data"]
    assert [item["type"] for item in items[-3:]] == ["message", "compaction", "message"]
    assert len(items) == 13 + 3
    again = await respond(front, input="And then?", conversation=key, truncation="wind")
    assert again["timings"]["context"]["id"] == answer["timings"]["context"]["id"]
    items = (await front.client.get(f"/v1/conversations/{key}/items?order=asc&limit=50")).json()["data"]
    assert [item["type"] for item in items].count("compaction") == 1
    markdown = (await front.client.get(f"/v1/mlxr/conversations/{key}/export?format=markdown")).text
    assert "*From here on the model saw a summary of the first" in markdown
    assert f"```\n{NARRATIVE}\n```" in markdown
    exported = await front.client.get(f"/v1/mlxr/conversations/{key}/export?format=jsonl")
    line = json.loads(exported.text.splitlines()[1])
    assert line["narratives"] == {items[-4]["id"]: NARRATIVE}
    assert (await front.client.get("/v1/mlxr/conversations/export")).text == exported.text
    await front.client.delete(f"/v1/mlxr/contexts/{answer['timings']['context']['id']}")
    assert NARRATIVE not in (await front.client.get("/v1/mlxr/conversations/export")).text
    await front.client.delete(f"/v1/conversations/{key}")
    report = (await front.client.post("/v1/mlxr/conversations/import", content=exported.content)).json()
    assert (report["num_imported"], report["num_failed"]) == (1, 0), report
    (back,) = (await front.client.get("/v1/mlxr/conversations")).json()["conversations"]
    tree = (await front.client.get(f"/v1/mlxr/conversations/{back['id']}")).json()
    assert [each["item"]["type"] for each in tree["items"]].count("compaction") == 1


@with_front(llamacpp=ENGINE)
async def test_auto_winds_where_that_is_the_models_setting_and_drops_turns_elsewhere(front: FakeFront) -> None:
    sent = talk(6)
    dropped = await respond(front, input=sent, truncation="auto")
    assert "context" not in dropped["timings"]
    setting = {"model": "m", "set": {"context": "wind"}}
    (await front.client.patch("/v1/mlxr/models/settings", json=setting)).raise_for_status()
    wound = await respond(front, input=sent, truncation="auto")
    assert wound["timings"]["context"]["wound"]
    plain = await respond(front, input=sent)
    assert plain["timings"]["context"]["id"] == wound["timings"]["context"]["id"]
    answer = await front.client.post("/v1/responses", json={"model": "m", "input": sent, "truncation": "disabled"})
    assert answer.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("is_stream", [False, True])
@with_front(llamacpp=ENGINE)
async def test_anthropics_compaction_block_is_sent_back(front: FakeFront, *, is_stream: bool) -> None:
    edits = {"edits": [{"type": "compact_20260112", "instructions": "Heed the port."}]}
    body = {"model": "m", "max_tokens": 16, "context_management": edits, "stream": is_stream}
    answer = await front.client.post("/v1/messages", json={**body, "messages": talk(6)})
    assert answer.status_code == 200, answer.text
    if is_stream:
        events = events_of(answer)
        block = next(event["delta"] for event in events if event.get("delta", {}).get("type") == "compaction_delta")
        block = {**block, "type": "compaction"}
    else:
        block, text = answer.json()["content"]
        assert text["text"] == "Done."
    assert block["content"] == NARRATIVE
    history = [
        {"role": "assistant", "content": [block, {"type": "text", "text": "Done."}]},
        {"role": "user", "content": "Go on."},
    ]
    again = await front.client.post("/v1/messages", json={**body, "messages": [*talk(6), *history], "stream": False})
    assert again.status_code == 200, again.text
    assert [each["type"] for each in again.json()["content"]] == ["text"]
    assert "wound" not in again.json()["mlxr"]["context"]


@pytest.mark.parametrize("is_stream", [False, True])
@with_front(llamacpp=ENGINE)
async def test_a_conversation_is_compacted_instead_of_answered(front: FakeFront, *, is_stream: bool) -> None:
    said = [*talk(6), {"role": "assistant", "content": "The port is 4711."}]
    body = {"model": "m", "max_tokens": 500, "messages": said, "stream": is_stream}
    asked = {**body, "compaction": {"type": "summarize", "instructions": "Heed the port."}}
    answer = await front.client.post("/v1/messages", json=asked)
    assert answer.status_code == 200, answer.text
    if is_stream:
        events = events_of(answer)
        kinds = [event["type"] for event in events]
        blocks = ["content_block_start", "content_block_delta", "content_block_stop"]
        assert kinds == ["message_start", "context_wound", *blocks, "message_delta", "message_stop"]
        block, end = {**events[3]["delta"], "type": "compaction"}, events[5]["delta"]
    else:
        (block,), end = answer.json()["content"], answer.json()
        assert answer.json()["usage"]["output_tokens"] == len(NARRATIVE)
    assert (block["content"], end["stop_reason"]) == (NARRATIVE, "compaction")
    carried = carried_context(block["encrypted_content"], "x").put_behind([])
    assert "4711" in str(carried)
    after = [{"role": "assistant", "content": [block]}, {"role": "user", "content": "Go on."}]
    again = await front.client.post("/v1/messages", json={**body, "messages": after, "stream": False})
    assert again.status_code == 200, again.text
    assert sum(again.json()["usage"][name] for name in ("input_tokens", "cache_read_input_tokens")) < 1000
    both = asked | {"context_management": {"edits": []}}
    refused = await front.client.post("/v1/messages", json=both)
    assert refused.status_code == 400
    counted = {name: value for name, value in asked.items() if name not in {"max_tokens", "stream"}}
    assert (await front.client.post("/v1/messages/count_tokens", json=counted)).status_code == 200


@with_front(llamacpp=ENGINE)
async def test_a_whole_answer_says_it_in_its_header(front: FakeFront) -> None:
    body = {"model": "m", "messages": talk(6), "max_tokens": 16}
    answer = await front.client.post("/v1/chat/completions", json=body, headers={"X-Mlxr-Context": "wind"})
    context = answer.json()["timings"]["context"]
    wound = context["wound"]
    assert answer.headers["x-mlxr-context-wound"] == (
        f"turns={wound['turns']}; before={wound['tokens_before']}; after={wound['tokens_after']}; id={context['id']}"
    )


@with_front(llamacpp=ENGINE)
async def test_ollamas_tokens_go_on_as_text_where_they_do_not_fit(front: FakeFront) -> None:
    body: dict[str, Any] = {
        "model": "m",
        "system": "Be brief.",
        "prompt": f"The port is 4711. {LOREM}",
        "stream": False,
        "options": {"num_predict": 16},
    }
    context: list[int] = []
    sizes = []
    for _ in range(12):
        answer = await front.client.post(
            "/api/generate", json=body | {"context": context}, headers={"X-Mlxr-Context": "wind"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.json()["response"] == "Done."
        context = answer.json()["context"]
        sizes.append(len(context))
        body.pop("system", None)
    assert max(sizes) <= CONTEXT_LENGTH
    assert sum(after < before for before, after in itertools.pairwise(sizes)) >= 1, "it was wound"
    refused = await front.client.post("/api/generate", json=body | {"context": context * 3})
    assert refused.status_code == 400
