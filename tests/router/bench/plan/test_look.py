"""What `look` asks, and who cannot be asked."""

import base64

import pytest

from router.bench.plan.contestants import Contestant
from router.bench.plan.look import look_messages, why_foreign_not_seen, why_not_seen
from router.bench.plan.scenarios import chosen_scenarios, requests_of, unseen_scenarios
from router.errors import BenchError
from tests.router.bench.plan.test_scenarios import STANDARD, options


def parts(number: int, *, seed: int = 0, question: int = 0) -> list[dict[str, object]]:
    (message,) = look_messages(seed=seed, round_number=number)[question]
    content: list[dict[str, object]] = message["content"]
    return content


def size_of(part: dict[str, object]) -> tuple[int, int]:
    url = part["image_url"]
    assert isinstance(url, dict)
    data = base64.b64decode(url["url"].partition(",")[2])
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def test_both_questions_of_a_round_begin_alike_and_differ_in_the_end() -> None:
    first, second = parts(0), parts(0, question=1)
    assert first[:2] == second[:2]
    assert first[2] != second[2]
    assert [part["type"] for part in first] == ["text", "image_url", "text"]


def test_every_round_has_another_picture_and_another_beginning() -> None:
    rounds = [parts(number, seed=seed) for seed in (0, 1) for number in range(3)]
    for place in (0, 1):
        assert len({str(each[place]) for each in rounds}) == len(rounds)


def test_a_warm_up_has_a_small_picture() -> None:
    assert size_of(parts(0)[1]) == (448, 336)
    assert size_of(parts(-1)[1]) == (112, 84)


def test_all_contestants_are_asked_the_same_greedily() -> None:
    asked = [
        requests_of(STANDARD["look"], seed=0, round_number=2, contestant=index, chars_per_token=lambda n: n)
        for index in (0, 1)
    ]
    assert asked[0] == asked[1]
    assert [request.image for request in asked[0]] == ["new", "again"]
    body = asked[0][0].body("m")
    assert body["temperature"] == 0
    assert "ignore_eos" not in body


def contestant(label: str, reason: str | None = None) -> Contestant:
    return Contestant(label=label, model="m", text_only_reason=reason)


def test_who_cannot_see_is_named_with_the_reason() -> None:
    sees, blind, other = contestant("a"), contestant("b", "it has no tower"), contestant("c", "it is off")
    assert why_not_seen([sees, sees]) is None
    assert why_not_seen([sees, blind]) == "b cannot see: it has no tower"
    assert why_not_seen([blind, blind]) == "the model cannot see: it has no tower"
    assert why_not_seen([blind, other]) == "the model cannot see: it has no tower; it is off"


def test_a_run_of_nothing_else_is_refused() -> None:
    blind = [contestant("b", "it has no tower")]
    everything = chosen_scenarios(options())
    assert unseen_scenarios(everything, blind) == {"look": "the model cannot see: it has no tower"}
    assert unseen_scenarios(everything, [contestant("a")]) == {}
    with pytest.raises(BenchError, match=r"^look: the model cannot see: it has no tower\.$"):
        unseen_scenarios(chosen_scenarios(options("look")), blind)


@pytest.mark.parametrize(
    ("sees", "is_named", "words"),
    [
        (True, False, None),
        (None, True, None),
        (None, False, "x does not say whether it sees; --scenarios look tries"),
        (False, True, "x cannot see"),
    ],
)
def test_a_foreign_server_is_shown_pictures_if_it_says_that_it_sees_or_the_user_wants_it(
    *, sees: bool | None, is_named: bool, words: str | None
) -> None:
    assert why_foreign_not_seen("x", sees=sees, is_named=is_named) == words
