"""What is kept, looked up, gone on from and forgotten, over HTTP on the fake engine."""

import asyncio
from typing import Any

import httpx
import msgspec

from backends.fake.engine import FakeOptions
from backends.wire.prompts import ChatPrompt, PromptMessage
from router.config import Config, ConversationsConfig
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

PATH = "/v1/responses"
SHORT = FakeOptions(answer_tokens=6)


def keeping(**limits: Any) -> Config:
    return msgspec.structs.replace(make_config(), conversations=ConversationsConfig(**limits))


async def respond(front: FakeFront, text: str, **fields: Any) -> Any:
    response = await front.client.post(PATH, json={"model": "m", "input": text, "temperature": 0} | fields)
    assert response.status_code == 200, response.text
    return response.json()


def text_of(body: Any) -> str:
    return "".join(part["text"] for item in body["output"] for part in item["content"])


async def messages_given(front: FakeFront, send: Any) -> list[PromptMessage]:
    """Return the conversation that a request puts in, as the template is given it."""
    front.fleet.hold("decode")
    task = asyncio.ensure_future(send)
    await front.fleet.until(lambda: bool(front.running), "it runs")
    (prompt,) = front.running[-1].generation.request.prompts
    assert isinstance(prompt, ChatPrompt)
    front.fleet.let_go("decode")
    await task
    return prompt.messages


@with_front(llamacpp=SHORT)
async def test_a_response_is_got_as_it_was_given(front: FakeFront) -> None:
    body = await respond(front, "hi", metadata={"a": "b"})
    found = await front.client.get(f"{PATH}/{body['id']}")
    assert found.json() == body
    assert (body["status"], body["store"], body["metadata"]) == ("completed", True, {"a": "b"})


@with_front(llamacpp=SHORT)
async def test_three_turns_put_in_what_was_said_and_use_the_cache(front: FakeFront) -> None:
    first = await respond(front, "one", instructions="Be brief.")
    second = await respond(front, "two", previous_response_id=first["id"])
    third = front.client.post(
        PATH, json={"model": "m", "input": "three", "temperature": 0, "previous_response_id": second["id"]}
    )
    # Instructions are not inherited.
    assert await messages_given(front, third) == [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": text_of(first)},
        {"role": "user", "content": "two"},
        {"role": "assistant", "content": text_of(second)},
        {"role": "user", "content": "three"},
    ]
    assert second["previous_response_id"] == first["id"]
    fourth = await respond(front, "four", previous_response_id=second["id"])
    assert fourth["usage"]["input_tokens_details"]["cached_tokens"] > 0


@with_front(llamacpp=SHORT)
async def test_a_stream_is_kept_as_a_whole_answer_is(front: FakeFront) -> None:
    whole = await respond(front, "hi")
    stream = await front.client.post(PATH, json={"model": "m", "input": "hi", "temperature": 0, "stream": True})
    final = msgspec.json.decode(stream.text.strip().split("\n\n")[-1].partition("data: ")[2])["response"]
    assert text_of(final) == text_of(whole)
    assert (await front.client.get(f"{PATH}/{final['id']}")).json() == final


@with_front(llamacpp=SHORT)
async def test_a_chat_and_a_response_give_the_same_text(front: FakeFront) -> None:
    body = await respond(front, "hi", max_output_tokens=6)
    chat = (await front.chat()).json()
    assert text_of(body) == chat["choices"][0]["message"]["content"]
    assert body["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]


@with_front(llamacpp=SHORT)
async def test_store_false_keeps_nothing(front: FakeFront) -> None:
    body = await respond(front, "hi", store=False)
    assert body["store"] is False
    for look in (front.client.get, front.client.delete):
        assert (await look(f"{PATH}/{body['id']}")).status_code == 404
    again = {"model": "m", "input": "x", "previous_response_id": body["id"]}
    refused = await front.client.post(PATH, json=again)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "previous_response_not_found")


@with_front(llamacpp=SHORT)
async def test_a_deleted_response_is_not_there_any_more(front: FakeFront) -> None:
    body = await respond(front, "hi")
    deleted = await front.client.delete(f"{PATH}/{body['id']}")
    assert deleted.json() == {"id": body["id"], "object": "response", "deleted": True}
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/input_items"),
        ("POST", "/cancel"),
        ("GET", "?stream=true"),
    ):
        answer = await front.client.request(method, f"{PATH}/{body['id']}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "response_not_found"), path


@with_front(llamacpp=SHORT)
async def test_input_items_are_listed_in_pages(front: FakeFront) -> None:
    first = await respond(front, "one")
    second = await respond(front, "two", previous_response_id=first["id"])
    path = f"{PATH}/{second['id']}/input_items"

    async def page(query: str) -> Any:
        return (await front.client.get(path + query)).json()

    everything = await page("?order=asc")
    ids = [item["id"] for item in everything["data"]]
    assert [item["content"][0]["text"] for item in everything["data"]] == ["one", text_of(first), "two"]
    assert ids[1] == first["output"][0]["id"]
    assert (everything["first_id"], everything["last_id"], everything["has_more"]) == (ids[0], ids[2], False)
    assert [item["id"] for item in (await page(""))["data"]] == ids[::-1]
    begin = await page("?order=asc&limit=2")
    assert ([item["id"] for item in begin["data"]], begin["has_more"]) == (ids[:2], True)
    rest = await page(f"?order=asc&limit=2&after={ids[1]}")
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (ids[2:], False)
    assert (await page(f"?order=asc&after={ids[2]}"))["data"] == []


@with_front(llamacpp=SHORT)
async def test_an_item_can_be_meant_by_its_id(front: FakeFront) -> None:
    first = await respond(front, "one")
    reference = {"type": "item_reference", "id": first["output"][0]["id"]}
    sent = [{"role": "user", "content": "one"}, reference, {"role": "user", "content": "two"}]
    request = front.client.post(PATH, json={"model": "m", "input": sent, "temperature": 0})
    assert (await messages_given(front, request))[1] == {"role": "assistant", "content": text_of(first)}


@with_front(llamacpp=SHORT, config=keeping(max_bytes=6000))
async def test_the_oldest_conversations_go_when_there_is_too_much(front: FakeFront) -> None:
    ids = [(await respond(front, f"turn {number} " + "x" * 300))["id"] for number in range(6)]
    found = [(await front.client.get(f"{PATH}/{each}")).status_code for each in ids]
    assert found[0] == 404
    assert found[-1] == 200
    assert found == sorted(found, reverse=True)


@with_front(llamacpp=SHORT, config=keeping(max_bytes=0))
async def test_where_nothing_is_kept_answers_say_so_and_nothing_is_promised(front: FakeFront) -> None:
    assert (await respond(front, "hi"))["store"] is False
    for fields in ({"store": True}, {"background": True}):
        refused = await front.client.post(PATH, json={"model": "m", "input": "hi"} | fields)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "store_unavailable")


@with_front(llamacpp=SHORT, config=keeping(max_age_s=0.000001))
async def test_what_is_too_old_is_gone(front: FakeFront) -> None:
    body = await respond(front, "hi")
    assert (await front.client.get(f"{PATH}/{body['id']}")).status_code == 404


@with_front(llamacpp=FakeOptions(answer_tokens=30, fail_at_token=5))
async def test_a_stream_that_fails_is_kept_as_failed(front: FakeFront) -> None:
    stream = await front.client.post(PATH, json={"model": "m", "input": "hi", "temperature": 0, "stream": True})
    assert stream.status_code == 200
    event = msgspec.json.decode(stream.text.strip().split("\n\n")[-1].partition("data: ")[2])
    assert event["type"] == "response.failed"
    assert "fake failure" in event["response"]["error"]["message"]
    found = (await front.client.get(f"{PATH}/{event['response']['id']}")).json()
    assert found == event["response"]
    assert found["status"] == "failed"
    assert text_of(found)


@with_front(llamacpp=SHORT)
async def test_errors_before_the_stream_are_plain_answers(front: FakeFront) -> None:
    long = {"model": "m", "input": "x" * 9000, "stream": True}
    refused = await front.client.post(PATH, json=long)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", "input")


@with_front(llamacpp=FakeOptions(answer_tokens=6, context_length=200))
async def test_truncation_drops_the_oldest_turns_whole(front: FakeFront) -> None:
    turns = [{"role": "user", "content": f"{number}" + "x" * 39} for number in range(6)]
    body = {"model": "m", "input": turns, "instructions": "Be brief.", "temperature": 0, "max_output_tokens": 6}
    refused = await front.client.post(PATH, json=body)
    assert refused.json()["error"]["code"] == "context_length_exceeded"
    messages = await messages_given(front, front.client.post(PATH, json=body | {"truncation": "auto"}))
    assert messages[0] == {"role": "system", "content": "Be brief."}
    assert [str(message["content"])[0] for message in messages[1:]] == ["3", "4", "5"]
    alone = body | {"input": "x" * 300, "truncation": "auto"}
    assert (await front.client.post(PATH, json=alone)).json()["error"]["code"] == "context_length_exceeded"


@with_front(llamacpp=SHORT)
async def test_tokens_are_counted_with_the_conversation(front: FakeFront) -> None:
    first = await respond(front, "one")

    async def count(**fields: Any) -> int:
        answer = await front.client.post(f"{PATH}/input_tokens", json={"model": "m", "input": "two"} | fields)
        assert answer.json()["object"] == "response.input_tokens"
        return int(answer.json()["input_tokens"])

    second = await respond(front, "two", previous_response_id=first["id"])
    assert await count(previous_response_id=first["id"]) == second["usage"]["input_tokens"] > await count()


@with_front(config=make_config(reattach_s=60))
async def test_a_request_that_is_sent_again_gets_the_answer_that_runs_for_it(front: FakeFront) -> None:
    content = msgspec.json.encode({"model": "m", "input": "hi", "max_output_tokens": 40})
    front.fleet.hold("decode")
    first = asyncio.create_task(front.client.post(PATH, content=content))
    await front.fleet.until(lambda: bool(front.running), "it runs")
    running = front.running[-1]
    first.cancel()
    await front.fleet.until(lambda: not running.has_reader, "its client is gone")
    front.fleet.let_go("decode")
    again: httpx.Response = await front.client.post(PATH, content=content)
    assert again.headers["x-request-id"] == running.facts.request_id == again.json()["id"]
    assert (await front.client.get(f"{PATH}/{again.json()['id']}")).status_code == 200
