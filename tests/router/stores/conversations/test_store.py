import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.errors import StoreUnavailableError
from router.stores.conversations import ConversationStore, StoredResponse

ROOM = 1 << 30


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "conversations.sqlite3"


def response(
    name: str, *, after: str | None = None, root: str | None = None, at: float = 100.0, size: int = 10
) -> StoredResponse:
    said: list[dict[str, Any]] = [{"id": f"in-{name}", "type": "message", "text": "x" * size}]
    return StoredResponse(
        response_id=name,
        root_id=root or name,
        previous_id=after,
        created_at=at,
        status="completed",
        input=msgspec.json.encode(said),
        body=msgspec.json.encode({"id": name, "output": [{"id": f"out-{name}"}]}),
    )


def size_of(each: StoredResponse) -> int:
    return len(each.input) + len(each.body)


def num_bytes(store: ConversationStore) -> int:
    size: int = store.rows("SELECT coalesce(sum(num_bytes), 0) FROM responses")[0][0]
    return size


def test_a_response_is_found_again_by_another_process(path: Path) -> None:
    first = ConversationStore(path)
    first.put(response("a"))
    first.close()
    second = ConversationStore(path)
    assert second.get("a") == response("a")
    assert second.get("b") is None
    assert second.item("out-a") == {"id": "out-a"}
    assert second.item("in-a") == response("a").input_items[0]
    assert second.item("nothing") is None
    second.close()


def test_only_this_user_may_read_the_file(path: Path) -> None:
    ConversationStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_put_again_takes_the_first_ones_place(path: Path) -> None:
    store = ConversationStore(path)
    store.put(msgspec.structs.replace(response("a"), status="queued"))
    assert [each.response_id for each in store.unfinished()] == ["a"]
    store.put(response("a"))
    assert store.unfinished() == ()
    assert store.get("a") == response("a")
    store.close()


def test_a_chain_begins_with_the_first_response_and_branches_are_apart(path: Path) -> None:
    store = ConversationStore(path)
    for each in (
        response("a"),
        response("b", after="a", root="a"),
        response("c", after="b", root="a"),
        response("d", after="a", root="a"),
    ):
        store.put(each)
    assert [each.response_id for each in store.chain("c")] == ["a", "b", "c"]
    assert [each.response_id for each in store.chain("d")] == ["a", "d"]
    assert store.chain("e") == ()
    store.close()


def test_a_deleted_response_is_gone_but_not_from_the_conversations_that_go_on(path: Path) -> None:
    store = ConversationStore(path)
    for each in (response("a"), response("b", after="a", root="a"), response("c", after="b", root="a")):
        store.put(each)
    assert store.delete("b")
    assert not store.delete("b")
    assert not store.delete("never")
    assert store.get("b") is None
    assert store.chain("b") == ()
    assert store.item("out-b") is None
    assert [each.response_id for each in store.chain("c")] == ["a", "b", "c"]
    before = num_bytes(store)
    assert store.delete("c")
    assert num_bytes(store) == size_of(response("a")) < before
    assert store.delete("a")
    assert num_bytes(store) == 0
    store.close()


def test_conversations_go_as_a_whole_by_the_age_of_their_last_answer(path: Path) -> None:
    store = ConversationStore(path)
    for each in (
        response("old", at=1),
        response("begun-early", at=2),
        response("goes-on", after="begun-early", root="begun-early", at=50),
    ):
        store.put(each)
    assert store.evict(before=10, max_bytes=ROOM) == ["old"]
    assert store.get("old") is None
    assert len(store.chain("goes-on")) == 2
    assert store.evict(before=51, max_bytes=ROOM) == ["begun-early"]
    assert num_bytes(store) == 0
    store.close()


def test_the_conversations_that_are_longest_unused_go_when_there_is_too_much(path: Path) -> None:
    store = ConversationStore(path)
    each_size = size_of(response("a"))
    for at, name in enumerate("abcd"):
        store.put(response(name, at=at))
    store.put(response("e", after="a", root="a", at=9))
    assert store.evict(before=0, max_bytes=4 * each_size + 40) == ["b"]
    assert [name for name in "abcde" if store.get(name) is not None] == ["a", "c", "d", "e"]
    store.close()


def test_one_conversation_that_is_too_large_takes_no_other_with_it(path: Path) -> None:
    store = ConversationStore(path)
    store.put(response("small", at=1))
    store.put(response("huge", at=2, size=5000))
    assert store.evict(before=0, max_bytes=1000) == ["huge"]
    assert store.get("huge") is None
    assert store.get("small") is not None
    store.close()


def test_evicted_texts_are_not_left_in_the_file(path: Path) -> None:
    store = ConversationStore(path)
    for number in range(40):
        store.put(response(f"secret-{number}", size=4000))
    large = path.stat().st_size + path.with_name(path.name + "-wal").stat().st_size
    store.evict(before=200, max_bytes=ROOM)
    store.close()
    assert path.stat().st_size < large / 4
    assert b"secret" not in path.read_bytes()


@pytest.mark.parametrize("content", [b"this is no database" * 100, None])
def test_a_file_that_cannot_be_used_is_one_error_of_ours(path: Path, content: bytes | None) -> None:
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(StoreUnavailableError, match="cannot be used"):
        ConversationStore(path)


def test_the_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    store = ConversationStore(path)
    store._connection.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreUnavailableError, match="newer version"):
        ConversationStore(path)
