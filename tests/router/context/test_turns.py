import random

import pytest

from backends.wire.prompts import PromptMessage
from router.context.turns import units_of
from tests.support.random_talks import pinned_in, random_prompt


def _user(text: str = "?") -> PromptMessage:
    return {"role": "user", "content": text}


def _said(text: str = "!") -> PromptMessage:
    return {"role": "assistant", "content": text}


def _calls(*ids: str) -> PromptMessage:
    calls = [{"id": each, "function": {"name": "read", "arguments": {}}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def _result(call_id: str) -> PromptMessage:
    return {"role": "tool", "content": "ok", "tool_call_id": call_id}


SYSTEM: PromptMessage = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    ("messages", "indexes", "num_read"),
    [
        ([_user()], [(0,)], 0),
        ([SYSTEM, _user(), _said(), _user()], [(1,), (2,), (3,)], 2),
        ([_user(), _said()], [(0,), (1,)], 1),
        ([_user(), _calls("a", "b"), _result("b"), _result("a"), _said(), _user()], [(0,), (1, 2, 3), (4,), (5,)], 3),
        ([_user(), _calls("a"), SYSTEM, _result("a"), _said(), _user()], [(0,), (1, 3), (4,), (5,)], 3),
        ([_user(), _calls("a"), _user(), _result("a"), _said(), _user()], [(0,), (1, 2, 3), (4,), (5,)], 3),
        ([_user(), _calls("a"), _said(), _result("a"), _said(), _user()], [(0,), (1, 2, 3), (4,), (5,)], 3),
        ([_user(), _calls(""), _result(""), _said(), _user()], [(0,), (1, 2), (3,), (4,)], 3),
        ([_result("gone"), _said(), _user()], [(0,), (1,), (2,)], 2),
        ([_user(), _said(), _user(), _user()], [(0,), (1,), (2,), (3,)], 2),
        ([SYSTEM], [], 0),
    ],
)
def test_calls_and_their_results_are_one_unit_and_all_others_one_each(
    messages: list[PromptMessage], indexes: list[tuple[int, ...]], num_read: int
) -> None:
    units = units_of(messages)
    assert [unit.indexes for unit in units.units] == indexes
    assert units.num_read == num_read


@pytest.mark.parametrize(
    ("further", "is_open"),
    [
        ([], True),
        ([_result("a")], True),
        ([_result("a"), _result("b")], True),
        ([_result("a"), _result("b"), _user("<system-reminder>")], True),
        ([_result("a"), _result("b"), _calls("c")], False),
        ([_result("a"), _user("stop"), _said("As you like.")], False),
    ],
)
def test_a_round_is_open_until_the_assistant_goes_on(further: list[PromptMessage], *, is_open: bool) -> None:
    units = units_of([_user(), _calls("a", "b"), *further])
    assert units.units[1].is_open == is_open
    assert all(not unit.is_open for unit in units.units[: units.num_read])


@pytest.mark.parametrize("seed", range(50))
def test_every_message_is_in_one_unit_or_the_systems(seed: int) -> None:
    messages = random_prompt(random.Random(seed)).messages
    units = units_of(messages)
    told = [at for unit in units.units for at in unit.indexes]
    assert told == sorted(told)
    assert sorted([*told, *pinned_in(messages)]) == list(range(len(messages)))


@pytest.mark.parametrize("seed", range(50))
def test_what_goes_on_from_a_told_beginning_has_the_same_units(seed: int) -> None:
    messages = random_prompt(random.Random(seed)).messages
    units = units_of(messages)
    for told_end in units.told_ends:
        rest = units_of(messages, told_end)
        assert rest.units == tuple(unit for unit in units.units if unit.start >= told_end)
        assert set(rest.told_ends) < set(units.told_ends)
