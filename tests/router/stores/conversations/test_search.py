"""What is found in kept conversations, in what order, and how it is shown."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from router.stores.conversations import Conversation, ConversationStore
from router.stores.conversations.words import snippet_of, terms_of
from router.stores.viewer import Viewer
from tests.router.stores.conversations.test_kept import said

OWNER = Viewer(None, sees_all=True)
TEXTS = {
    "english": "The quick brown fox visits a café in C++ land; it's snake_case",
    "japanese": "私は東京都に住んでいます。世界は広い",
    "korean": "한국어를 배우고 있습니다",
    "thai": "ภาษาไทยของชาวนา",
    "wide": "\uff26\uff35\uff2c\uff2c width and ﬁne ligatures",
    "cyrillic": "Привет, Мир",
}


@pytest.fixture(params=[True, False], ids=["fts5", "without"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ConversationStore]:
    with ConversationStore(tmp_path / "conversations.sqlite3") as opened:
        opened.trees.search.is_there = request.param
        for number, (key, text) in enumerate(TEXTS.items()):
            conversation = Conversation(conversation_id=key, created_at=number, updated_at=number)
            opened.trees.create(conversation, [said(f"a-{key}", text)])
        yield opened


def found(store: ConversationStore, query: str, viewer: Viewer = OWNER) -> list[str]:
    hits = store.lists.search(viewer, query, is_archived=False, limit=10)
    return [hit.conversation.conversation_id for hit in hits]


@pytest.mark.parametrize(
    ("query", "key"),
    [
        ("quick fox", "english"),
        ("FOX", "english"),
        ("bro", "english"),
        ('"brown fox"', "english"),
        ("C++", "english"),
        ("東京", "japanese"),
        ("京", "japanese"),
        ("東京都", "japanese"),
        ("世界", "japanese"),
        ("한국", "korean"),
        ("ชาว", "thai"),
        ("мир", "cyrillic"),
    ],
)
def test_words_of_all_scripts_are_found(store: ConversationStore, query: str, key: str) -> None:
    assert found(store, query) == [key]


@pytest.mark.parametrize(
    "query", ["", "  ", '"', '""', "*", "***", "()", "NEAR(", "a AND", "-x", "'; DROP", "^", "{a}"]
)
def test_no_query_is_an_error(store: ConversationStore, query: str) -> None:
    assert isinstance(found(store, query), list)


@pytest.mark.parametrize("query", ["fox nothing", '"fox brown"', "京東", "NOT fox", "fox OR nothing"])
def test_all_words_and_phrases_must_be_there(store: ConversationStore, query: str) -> None:
    assert found(store, query) == []


def test_accents_and_compatible_forms_do_not_matter(tmp_path: Path) -> None:
    with ConversationStore(tmp_path / "conversations.sqlite3") as store:
        for key in ("english", "wide"):
            conversation = Conversation(conversation_id=key, created_at=1, updated_at=1)
            store.trees.create(conversation, [said(f"a-{key}", TEXTS[key])])
        assert found(store, "cafe") == ["english"]
        assert found(store, "full fine") == ["wide"]


def test_titles_go_before_texts_and_what_is_anothers_or_archived_is_not_found(tmp_path: Path) -> None:
    with ConversationStore(tmp_path / "conversations.sqlite3") as store:
        for key, owner in (("text", "k"), ("title", "k"), ("other", "o")):
            conversation = Conversation(
                conversation_id=key,
                owner=owner,
                created_at=1,
                updated_at=1,
                title="walrus" if key == "title" else "",
                is_title_own=True,
            )
            store.trees.create(conversation, [said("a", "a walrus" if key != "title" else "something")])
        mine = Viewer("k", sees_all=False)
        assert found(store, "walrus", mine) == ["title", "text"]
        assert found(store, "walrus", Viewer(None, sees_all=False)) == []
        assert sorted(found(store, "walrus")) == ["other", "text", "title"]
        (first, _) = store.lists.search(mine, "walrus", is_archived=False, limit=5)
        assert (first.item_id, [(part.text, part.is_hit) for part in first.parts]) == (None, [("walrus", True)])
        store.trees.change(msgspec.structs.replace(store.trees.found("text"), is_archived=True))
        assert found(store, "walrus", mine) == ["title"]


@pytest.mark.parametrize(
    ("text", "query", "parts"),
    [
        ("Hello world", "world", [("Hello ", False), ("world", True)]),
        ("Le Café noir", "cafe", [("Le ", False), ("Café", True), (" noir", False)]),
        ("私は東京都に住む", "東京", [("私は", False), ("東京", True), ("都に住む", False)]),
        ("nothing of it", "fox", [("nothing of it", False)]),
        ("cat concat cat", "cat", [("cat", True), (" con", False), ("cat", True), (" ", False), ("cat", True)]),
        ("", "x", []),
    ],
)
def test_snippets_show_the_original(text: str, query: str, parts: list[tuple[str, bool]]) -> None:
    assert [(part.text, part.is_hit) for part in snippet_of(text, terms_of(query))] == parts


def test_a_snippet_is_a_short_part_of_a_long_text() -> None:
    text = "x " * 5000 + "needle" + " y" * 5000
    parts = snippet_of(text, ["needle"])
    assert [part.text for part in parts if part.is_hit] == ["needle"]
    assert sum(len(part.text) for part in parts) <= 160


def test_an_index_that_was_not_there_is_made_of_everything_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "conversations.sqlite3"
    with ConversationStore(path) as store:
        store.trees.create(Conversation(conversation_id="c", created_at=1, updated_at=1), [said("a", "a walrus")])
        for table in ("search", "search_rows"):
            store.rows(f"DROP TABLE {table}")
    with ConversationStore(path) as store:
        assert found(store, "walrus") == ["c"]


def test_what_was_deleted_where_there_was_no_index_is_not_found(tmp_path: Path) -> None:
    with ConversationStore(tmp_path / "conversations.sqlite3") as store:
        items = [said("a", "hello"), said("b", "a walrus")]
        store.trees.create(Conversation(conversation_id="c", created_at=1, updated_at=1), items)
        store.trees.search.is_there = False
        store.trees.delete_item("c", "b")
        store.trees.search.is_there = True
        assert found(store, "walrus") == []
