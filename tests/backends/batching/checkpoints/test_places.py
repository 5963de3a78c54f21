"""Where checkpoints of a prompt are to be: near whatever prompts are known or likely to share, and few."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from backends.batching.checkpoints.places import GAP_TOKENS, HEAD_TOKENS, SPACING_TOKENS, checkpoint_places

MANY = st.integers(GAP_TOKENS, 40_000)


@st.composite
def prompts(draw: st.DrawFn) -> tuple[int, int, list[int], set[int]]:
    num = draw(MANY)
    places = st.integers(1, num - 1)
    return (
        draw(st.integers(0, num - 1)),
        num,
        sorted(draw(st.sets(places, max_size=40))),
        draw(st.sets(places, max_size=6)),
    )


@given(prompts(), st.none() | st.integers(1, 40))
def test_they_are_ascending_inside_the_new_part_and_no_more_than_wanted(
    prompt: tuple[int, int, list[int], set[int]], num_affordable: int | None
) -> None:
    begin, num, borders, shared = prompt
    places = checkpoint_places(begin, num, borders=borders, shared=shared, num_affordable=num_affordable)
    assert list(places) == sorted(set(places))
    assert all(begin < place < num for place in places)
    assert num_affordable is None or len(places) <= num_affordable
    assert all(later - earlier >= GAP_TOKENS for earlier, later in pairwise(places[:-1])), "only the end may be near"


@given(prompts(), st.none() | st.integers(1, 40))
def test_the_same_prompt_and_the_next_turn_begin_near_its_end(
    prompt: tuple[int, int, list[int], set[int]], num_affordable: int | None
) -> None:
    begin, num, borders, shared = prompt
    places = checkpoint_places(begin, num, borders=borders, shared=shared, num_affordable=num_affordable)
    assert num - max(places, default=begin) <= HEAD_TOKENS


@given(prompts())
def test_nothing_is_far_from_a_place(prompt: tuple[int, int, list[int], set[int]]) -> None:
    begin, num, borders, shared = prompt
    places = checkpoint_places(begin, num, borders=borders, shared=shared)
    for earlier, later in pairwise([begin, *places]):
        assert later - earlier <= SPACING_TOKENS + 2 * GAP_TOKENS


@given(prompts())
def test_known_partings_have_a_place_at_or_near_them(prompt: tuple[int, int, list[int], set[int]]) -> None:
    begin, num, _, shared = prompt
    places = [begin, *checkpoint_places(begin, num, shared=shared)]
    for place in shared:
        if begin < place:
            assert min(abs(place - other) for other in places) < GAP_TOKENS


def test_the_template_of_an_answer_is_left_out() -> None:
    assert checkpoint_places(0, 400, borders=[0, 380, 396]) == (380, 396)
    assert checkpoint_places(0, 400, borders=[0, 396, 398]) == (396,), "what templates write may differ in the history"
    assert checkpoint_places(0, 400, borders=[0]) == (399,)


def test_a_short_prompt_needs_none() -> None:
    assert checkpoint_places(0, GAP_TOKENS - 1, borders=[0, 100]) == ()
    assert checkpoint_places(5000, 5020, borders=[5000, 5015]) == (5015,)


def test_the_end_of_the_system_prompt_is_a_place() -> None:
    borders = [0, 9000, 9040, 9300, 9340, 20_000]
    places = checkpoint_places(0, 20_003, borders=borders)
    assert {9000, 20_000} <= set(places)
    assert 9300 not in places, "it is too near"


def test_where_a_short_last_message_begins_is_a_place() -> None:
    """Another conversation has the same system prompt, and another question."""
    assert checkpoint_places(0, 9043, borders=[0, 9000, 9040]) == (2048, 4096, 6144, 8192, 9000, 9040)
    assert checkpoint_places(8990, 9043, borders=[9000, 9040]) == (9040,), "the beginning is near enough"


def test_where_others_part_is_a_place_even_near_the_end() -> None:
    assert 8900 in checkpoint_places(0, 9043, borders=[0, 9040], shared={8900})


def test_with_room_for_one_it_is_the_end() -> None:
    assert checkpoint_places(0, 9000, borders=range(0, 9000, 300), shared={4321}, num_affordable=1) == (8999,)


def test_a_short_prompt_that_came_twice_has_one_at_its_end() -> None:
    assert checkpoint_places(0, 100, shared={99}) == (99,)
    assert checkpoint_places(0, 100, shared={98}) == ()
    assert checkpoint_places(0, 20, shared={19}) == ()
