"""Kept conversations as trees in the file: branches, answers that grow, and what is left of what was deleted."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.config import ConversationsConfig
from router.errors import ConversationItemNotFoundError, ConversationLockedError
from router.stores.conversations import Conversation, Conversations, ConversationStore, StoredResponse, Turn
from router.stores.viewer import Viewer
from tests.support.waiting import WITHIN_S

SECRET = "quokkaberry"
EVERYBODY = Viewer(None, sees_all=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[ConversationStore]:
    with ConversationStore(path) as opened:
        yield opened


def said(item_id: str, text: str = "hello", role: str = "user", status: str = "completed") -> dict[str, Any]:
    content = [{"type": "input_text", "text": text}]
    return {"id": item_id, "type": "message", "role": role, "status": status, "content": content}


def conversation(key: str = "c", **fields: Any) -> Conversation:
    return Conversation(conversation_id=key, **({"created_at": 1.0, "updated_at": 1.0} | fields))


def turn(response_id: str, after: str | None, *items: dict[str, Any], key: str = "c", is_chosen: bool = False) -> Turn:
    return Turn(
        conversation_id=key,
        response_id=response_id,
        after_item_id=after,
        is_chosen=is_chosen,
        items=items,
        model="m",
        created_at=2.0,
    )


def path_of(store: ConversationStore, key: str = "c") -> list[str]:
    return [each.item_id for each in store.trees.path(key, store.trees.found(key).head_item_id)]


def bytes_left(path: Path) -> bytes:
    """Return everything that lies in the files of the database."""
    return b"".join(each.read_bytes() for each in path.parent.glob("*.sqlite3*"))


def test_what_is_asked_is_there_before_the_answer_grows_behind_it(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a")])
    begun = store.growing.begin(turn("r", "a", said("b")))
    assert path_of(store) == ["a", "b"]
    assert store.growing.write_answer(begun, [said("x", "hel", "assistant", "in_progress")], now=3)
    assert path_of(store) == ["a", "b", "x"]
    store.growing.end(begun, "completed", [said("x", "hello", "assistant"), said("y", role="assistant")], "{}", now=4)
    assert path_of(store) == ["a", "b", "x", "y"]
    assert store.trees.item("c", "x").item["content"][0]["text"] == "hello"
    assert [(each.response_id, each.status, each.after_item_id) for each in store.trees.answers("c")] == [
        ("r", "completed", "b")
    ]


def test_an_answer_that_begins_once_more_leaves_nothing_of_its_first_words(store: ConversationStore) -> None:
    store.trees.create(conversation())
    begun = store.growing.begin(turn("r", None, said("a")))
    store.growing.write_answer(begun, [said("x", role="assistant")], now=3)
    store.growing.end(begun, "completed", [said("y", role="assistant")], "{}", now=4)
    assert path_of(store) == ["a", "y"]
    assert [each.item_id for each in store.trees.tree("c")] == ["a", "y"]


def test_siblings_are_branches_and_the_head_says_which_one_is_shown(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a")])
    for name in ("one", "two"):
        begun = store.growing.begin(turn(name, "a", is_chosen=True))
        store.growing.end(begun, "completed", [said(f"x-{name}", role="assistant")], "{}", now=4)
    assert path_of(store) == ["a", "x-two"]
    store.trees.change(conversation(head_item_id="x-one"))
    assert path_of(store) == ["a", "x-one"]
    with pytest.raises(ConversationItemNotFoundError):
        store.trees.change(conversation(head_item_id="never"))


def test_the_head_stays_where_somebody_has_put_it_while_an_answer_grows(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a"), said("b")])
    begun = store.growing.begin(turn("r", "b", said("q")))
    store.trees.change(conversation(head_item_id="a"))
    store.growing.end(begun, "completed", [said("x", role="assistant")], "{}", now=4)
    assert path_of(store) == ["a"]
    assert [each.item_id for each in store.trees.path("c", "x")] == ["a", "b", "q", "x"]


def test_nobody_goes_on_from_what_is_being_written_but_beside_it(store: ConversationStore) -> None:
    store.trees.create(conversation())
    begun = store.growing.begin(turn("r", None, said("a")))
    store.growing.write_answer(begun, [said("x", role="assistant")], now=3)
    for after, is_chosen in (("a", False), ("x", True)):
        with pytest.raises(ConversationLockedError, match="r is still being written"):
            store.growing.begin(turn("s", after, said("b"), is_chosen=is_chosen))
    store.growing.begin(turn("s", "a", is_chosen=True))


def test_an_id_that_is_there_already_is_given_anew(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("msg_1")])
    first, again = store.trees.tree("c")[0], store.trees.add("c", "msg_1", [said("msg_1", "again")], now=2)[0]
    assert first.item_id == "msg_1" != again.item_id
    assert again.item["id"] == again.item_id
    assert path_of(store) == ["msg_1", again.item_id]
    store.trees.create(conversation("other"), [said("msg_1")])
    assert path_of(store, "other") == ["msg_1"]


def test_a_refused_turn_leaves_nothing(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a")])
    before = store.trees.found("c").head_item_id, store.trees.found("c").title
    begun = store.growing.begin(turn("r", "a", said("b"), said("d")))
    store.growing.withdraw(begun)
    assert (store.trees.found("c").head_item_id, store.trees.found("c").title) == before
    assert (path_of(store), store.trees.answers("c")) == (["a"], [])


def test_a_refused_turn_leaves_nothing_of_an_answer_that_had_begun_nor_takes_what_has_its_ids(
    store: ConversationStore,
) -> None:
    store.trees.create(conversation(), [said("a"), said("b")])
    asked = turn("r", "b", said("a", "once more"))
    store.growing.write_answer(store.growing.begin(asked), [said("x", role="assistant")], now=3)
    store.growing.withdraw(asked)
    assert [each.item_id for each in store.trees.tree("c")] == path_of(store) == ["a", "b"]


async def test_a_turn_that_is_given_up_while_it_is_begun_is_not_left_running(path: Path) -> None:
    conversations = Conversations(path, ConversationsConfig)
    await conversations.kept.create("c", {}, [said("a")])
    beginning = asyncio.create_task(conversations.kept.begin(turn("r", "a", said("b"))))
    await asyncio.sleep(0)
    has_begun = threading.Event()
    conversations._thread.post(lambda _: has_begun.set(), "the event was not set")
    assert has_begun.wait(WITHIN_S)  # the loop is held up: it does not know yet
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    branches = await conversations.kept.branches("c")
    assert ([each.item_id for each in branches.items], branches.answers) == (["a"], [])
    await conversations.close()


def test_what_was_cut_off_is_incomplete_and_found(path: Path) -> None:
    with ConversationStore(path) as store:
        store.trees.create(conversation())
        begun = store.growing.begin(turn("r", None, said("a")))
        store.growing.write_answer(begun, [said("x", "half a word", "assistant", "in_progress")], now=3)
    with ConversationStore(path) as store:
        assert store.growing.end_cut_off() == 1
        assert store.growing.end_cut_off() == 0
        assert store.trees.item("c", "x").item["status"] == "incomplete"
        assert [each.status for each in store.trees.answers("c")] == ["incomplete"]
        assert [hit.item_id for hit in store.trees.search.find(["half"], EVERYBODY)] == ["x"]


def test_a_deleted_item_hands_its_followers_to_its_parent(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a"), said("b"), said("d")])
    store.trees.delete_item("c", "b")
    assert path_of(store) == ["a", "d"]
    store.trees.delete_item("c", "d")
    assert path_of(store) == ["a"]
    store.trees.delete_item("c", "a")
    assert path_of(store) == []
    with pytest.raises(ConversationItemNotFoundError):
        store.trees.delete_item("c", "a")


def test_an_item_is_not_deleted_while_its_answer_is_written(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("a")])
    begun = store.growing.begin(turn("r", "a", said("b")))
    store.growing.write_answer(begun, [said("x", role="assistant")], now=3)
    for item_id in ("b", "x"):
        with pytest.raises(ConversationLockedError, match="r is still being written"):
            store.trees.delete_item("c", item_id)
    store.growing.end(begun, "completed", [said("x", role="assistant")], "{}", now=4)
    store.trees.delete_item("c", "b")
    assert path_of(store) == ["a", "x"]


def test_the_title_is_the_beginning_of_the_first_message_until_it_has_its_own(store: ConversationStore) -> None:
    store.trees.create(conversation(), [said("s", "be kind", "system"), said("a", f"{SECRET}\n  is " + "x" * 90)])
    assert store.trees.found("c").title == f"{SECRET} is {'x' * 90}"[:60]
    store.trees.delete_item("c", "a")
    assert store.trees.found("c").title == ""
    store.trees.change(conversation(title="mine", is_title_own=True, head_item_id="s"))
    store.trees.add("c", "s", [said("b", "other")], now=2)
    assert store.trees.found("c").title == "mine"


def fill(store: ConversationStore, key: str) -> None:
    """Keep a conversation that is full of a word, with a stored response in it."""
    store.trees.create(conversation(key), [said(f"a-{key}", f"{SECRET} " * 300)])
    begun = store.growing.begin(turn(f"r-{key}", f"a-{key}", said(f"b-{key}", SECRET), key=key))
    store.growing.write_answer(begun, [said(f"x-{key}", f"{SECRET} so far", "assistant", "in_progress")], now=3)
    store.growing.end(begun, "completed", [said(f"x-{key}", f"{SECRET} " * 99, "assistant")], "{}", now=4)
    store.put(
        StoredResponse(
            response_id=f"r-{key}",
            root_id=f"r-{key}",
            previous_id=None,
            created_at=2,
            status="completed",
            input=b'[{"id": "b", "text": "%s"}]' % SECRET.encode(),
            body=b'{"output": [{"id": "x", "text": "%s"}]}' % SECRET.encode(),
            conversation_id=key,
        )
    )


def test_nothing_of_a_deleted_conversation_is_left_in_any_byte(path: Path) -> None:
    with ConversationStore(path) as store:
        for number in range(20):
            fill(store, f"c{number}")
        store.trees.create(conversation("stays"), [said("s", "pelican")])
        assert SECRET.encode() in bytes_left(path)
        store.trees.delete([f"c{number}" for number in range(20)])
        assert store.scrub()
        # While the file is open: its log and the index are clean, too.
        left = bytes_left(path)
        assert SECRET.encode() not in left
        assert SECRET[:6].encode() not in left, "the index keeps words by their beginnings"
        assert b"pelican" in left
        assert [hit.conversation_id for hit in store.trees.search.find(["pelican"], EVERYBODY)] == ["stays"]


def test_nothing_of_a_deleted_item_is_left_in_any_byte(path: Path) -> None:
    with ConversationStore(path) as store:
        fill(store, "c")
        for item_id in ("a-c", "b-c", "x-c"):
            store.trees.delete_item("c", item_id)
        assert store.scrub()
        assert SECRET.encode() not in bytes_left(path)
        assert store.get("r-c") is None


def test_nothing_of_a_deleted_or_evicted_response_is_left_in_any_byte(path: Path) -> None:
    with ConversationStore(path) as store:
        fill(store, "c")
        store.trees.delete(["c"])
        for number in range(2):
            body = b'{"output": [{"id": "x", "text": "%s"}]}' % SECRET.encode()
            store.put(
                StoredResponse(
                    response_id=str(number),
                    root_id=str(number),
                    previous_id=None,
                    created_at=number,
                    status="completed",
                    input=b"[]",
                    body=body,
                )
            )
        store.delete("0")
        store.evict(before=10, max_bytes=1 << 30)
        assert store.scrub()
        assert SECRET.encode() not in bytes_left(path)


def test_kept_conversations_are_not_evicted_with_their_responses(path: Path) -> None:
    with ConversationStore(path) as store:
        fill(store, "c")
        assert store.evict(before=10**10, max_bytes=0) == ["r-c"]
        assert store.get("r-c") is None
        assert len(store.trees.tree("c")) == 3


def test_what_runs_in_a_deleted_conversation_is_not_kept(store: ConversationStore) -> None:
    store.trees.create(conversation())
    begun = store.growing.begin(turn("r", None, said("a")))
    store.trees.delete(["c"])
    store.growing.end(begun, "completed", [said("x", role="assistant")], "{}", now=4)
    assert store.rows("SELECT * FROM conversation_items") == []
    response = StoredResponse(
        response_id="r",
        root_id="r",
        previous_id=None,
        created_at=2,
        status="completed",
        input=b"[]",
        body=b'{"output": []}',
        conversation_id="c",
    )
    store.put(response)
    assert store.get("r") is None
