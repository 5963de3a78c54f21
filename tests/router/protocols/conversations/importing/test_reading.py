"""Files of other programs to conversations: branches, heads, and what cannot be read."""

import io
import zipfile
from typing import Any

import msgspec
import pytest

from router.errors import InvalidRequestError
from router.protocols.conversations.importing import Imported, read_conversations
from router.protocols.conversations.importing.reading import MAX_BYTES
from router.stores.conversations.records import text_of

OPEN_WEBUI: Any = {
    "id": "w1",
    "title": "Colours",
    "chat": {
        "history": {
            "currentId": "c",
            "messages": {
                "a": {"parentId": None, "role": "user", "content": "red?", "timestamp": 1_700_000_000},
                "b": {"parentId": "a", "role": "assistant", "content": "no", "timestamp": 1_700_000_001},
                "c": {"parentId": "a", "role": "assistant", "content": "yes", "timestamp": 1_700_000_002},
            },
        }
    },
}
CHATGPT: Any = {
    "conversation_id": "g1",
    "title": "Colours",
    "create_time": 1_700_000_000.5,
    "current_node": "c",
    "mapping": {
        "root": {"id": "root", "message": None, "parent": None, "children": ["a"]},
        "a": {"parent": "root", "message": {"author": {"role": "user"}, "content": {"parts": ["red?"]}}},
        "t": {"parent": "a", "message": {"author": {"role": "tool"}, "content": {"text": "looks"}}},
        "b": {"parent": "a", "message": {"author": {"role": "assistant"}, "content": {"parts": ["no"]}}},
        "c": {"parent": "t", "message": {"author": {"role": "assistant"}, "content": {"parts": ["yes"]}}},
    },
}
LM_STUDIO: Any = {
    "name": "Colours",
    "createdAt": 1_700_000_000_000,
    "messages": [
        {"currentlySelected": 0, "versions": [{"role": "user", "content": [{"type": "text", "text": "red?"}]}]},
        {
            "currentlySelected": 1,
            "versions": [
                {"role": "assistant", "steps": [{"type": "contentBlock", "content": [{"type": "text", "text": "no"}]}]},
                {
                    "role": "assistant",
                    "steps": [{"type": "contentBlock", "content": [{"type": "text", "text": "yes"}]}],
                },
            ],
        },
    ],
}
LLAMA_CPP: Any = {
    "conv": {"id": "l1", "name": "Colours", "lastModified": 1_700_000_000_000, "currNode": "c"},
    "messages": [
        {"id": "root", "type": "root", "role": "system", "content": "", "parent": None},
        {"id": "a", "type": "text", "role": "user", "content": "red?", "parent": "root"},
        {"id": "b", "type": "text", "role": "assistant", "content": "no", "parent": "a"},
        {"id": "c", "type": "text", "role": "assistant", "content": "yes", "parent": "a"},
    ],
}
FORMATS = pytest.mark.parametrize("entry", [OPEN_WEBUI, CHATGPT, LM_STUDIO, LLAMA_CPP])


def read(*entries: Any) -> list[Imported]:
    reading = read_conversations(msgspec.json.encode(list(entries)))
    assert reading.problems == []
    return reading.conversations


def texts(conversation: Imported) -> list[tuple[str, str | None]]:
    """Return what each item says, with what the one before it says."""
    said = {each.item_id: text_of(each.item) for each in conversation.items}
    return [(said[each.item_id], said.get(each.parent_id or "")) for each in conversation.items]


@FORMATS
def test_both_branches_come_and_the_head_is_the_one_that_was_shown(entry: Any) -> None:
    (conversation,) = read(entry)
    assert sorted(texts(conversation), key=str) == [("no", "red?"), ("red?", None), ("yes", "red?")]
    (head,) = [each for each in conversation.items if each.item_id == conversation.head_item_id]
    assert text_of(head.item) == "yes"
    assert [each.is_output for each in conversation.items].count(True) == 2
    assert conversation.title == "Colours"
    assert conversation.created_at in {0, 1_700_000_000, 1_700_000_000.5}


@FORMATS
def test_the_same_file_is_known_when_it_comes_again(entry: Any) -> None:
    assert read(entry)[0].source_id == read(entry)[0].source_id


def test_json_lines_and_archives_are_read() -> None:
    lines = msgspec.json.encode(OPEN_WEBUI) + b"\n\n" + msgspec.json.encode(LLAMA_CPP) + b"\n"
    assert len(read_conversations(lines).conversations) == 2
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("conversations.json", msgspec.json.encode([CHATGPT]))
        archive.writestr("user.json", b"{}")
        archive.writestr("picture.png", b"\x00")
    assert [each.source_id for each in read_conversations(packed.getvalue()).conversations] == ["chatgpt:g1"]


def test_a_file_of_an_archive_that_cannot_be_read_costs_no_other() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.conversation.json", b'{"name": "cut o')
        archive.writestr("two.conversation.json", msgspec.json.encode(LM_STUDIO))
    reading = read_conversations(packed.getvalue())
    assert [each.title for each in reading.conversations] == ["Colours"]
    assert [(each.name, "neither JSON" in each.reason) for each in reading.problems] == [
        ("one.conversation.json", True)
    ]


def nested() -> Any:
    """Return texts within texts, deeper than Python calls."""
    content: Any = "x"
    for _ in range(400):
        content = [{"text": content}]
    return {"messages": [{"role": "user", "content": content}]}


def circle() -> Any:
    entry = msgspec.json.decode(msgspec.json.encode(OPEN_WEBUI))
    entry["chat"]["history"]["messages"]["a"]["parentId"] = "b"
    return entry


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (circle(), "circle"),
        (nested(), "not of the form"),
        ({"mapping": {}}, "no messages"),
        ({"mapping": {"a": 1}}, "not of the form"),
        ({"messages": [1]}, "not of the form"),
        ({"chat": {"history": {"messages": [1]}}}, "not of the form"),
        ({"messages": [{"role": "user", "content": "x", "currentlySelected": "y"}]}, "not of the form"),
        ({"conversation": {}, "items": []}, "no conversation of mlxr's"),
        ({"something": 1}, "not known"),
        (7, "not known"),
    ],
)
def test_one_that_cannot_be_read_costs_no_other(entry: Any, reason: str) -> None:
    reading = read_conversations(msgspec.json.encode([entry, OPEN_WEBUI]))
    assert len(reading.conversations) == 1
    (problem,) = reading.problems
    assert reason in problem.reason


def bomb() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.json", "w") as file:
        for _ in range((MAX_BYTES >> 20) + 2):
            file.write(b" " * (1 << 20))
    return packed.getvalue()


@pytest.mark.parametrize("body", [b"", b"hello", b"[]", b"PK\x03\x04broken", b"[" * 5000, bomb()])
def test_what_is_no_such_file_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        read_conversations(body)


def test_long_conversations_are_read_and_too_deep_ones_refused() -> None:
    def long(num_messages: int) -> Any:
        messages = [{"role": "user", "content": str(number), "versions": None} for number in range(num_messages)]
        return {"name": "long", "messages": messages}

    assert len(read(long(9_000))[0].items) == 9_000
    reading = read_conversations(msgspec.json.encode([long(10_001)]))
    assert "too deep" in reading.problems[0].reason
