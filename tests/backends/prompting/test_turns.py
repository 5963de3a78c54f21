"""Conversations of all orders, by what templates take: as they are, or in the order that is wanted."""

from typing import Any, Final

import pytest

from backends.prompting.chat_template import ChatTemplate
from backends.prompting.turns import STRICTEST, TurnRules, arranged, probe

PLAIN: Final = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
FIRST_ONLY: Final = (
    "{% for m in messages[1:] %}{% if m.role == 'system' %}{{ raise_exception('System message must be at the "
    "beginning.') }}{% endif %}{% endfor %}" + PLAIN
)
BY_TURNS: Final = (
    "{% if messages[0].role == 'system' %}{% set ms = messages[1:] %}[system]{{ messages[0].content }}{% else %}"
    "{% set ms = messages %}{% endif %}{% for m in ms %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)
NO_SYSTEM: Final = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}"
)
DROPS_SYSTEM: Final = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"


def template(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_text="", eos_text="")


def turns(*written: str) -> list[dict[str, Any]]:
    """Messages, each written as its role's first letter and its text."""
    roles = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return [{"role": roles[each[0]], "content": each[1:]} for each in written]


@pytest.mark.parametrize(
    ("source", "rules"),
    [
        (PLAIN, TurnRules()),
        (FIRST_ONLY, TurnRules(late_system=False)),
        (BY_TURNS, TurnRules(late_system=False, neighbours=False, assistant_first=False)),
        (NO_SYSTEM, STRICTEST),
        (DROPS_SYSTEM, TurnRules(system=False, late_system=False)),
        ("{{ raise_exception('never') }}", TurnRules()),
        ("{{ missing.field.field }}", TurnRules()),
    ],
)
def test_a_template_is_asked_what_it_takes(source: str, rules: TurnRules) -> None:
    assert probe(template(source).render) == rules


CONVERSATIONS = [
    turns("sA", "sB", "uhi"),
    turns("sA", "uhi", "ayes", "sB", "ugo"),
    turns("uhi", "sA"),
    turns("sA", "uhi"),
    turns("u1", "u2"),
    turns("a0", "u1"),
    turns("u1", "a2", "a3", "u4"),
    turns("sA", "a0", "u1"),
    turns("sA", "sB"),
    turns("sA"),
    turns("sA", "u1", "sB", "u2", "a3", "a4", "sC"),
]


@pytest.mark.parametrize("messages", CONVERSATIONS, ids=lambda each: "".join(turn["role"][0] for turn in each))
@pytest.mark.parametrize("source", [PLAIN, FIRST_ONLY, BY_TURNS, NO_SYSTEM, DROPS_SYSTEM])
def test_all_of_it_is_shown_in_its_order(source: str, messages: list[dict[str, Any]]) -> None:
    made = template(source)
    shown = made.render(arranged(messages, probe(made.render)))
    places = [shown.index(turn["content"]) for turn in messages]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("source", "messages", "shown"),
    [
        (PLAIN, turns("sA", "sB", "uhi"), "[system]A\n\nB[user]hi"),
        (PLAIN, turns("uhi", "sA"), "[user]hi[system]A"),
        (FIRST_ONLY, turns("sA", "uhi", "ayes", "sB", "ugo"), "[system]A[user]hi[assistant]yes[user]B\ngo"),
        (FIRST_ONLY, turns("u1", "u2", "sA"), "[user]1[user]2\nA"),
        (NO_SYSTEM, turns("sA", "uhi"), "[user]A\n\nhi"),
        (NO_SYSTEM, turns("sA", "a0", "u1"), "[user]A[assistant]0[user]1"),
        (BY_TURNS, turns("u1", "u2", "a1", "a2"), "[user]1\n2[assistant]1\n2"),
        (BY_TURNS, turns("sA", "a0", "u1"), "[system]A[user][assistant]0[user]1"),
    ],
)
def test_what_the_template_refuses_is_joined_or_folded(source: str, messages: list[Any], shown: str) -> None:
    made = template(source)
    assert made.render(arranged(messages, probe(made.render))) == shown


def test_the_beginning_stays_the_same_when_turns_follow() -> None:
    messages = turns("sA", "u1", "u2", "a1", "sB", "u3", "a2", "u4", "sC", "u5")
    for rules in (TurnRules(late_system=False), STRICTEST):
        whole = arranged(messages, rules)
        for end in (4, 7):  # behind an answer
            before = arranged(messages[:end], rules)
            assert whole[: len(before)] == before


def test_thoughts_and_calls_of_joined_answers_are_all_there() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}
    first = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    second = {"role": "assistant", "content": "x", "reasoning_content": "so", "tool_calls": [call]}
    joined = arranged([*turns("u1"), first, second], STRICTEST)[1]
    assert (joined["content"], joined["reasoning_content"], len(joined["tool_calls"])) == ("x", "hm\nso", 2)


def test_nothing_that_is_given_is_changed() -> None:
    messages = turns("sA", "sB", "u1", "u2", "sC", "a1", "a2")
    before = [dict(message) for message in messages]
    arranged(messages, STRICTEST)
    assert messages == before
