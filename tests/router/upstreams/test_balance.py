"""Which of several upstreams is asked: properties of the one decision."""

from hypothesis import given
from hypothesis import strategies as st

from router.models.size import RequestSize
from router.upstreams.balance import (
    MAX_AHEAD,
    MAX_RATIO,
    MAX_REMEMBERED,
    TOKENS_AHEAD,
    Candidate,
    Favourite,
    Homes,
    most_load,
    pick,
)

_CANDIDATES = st.lists(
    st.builds(
        Candidate,
        name=st.sampled_from("abcdef"),
        outstanding=st.integers(0, 40),
        parallel=st.integers(1, 32),
        weight=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
        has_failed=st.booleans(),
        num_given=st.integers(0, 100),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda each: each.name,
)
_FAVOURITES = st.lists(
    st.builds(
        Favourite,
        st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True).map(tuple),
        st.none() | st.integers(0, 20_000),
    ),
    max_size=4,
)


@given(_CANDIDATES, _FAVOURITES)
def test_the_picked_one_is_there_sound_and_not_far_busier_than_the_idlest(
    candidates: list[Candidate], favourites: list[Favourite]
) -> None:
    picked = next(each for each in candidates if each.name == pick(candidates, favourites))
    sound = [each for each in candidates if not each.has_failed] or candidates
    assert picked in sound
    least = min(each.load for each in sound)
    assert picked.load <= MAX_RATIO * least + MAX_AHEAD / picked.weight
    if all(picked.name not in favourite.names for favourite in favourites):
        assert picked.load == least


@given(_CANDIDATES, _FAVOURITES)
def test_nobody_is_ahead_of_the_idlest_by_more_than_a_cache_is_worth(
    candidates: list[Candidate], favourites: list[Favourite]
) -> None:
    picked = next(each for each in candidates if each.name == pick(candidates, favourites))
    least = min(each.load for each in [each for each in candidates if not each.has_failed] or candidates)
    mine = [each.num_tokens for each in favourites if picked.name in each.names]
    worths = [each for each in mine if each is not None]
    if worths == mine:
        assert picked.load <= least + max(worths, default=0) / TOKENS_AHEAD / picked.weight


@given(_CANDIDATES, _FAVOURITES)
def test_the_most_valuable_favourite_that_may_be_asked_is_and_of_it_the_one_with_the_least_to_do(
    candidates: list[Candidate], favourites: list[Favourite]
) -> None:
    sound = {each.name: each for each in [each for each in candidates if not each.has_failed] or candidates}
    least = min(each.load for each in sound.values())
    for favourite in favourites:
        held = [sound[name] for name in favourite.names if name in sound]
        able = [
            each
            for each in held
            if each.outstanding < each.parallel and each.load <= most_load(each, least, favourite.num_tokens)
        ]
        if able:
            picked = sound[pick(candidates, favourites)]
            assert picked in held
            assert picked.load <= min(each.load for each in held if each.outstanding < each.parallel)
            return


@given(_CANDIDATES, st.sampled_from("abcdefg"), st.integers(0, 20_000))
def test_a_home_with_a_place_that_is_not_busier_than_its_cache_is_worth_is_kept(
    candidates: list[Candidate], name: str, num_tokens: int
) -> None:
    home = next((each for each in candidates if each.name == name), None)
    sound = [each for each in candidates if not each.has_failed] or candidates
    if home is None or home not in sound or home.outstanding >= home.parallel:
        return
    least = min(each.load for each in sound)
    if home.load <= least + min(MAX_AHEAD, num_tokens / TOKENS_AHEAD) / home.weight:
        assert pick(candidates, [Favourite((name,), num_tokens)]) == name


@given(st.integers(2, 12), st.integers(0, 7))
def test_a_beginning_that_everyone_has_is_spread_over_all(num: int, num_thousands: int) -> None:
    """However many requests come at once: nobody has more beyond the idlest than the beginning is worth."""
    homes, outstanding = Homes(), {f"u{number}": 0 for number in range(num)}
    for number in range(40 * num):
        size = RequestSize(
            1000 * num_thousands + 50, 10, ((1, 1000 * num_thousands), (-number - 1, 1000 * num_thousands + 50))
        )
        candidates = [Candidate(name=name, outstanding=each, parallel=1000) for name, each in outstanding.items()]
        name = pick(candidates, homes.favourites("m", None, size))
        homes.settle("m", None, size, name)
        outstanding[name] += 1
        assert max(outstanding.values()) - min(outstanding.values()) <= num_thousands + 1
    assert min(outstanding.values()) > 0


@given(st.integers(1, 5), st.integers(1, 200))
def test_equal_ones_get_equal_shares(num: int, num_requests: int) -> None:
    given_to = dict.fromkeys("abcde"[:num], 0)
    for _ in range(num_requests):
        given_to[pick([Candidate(name=name, num_given=times) for name, times in given_to.items()])] += 1
    assert max(given_to.values()) - min(given_to.values()) <= 1


def test_weights_are_shares() -> None:
    given_to = {"small": 0, "large": 0}
    weights = {"small": 1.0, "large": 3.0}
    for _ in range(400):
        candidates = [Candidate(name=n, num_given=times, weight=weights[n]) for n, times in given_to.items()]
        given_to[pick(candidates)] += 1
    assert given_to["large"] == 300


def test_who_had_the_session_comes_first_then_who_had_the_longest_beginning() -> None:
    homes = Homes()
    size = RequestSize(100, 10, ((1, 50), (2, 100)))
    homes.settle("m", "s", size, "b")
    assert list(homes.favourites("m", "s", size)) == [
        Favourite(("b",), 100),
        Favourite(("b",), 100),
        Favourite(("b",), 50),
    ]
    assert list(homes.favourites("other", "s", size)) == []
    homes.settle("m", None, RequestSize(120, 10, ((1, 50), (7, 120))), "a")
    assert list(homes.favourites("m", "s", RequestSize(130, 10, ((1, 50), (2, 100), (3, 130))))) == [
        Favourite(("b",), 130),
        Favourite(("b",), 100),
        Favourite(("a", "b"), 50),
    ], "all who had it, the last one first"
    assert list(homes.favourites("m", None, RequestSize(200, 10, ((1, 50), (9, 200))))) == [], "a quarter is too little"
    assert list(homes.favourites("m", "s", None)) == [Favourite(("b",))]


def test_a_session_that_moved_has_one_home() -> None:
    homes = Homes()
    homes.settle("m", "s", None, "a")
    homes.settle("m", "s", None, "b")
    assert list(homes.favourites("m", "s", None)) == [Favourite(("b",))]


def test_what_is_remembered_is_bounded() -> None:
    homes = Homes()
    for number in range(MAX_REMEMBERED + 10):
        homes.settle("m", str(number), None, "a")
    assert list(homes.favourites("m", "0", None)) == []
    assert list(homes.favourites("m", str(MAX_REMEMBERED), None)) == [Favourite(("a",))]
