"""OpenAI's own client with conversations, which holds answers to its types: all of its calls, and answers in them."""

from typing import Any

import httpx
import openai
import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

SHORT = FakeOptions(answer_tokens=6)


def client_of(front: FakeFront) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=f"{front.client.base_url}/v1/", api_key="x", max_retries=0, _strict_response_validation=True
    )


def said(text: str) -> Any:
    return {"role": "user", "content": text}


def texts(items: Any) -> list[str]:
    return [item.content[0].text for item in items]


@with_front(llamacpp=SHORT)
async def test_a_conversation_is_made_changed_and_deleted(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create(items=[said("one")], metadata={"topic": "a"})
        assert made.id.startswith("conv_")
        assert (await client.conversations.retrieve(made.id)).metadata == {"topic": "a"}
        changed = await client.conversations.update(made.id, metadata={"topic": "b"})
        assert changed == await client.conversations.retrieve(made.id)
        assert changed.metadata == {"topic": "b"}
        gone = await client.conversations.delete(made.id)
        assert (gone.id, gone.object, gone.deleted) == (made.id, "conversation.deleted", True)
        with pytest.raises(openai.NotFoundError, match="not found"):
            await client.conversations.retrieve(made.id)


@with_front(llamacpp=SHORT)
async def test_items_are_added_listed_in_pages_and_deleted(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        items = client.conversations.items
        added = await items.create(made.id, items=[said(str(number)) for number in range(5)])
        ids: list[Any] = [item.id for item in added.data]
        assert (added.first_id, added.last_id, added.has_more) == (ids[0], ids[-1], False)
        page: Any = await items.list(made.id, limit=2, order="asc")
        assert [item.id async for item in page] == ids
        newest: Any = await items.list(made.id)
        assert texts(newest.data) == ["4", "3", "2", "1", "0"]
        found: Any = await items.retrieve(ids[2], conversation_id=made.id)
        assert found == added.data[2]
        left = await items.delete(ids[2], conversation_id=made.id)
        assert left.id == made.id
        rest: Any = await items.list(made.id, order="asc")
        assert texts(rest.data) == ["0", "1", "3", "4"]
        with pytest.raises(openai.NotFoundError) as refused:
            await items.retrieve(ids[2], conversation_id=made.id)
        assert refused.value.code == "item_not_found"


@with_front(llamacpp=SHORT)
async def test_answers_go_on_with_what_was_said_and_become_a_part_of_it(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create(items=[said("one")])
        first: Any = await client.responses.create(model="m", input="two", conversation=made.id)
        second: Any = await client.responses.create(model="m", input="three", conversation={"id": made.id})
        listed: Any = await client.conversations.items.list(made.id, order="asc")
        assert texts(listed.data) == ["one", "two", first.output_text, "three", second.output_text]
        assert listed.data[2].id == first.output[0].id
        assert first.conversation.id == made.id
        assert second.usage.input_tokens_details.cached_tokens > 0
        # The response itself can be looked up as any other.
        assert (await client.responses.retrieve(first.id)).output_text == first.output_text


@with_front(llamacpp=SHORT)
async def test_a_stream_ends_with_the_same_items_as_the_conversation_has(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        async with client.responses.stream(model="m", input="hi", conversation=made.id) as stream:
            final = await stream.get_final_response()
        listed: Any = await client.conversations.items.list(made.id)
        answer: Any = final.output[0]
        assert listed.data[0].id == answer.id
        assert texts(listed.data) == [final.output_text, "hi"]
        assert [item.status for item in listed.data] == ["completed", "completed"]


@with_front(llamacpp=SHORT)
async def test_an_answer_from_an_earlier_item_is_another_branch(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        first: Any = await client.responses.create(model="m", input="one", conversation=made.id)
        listed: Any = await client.conversations.items.list(made.id, order="asc")
        asked = listed.data[0].id
        place: Any = {"id": made.id, "after": asked}
        again: Any = await client.responses.create(model="m", input=[], conversation=place, temperature=1)
        listed = await client.conversations.items.list(made.id, order="asc")
        assert [item.id for item in listed.data] == [asked, again.output[0].id]
        # The first answer is still there, on its own branch.
        kept: Any = await client.conversations.items.retrieve(first.output[0].id, conversation_id=made.id)
        assert texts([kept]) == [first.output_text]
        beginning: Any = {"id": made.id, "after": None}
        await client.responses.create(model="m", input="other", conversation=beginning)
        listed = await client.conversations.items.list(made.id, order="asc")
        assert texts(listed.data)[0] == "other"
        assert len(listed.data) == 2


async def create(front: FakeFront, **body: Any) -> httpx.Response:
    return await front.client.post("/v1/responses", json={"model": "m", "input": "x"} | body)


@with_front(llamacpp=SHORT)
async def test_what_cannot_be_is_refused_and_leaves_nothing(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        missing = await create(front, conversation="conv_none")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "conversation_not_found")
        nowhere = await create(front, conversation={"id": made.id, "after": "msg_none"})
        assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "item_not_found")
        both = await create(front, conversation=made.id, previous_response_id="resp_1")
        assert (both.status_code, both.json()["error"]["param"]) == (400, "previous_response_id")
        too_long = await create(front, conversation=made.id, input="x" * 9000)
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert (await client.conversations.items.list(made.id)).data == []
        answer: Any = await client.responses.create(model="m", input="one", conversation=made.id)
        on = await create(front, previous_response_id=answer.id)
        assert (on.status_code, made.id in on.json()["error"]["message"]) == (400, True)


@with_front(llamacpp=SHORT)
async def test_store_false_reads_a_conversation_and_leaves_nothing_in_it(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create(items=[said("one")])
        answer: Any = await client.responses.create(model="m", input="two", conversation=made.id, store=False)
        assert answer.usage.input_tokens > len("two")
        assert texts((await client.conversations.items.list(made.id)).data) == ["one"]


@with_front(llamacpp=FakeOptions(answer_tokens=40))
async def test_what_is_asked_is_there_before_the_answer_and_what_is_being_written_is_not_gone_on_from(
    front: FakeFront,
) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        front.fleet.hold("token-3")
        running = await client.responses.create(model="m", input="one", conversation=made.id, background=True)
        await front.fleet.until(lambda: bool(front.running) and front.running[0].generation.has_output, "it answers")
        items: Any = await client.conversations.items.list(made.id, order="asc")
        assert texts(items.data)[0] == "one"
        busy = await create(front, conversation=made.id)
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, "conversation_locked")
        await client.responses.cancel(running.id)
        front.fleet.let_go("token-3")
        items = await client.conversations.items.list(made.id, order="asc")
        assert texts(items.data)[0] == "one"
        assert [item.status for item in items.data] == ["completed", "incomplete"]
        assert items.data[1].content[0].text
        assert (await create(front, conversation=made.id)).status_code == 200


@with_front(llamacpp=FakeOptions(answer_tokens=40))
async def test_a_client_that_leaves_loses_nothing_that_has_come(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        front.fleet.hold("token-3")
        stream = await client.responses.create(model="m", input="one", conversation=made.id, stream=True)
        event: Any
        async for event in stream:
            if event.type == "response.output_text.delta":
                break
        await stream.close()
        await front.fleet.until(lambda: not front.running[0].has_reader, "it is alone")
        front.running[0].cancel()
        front.fleet.let_go("token-3")
        items: Any = await client.conversations.items.list(made.id, order="asc")
        assert [item.status for item in items.data] == ["completed", "incomplete"]
        assert items.data[1].content[0].text.startswith(event.delta)


@with_front(llamacpp=FakeOptions(answer_tokens=40))
async def test_a_conversation_that_is_deleted_in_mid_answer_is_gone_with_the_answer(front: FakeFront) -> None:
    async with client_of(front) as client:
        made = await client.conversations.create()
        front.fleet.hold("token-3")
        running = await client.responses.create(model="m", input="one", conversation=made.id, background=True)
        await front.fleet.until(lambda: bool(front.running) and front.running[0].generation.has_output, "it answers")
        await client.conversations.delete(made.id)
        front.fleet.let_go("token-3")
        await front.fleet.until(lambda: not front.running, "it has ended")
        await front.fleet.until(lambda: not front.services.jobs.is_busy, "its job has")
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(running.id)


@pytest.mark.parametrize("path", ["/v1/conversations/conv_1", "/v1/conversations/conv_1/items"])
@with_front(llamacpp=SHORT)
async def test_pages_of_other_programs_may_not_look(front: FakeFront, path: str) -> None:
    own = str(front.client.base_url).rstrip("/")
    for origin, status in (("http://127.0.0.1:1", 403), ("http://localhost:3000", 403), (own, 404), (None, 404)):
        headers = {} if origin is None else {"Origin": origin}
        answer = await front.client.get(path, headers=headers)
        assert answer.status_code == status, origin


@with_front(llamacpp=SHORT)
async def test_pictures_calls_and_thoughts_come_back_as_they_were_sent(front: FakeFront) -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    sent: Any = [
        {"role": "user", "content": [{"type": "input_image", "image_url": url, "detail": "auto"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "seen"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]
    async with client_of(front) as client:
        made = await client.conversations.create(items=sent)
        listed: Any = await client.conversations.items.list(made.id, order="asc")
        kinds = [item.type for item in listed.data]
        assert kinds == ["message", "reasoning", "function_call", "function_call_output"]
        assert listed.data[0].content[0].image_url == url
        assert (listed.data[2].arguments, listed.data[3].output) == ("{}", "seen")


@with_front(llamacpp=SHORT)
async def test_answers_over_a_websocket_become_a_part_of_it_too(front: FakeFront) -> None:
    async with client_of(front) as client, client.responses.connect() as connection:
        opened: Any = connection
        made = await client.conversations.create()
        await opened.response.create(model="m", input="one", conversation=made.id)
        async for event in opened:
            if event.type == "response.completed":
                break
        listed: Any = await client.conversations.items.list(made.id, order="asc")
        assert texts(listed.data) == ["one", event.response.output_text]
