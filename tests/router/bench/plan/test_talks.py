import pytest

from router.bench.plan.talks import Fact, talk_of, ways_of, without_oldest


@pytest.mark.parametrize("num_turns", [2, 40, 120, 400])
@pytest.mark.parametrize("seed", range(5))
def test_facts_are_told_and_changed_in_the_talk_and_asked_for_by_their_last_value(seed: int, num_turns: int) -> None:
    talk = talk_of(seed=seed, round_number=0, num_turns=num_turns)
    assert len(talk.turns) == num_turns
    assert len(talk.facts) == {2: 1, 40: 5, 120: 15, 400: 24}[num_turns]
    told = "\n".join(talk.turns)
    for fact in talk.facts:
        places = [told.index(fact.told(index)) for index in range(len(fact.values))]
        assert places == sorted(places)
        assert told.count(f"the {fact.key} is ") == len(fact.values)
    keys = [fact.key for fact in talk.facts]
    values = [value for fact in talk.facts for value in fact.values]
    assert len(set(keys)) == len(keys)
    for fact in talk.facts:
        assert [other for other in talk.facts if other.recall(" ".join(fact.values)) != "missing"] == [fact]
    assert len(set(values)) == len(values)
    if num_turns > 2:
        assert any(len(fact.values) > 1 for fact in talk.facts)


def test_a_talk_follows_from_its_seed_round_and_length() -> None:
    talks = [talk_of(seed=1, round_number=number, num_turns=40) for number in (0, 0, 1)]
    assert talks[0] == talks[1]
    assert talks[0] != talks[2]
    assert talk_of(seed=2, round_number=0, num_turns=40) != talks[0]


@pytest.mark.parametrize(
    ("answer", "recall"),
    [
        ("It is 4821.", "right"),
        ("4821, and no longer 1234.", "right"),
        ("1234", "outdated"),
        ("48210", "missing"),
        ("I do not know.", "missing"),
        ("", "missing"),
    ],
)
def test_an_answer_has_a_fact_or_what_it_was_or_neither(answer: str, recall: str) -> None:
    assert Fact(key="gate code", values=("1234", "4821")).recall(answer) == recall


def _messages(num_turns: int) -> list[dict[str, str]]:
    turns = [{"role": "user" if at % 2 == 0 else "assistant", "content": f"{at}" * 10} for at in range(num_turns)]
    return [{"role": "system", "content": "s" * 10}, *turns]


@pytest.mark.parametrize(("num_tokens", "kept"), [(1000, 9), (0, 1), (36, 1), (71, 1), (72, 3), (107, 3), (108, 5)])
def test_the_oldest_turns_are_left_out_with_their_answers(num_tokens: int, kept: int) -> None:
    messages = _messages(9)
    assert without_oldest(messages, num_tokens, 1.0) == [messages[0], *messages[-kept:]]


def test_a_talk_is_held_whole_where_the_context_holds_it() -> None:
    talk = talk_of(seed=0, round_number=0, num_turns=40)
    ways = [
        ways_of(talk, is_foreign=is_foreign, context_length=length, chars_of=lambda number: 4 * number)
        for is_foreign, length in ((False, 8192), (False, 2048), (False, None), (True, 8192))
    ]
    assert ways == [("wind", "truncated", "full"), ("wind", "truncated"), ("wind", "truncated"), ("truncated", "full")]
