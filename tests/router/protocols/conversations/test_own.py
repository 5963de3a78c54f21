"""mlxr's own routes of kept conversations: lists, search, branches, exports, deleting all, over HTTP."""

from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

ALL = "/v1/mlxr/conversations"
SHORT = FakeOptions(answer_tokens=6)


async def make(front: FakeFront, *texts: str) -> str:
    items = [{"role": "user", "content": text} for text in texts]
    made = await front.client.post("/v1/conversations", json={"items": items})
    assert made.status_code == 200, made.text
    return str(made.json()["id"])


async def ask(front: FakeFront, text: str, conversation: Any, **fields: Any) -> Any:
    body = {"model": "m", "input": text, "conversation": conversation, "temperature": 0} | fields
    answer = await front.client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def listed(front: FakeFront, query: str = "") -> Any:
    answer = await front.client.get(ALL + query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def change(front: FakeFront, key: str, **fields: Any) -> Any:
    answer = await front.client.patch(f"{ALL}/{key}", json=fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@with_front(llamacpp=SHORT)
async def test_the_last_one_used_comes_first_behind_the_pinned_ones(front: FakeFront) -> None:
    first, second, third = [await make(front, text) for text in ("one", "two", "three")]
    await ask(front, "again", second)
    await change(front, first, is_pinned=True)
    await change(front, third, is_archived=True)
    body = await listed(front)
    assert [entry["id"] for entry in body["conversations"]] == [first, second]
    assert [entry["title"] for entry in body["conversations"]] == ["one", "two"]
    assert [entry["id"] for entry in (await listed(front, "?archived=true"))["conversations"]] == [third]
    page = await listed(front, "?limit=1")
    assert ([entry["id"] for entry in page["conversations"]], page["has_more"]) == ([first], True)
    page = await listed(front, f"?limit=1&after={first}")
    assert ([entry["id"] for entry in page["conversations"]], page["has_more"]) == ([second], False)


@with_front(llamacpp=SHORT)
async def test_a_title_is_ones_own_until_it_is_taken_back(front: FakeFront) -> None:
    key = await make(front, "the first words")
    assert (await change(front, key, title="Mine"))["is_title_own"] is True
    entry = await change(front, key, title=None)
    assert (entry["title"], entry["is_title_own"]) == ("the first words", False)
    for body in ({"title": ""}, {"title": "x" * 201}, {"is_pinned": "yes"}):
        refused = await front.client.patch(f"{ALL}/{key}", json=body)
        assert refused.status_code == 400, body


@with_front(llamacpp=SHORT)
async def test_what_was_said_and_answered_is_found_with_its_place(front: FakeFront) -> None:
    key = await make(front, "where is the walrus")
    await make(front, "nothing here")
    answer = await ask(front, "tell me", key)
    (hit,) = (await listed(front, "?q=walrus"))["conversations"]
    assert (hit["id"], hit["snippet"]["item_id"]) == (key, None), "the title is its first words"
    assert ["walrus", True] in hit["snippet"]["parts"]
    text = answer["output"][0]["content"][0]["text"]
    (hit,) = (await listed(front, f'?q="{text}"'))["conversations"]
    assert hit["snippet"]["item_id"] == answer["output"][0]["id"]
    assert (await listed(front, "?q=unheard"))["conversations"] == []


@with_front(llamacpp=SHORT)
async def test_a_tree_has_all_branches_and_what_their_answers_took(front: FakeFront) -> None:
    key = await make(front)
    first = await ask(front, "one", key)
    tree = (await front.client.get(f"{ALL}/{key}")).json()
    asked = tree["items"][0]["item"]["id"]
    second = await ask(front, "", {"id": key, "after": asked}, input=[], temperature=1, seed=3)
    tree = (await front.client.get(f"{ALL}/{key}")).json()
    places = [(each["item"]["id"], each["parent_id"], each["is_output"]) for each in tree["items"]]
    one, two = first["output"][0]["id"], second["output"][0]["id"]
    assert places == [(asked, None, False), (one, asked, True), (two, asked, True)]
    assert [each["response_id"] for each in tree["items"]] == [first["id"], first["id"], second["id"]]
    assert tree["conversation"]["head_item_id"] == two
    facts = [(each["response_id"], each["status"], each["after_item_id"]) for each in tree["answers"]]
    assert facts == [(first["id"], "completed", asked), (second["id"], "completed", asked)]
    assert tree["answers"][0]["facts"]["timings"] == first["timings"]
    assert tree["answers"][0]["facts"]["usage"] == first["usage"]
    assert (await change(front, key, head_item_id=one))["head_item_id"] == one
    shown = (await front.client.get(f"/v1/conversations/{key}/items?order=asc")).json()
    assert [item["id"] for item in shown["data"]] == [asked, one]
    nowhere = await front.client.patch(f"{ALL}/{key}", json={"head_item_id": "msg_0"})
    assert (nowhere.status_code, nowhere.json()["error"]["code"]) == (404, "item_not_found")


@with_front(llamacpp=SHORT)
async def test_exports_have_everything_or_what_is_shown(front: FakeFront) -> None:
    key, other = await make(front, "one"), await make(front, "two")
    answer = await ask(front, "```\ncode\n```", key)
    everything = await front.client.get(f"{ALL}/export")
    assert everything.headers["content-disposition"] == 'attachment; filename="conversations.jsonl"'
    lines = [msgspec.json.decode(line) for line in everything.text.splitlines()]
    assert lines[0] == {"format": "mlxr-conversations", "version": 1}
    assert [line["conversation"]["id"] for line in lines[1:]] == [key, other]
    single = (await front.client.get(f"{ALL}/{key}/export")).text.splitlines()
    assert [msgspec.json.decode(line) for line in single] == lines[:2]
    tree = (await front.client.get(f"{ALL}/{key}")).json()
    assert lines[1] == tree
    markdown = await front.client.get(f"{ALL}/{key}/export?format=markdown")
    assert markdown.headers["content-type"].startswith("text/markdown")
    said = answer["output"][0]["content"][0]["text"]
    assert markdown.text == f"# one\n\n## You\n\none\n\n## You\n\n```\ncode\n```\n\n## Assistant\n\n{said}\n"
    assert (await front.client.get(f"{ALL}/{key}/export?format=pdf")).status_code == 400


@with_front(llamacpp=SHORT)
async def test_all_are_deleted_at_once_and_sizes_say_so(front: FakeFront) -> None:
    key = await make(front, "one")
    await make(front, "two")
    answer = await ask(front, "more", key)
    sizes = (await front.client.get(f"{ALL}/sizes")).json()
    assert (sizes["num_conversations"], sizes["num_items"], sizes["num_responses"]) == (2, 4, 1)
    assert sizes["file_bytes"] > sizes["num_bytes"] > 0
    assert (await front.client.delete(ALL)).json() == {"num_deleted": 2}
    sizes = (await front.client.get(f"{ALL}/sizes")).json()
    assert (sizes["num_conversations"], sizes["num_items"], sizes["num_responses"]) == (0, 0, 0)
    assert (await front.client.get(f"/v1/responses/{answer['id']}")).status_code == 404


@pytest.mark.parametrize("path", ["", "/sizes", "/export", "/conv_1", "/conv_1/export"])
@with_front(llamacpp=SHORT)
async def test_pages_of_other_programs_see_and_change_nothing(front: FakeFront, path: str) -> None:
    await make(front, "one")
    headers = {"Origin": "http://localhost:3000"}
    for method in ("GET", "DELETE", "PATCH"):
        answer = await front.client.request(method, ALL + path, headers=headers, json={})
        assert answer.status_code in {403, 405}, method
    assert (await front.client.get(ALL + path, headers=headers)).json()["error"]["code"] == "origin_not_allowed"
    assert len((await listed(front))["conversations"]) == 1


@with_front(llamacpp=SHORT)
async def test_pages_of_other_programs_ask_nothing_in_a_conversation_whose_id_they_know(front: FakeFront) -> None:
    key = await make(front, "one")
    answer = await ask(front, "two", key)
    before = (await front.client.get(f"{ALL}/{key}")).json()
    headers = {"Origin": "http://localhost:3000"}
    body = {"model": "m", "input": "three", "conversation": key}
    for path in ("/v1/responses", "/v1/responses/input_tokens"):
        refused = await front.client.post(path, headers=headers, json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    of_answer = f"/v1/responses/{answer['id']}"
    for path in (of_answer, f"{of_answer}/input_items"):
        assert (await front.client.get(path)).status_code == 200
        assert (await front.client.get(path, headers=headers)).status_code == 404
    refers = {"model": "m", "input": [{"type": "item_reference", "id": answer["output"][0]["id"]}]}
    assert (await front.client.post("/v1/responses", headers=headers, json=refers)).status_code == 400
    assert (await front.client.get(f"{ALL}/{key}")).json() == before
    # What it has asked itself is there for it.
    own = await front.client.post("/v1/responses", headers=headers, json={"model": "m", "input": "four"})
    assert (await front.client.get(f"/v1/responses/{own.json()['id']}", headers=headers)).status_code == 200


@with_front(llamacpp=SHORT)
async def test_what_was_exported_comes_back_with_its_branches_and_only_once(front: FakeFront) -> None:
    key = await make(front, "one")
    await ask(front, "two", key)
    await ask(front, "other", {"id": key, "after": None})
    await change(front, key, title="Mine", is_pinned=True)
    before = (await front.client.get(f"{ALL}/{key}")).json()
    exported = (await front.client.get(f"{ALL}/export")).content

    async def bring() -> Any:
        answer = await front.client.post(f"{ALL}/import", content=exported)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert await bring() == {"num_imported": 0, "num_known": 1, "num_failed": 0, "problems": []}
    await front.client.delete(ALL)
    assert (await bring())["num_imported"] == 1
    assert (await bring())["num_known"] == 1
    (entry,) = (await listed(front))["conversations"]
    after = (await front.client.get(f"{ALL}/{entry['id']}")).json()
    changed = {"id", "metadata", "updated_at"}
    assert {name: value for name, value in entry.items() if name not in changed} == {
        name: value for name, value in before["conversation"].items() if name not in changed
    }
    for each in (*before["items"], *after["items"], *before["answers"], *after["answers"]):
        del each["response_id"]
    assert (after["items"], after["answers"]) == (before["items"], before["answers"])
    (hit,) = (await listed(front, "?q=other"))["conversations"]
    assert hit["id"] == entry["id"]
    # It goes on.
    await ask(front, "three", entry["id"])
    for body in (b"", b"nothing", b"[]"):
        assert (await front.client.post(f"{ALL}/import", content=body)).status_code == 400
