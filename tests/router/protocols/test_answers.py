import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import InvalidRequestError
from router.protocols.answers import TEXT_PLACE, AnswerBody, EncodedAhead, Page, sse_event

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


class Item(AnswerBody, frozen=True):
    id: str
    text: str = ""


class ItemPage(Page[Item], frozen=True):
    pass


@given(TEXTS, TEXTS)
def test_what_is_encoded_ahead_is_the_whole_structs_json_to_the_letter(id_: str, text: str) -> None:
    ahead = EncodedAhead(sse_event(Item(id_, TEXT_PLACE), "item"))
    assert ahead.with_text(text) == sse_event(Item(id_, text), "item")


def test_an_event_has_a_line_for_its_name_and_one_for_its_data() -> None:
    assert sse_event({"a": "b\n"}) == b'data: {"a":"b\\n"}\n\n'
    assert sse_event([1], "told") == b"event: told\ndata: [1]\n\n"


@pytest.mark.parametrize(
    ("after", "limit", "shown", "has_more"),
    [(None, 2, "ab", True), ("a", 2, "bc", False), ("b", 1, "c", False), ("c", 9, "", False), (None, 9, "abc", False)],
)
def test_a_page_begins_behind_an_item_and_says_whether_more_comes(
    after: str | None, limit: int, shown: str, *, has_more: bool
) -> None:
    page = ItemPage.of([Item(letter) for letter in "abc"], after=after, limit=limit, missing="")
    assert "".join(item.id for item in page.data) == shown
    assert (page.first_id, page.last_id) == ((shown[0], shown[-1]) if shown else (None, None))
    assert page.has_more is has_more
    assert msgspec.json.encode(page).startswith(b'{"object":"list","data":[')


def test_there_is_no_page_behind_an_item_that_is_not_there() -> None:
    with pytest.raises(InvalidRequestError, match=r"^after: there is no item 'x'$"):
        ItemPage.of([Item("a")], after="x", limit=1, missing="there is no item {}")
