"""Which of several upstreams is asked: properties of the one decision."""

from hypothesis import given
from hypothesis import strategies as st

from router.models.size import RequestSize
from router.upstreams.balance import MAX_AHEAD, MAX_RATIO, MAX_REMEMBERED, Candidate, Homes, pick

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
_HOME = st.none() | st.sampled_from("abcdefg")


@given(_CANDIDATES, _HOME, _HOME)
def test_the_picked_one_is_there_sound_and_not_far_busier_than_the_idlest(
    candidates: list[Candidate], session: str | None, beginning: str | None
) -> None:
    picked = next(each for each in candidates if each.name == pick(candidates, session, beginning))
    sound = [each for each in candidates if not each.has_failed] or candidates
    assert picked in sound
    least = min(each.load for each in sound)
    assert picked.load <= MAX_RATIO * least + MAX_AHEAD / picked.weight
    if picked.name not in {session, beginning}:
        assert picked.load == least


@given(_CANDIDATES, _HOME)
def test_a_home_with_a_place_that_is_not_busier_than_others_is_kept(
    candidates: list[Candidate], session: str | None
) -> None:
    home = next((each for each in candidates if each.name == session), None)
    sound = [each for each in candidates if not each.has_failed] or candidates
    if home is None or home not in sound or home.outstanding >= home.parallel:
        return
    if home.load <= min(each.load for each in sound) + MAX_AHEAD / home.weight:
        assert pick(candidates, session, None) == home.name


@given(st.integers(1, 5), st.integers(1, 200))
def test_equal_ones_get_equal_shares(num: int, num_requests: int) -> None:
    given_to = dict.fromkeys("abcde"[:num], 0)
    for _ in range(num_requests):
        given_to[pick([Candidate(name=name, num_given=times) for name, times in given_to.items()], None, None)] += 1
    assert max(given_to.values()) - min(given_to.values()) <= 1


def test_weights_are_shares() -> None:
    given_to = {"small": 0, "large": 0}
    weights = {"small": 1.0, "large": 3.0}
    for _ in range(400):
        candidates = [Candidate(name=n, num_given=times, weight=weights[n]) for n, times in given_to.items()]
        given_to[pick(candidates, None, None)] += 1
    assert given_to["large"] == 300


def test_the_same_beginning_goes_to_the_same_place_if_it_is_a_good_part_of_the_prompt() -> None:
    homes = Homes()
    homes.settle("m", "s", RequestSize(100, 10, ((1, 50), (2, 100))), "b")
    assert homes.of_session("m", "s") == "b"
    assert homes.of_session("other", "s") is None
    assert homes.of_beginning("m", RequestSize(130, 10, ((1, 50), (2, 100), (3, 130)))) == "b"
    assert homes.of_beginning("m", RequestSize(200, 10, ((1, 50), (9, 200)))) is None, "a quarter is too little"
    assert homes.of_beginning("m", RequestSize(100, 10, ((8, 50), (2, 100)))) == "b"
    homes.settle("m", None, RequestSize(120, 10, ((1, 50), (7, 120))), "a")
    assert homes.of_beginning("m", RequestSize(110, 10, ((1, 50), (6, 110)))) == "a", "whoever had it last"


def test_what_is_remembered_is_bounded() -> None:
    homes = Homes()
    for number in range(MAX_REMEMBERED + 10):
        homes.settle("m", str(number), None, "a")
    assert homes.of_session("m", "0") is None
    assert homes.of_session("m", str(MAX_REMEMBERED)) == "a"
