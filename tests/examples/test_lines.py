import json

import pytest

from examples.dag_burst import diamond
from examples.dag_multi_turn import talk
from examples.graphs.lines import Line, LineEnd, critical_path, too_early


def line(name: str, *depends_on: str) -> Line:
    return Line(name=name, messages=(), max_tokens=1, depends_on=depends_on)


def ends(**took_s: float) -> dict[str, LineEnd]:
    return {name: LineEnd(name=name, place=place, took_s=took) for place, (name, took) in enumerate(took_s.items(), 1)}


DIAMOND = [line("join", "left", "right"), line("left", "base"), line("right", "base"), line("base"), line("alone")]


def test_the_critical_path_is_the_chain_that_takes_longest() -> None:
    took = ends(base=1.0, left=2.0, right=3.0, join=0.5, alone=4.0)
    assert critical_path(DIAMOND, took) == (4.5, ("base", "right", "join"))
    assert critical_path(DIAMOND, took | ends(alone=5.0)) == (5.0, ("alone",))


def test_a_line_that_never_ran_is_none_of_it_and_no_lines_have_no_path() -> None:
    assert critical_path([line("a"), line("b", "a")], ends(a=1.0)) == (1.0, ("a",))
    assert critical_path([], {}) == (0.0, ())


def test_a_line_that_was_answered_before_its_dependency_is_named() -> None:
    assert too_early(DIAMOND, ends(base=0, left=0, right=0, join=0, alone=0)) == []
    assert too_early(DIAMOND, ends(base=0, left=0, join=0, right=0)) == ["join"]
    assert too_early(DIAMOND, ends(left=0)) == ["left"]


def test_a_line_that_was_given_up_waits_for_nobody() -> None:
    given_up = LineEnd(name="join", place=3, took_s=0, code="dependency_failed")
    assert too_early(DIAMOND, ends(base=0, left=0, right=0) | {"join": given_up}) == []


@pytest.mark.parametrize("lines", [diamond("d", "rivers"), talk("t", ("one", "two", "three"))])
def test_placeholders_stand_for_lines_that_are_waited_for(lines: list[Line]) -> None:
    known: set[str] = set()
    for each in lines:
        written = json.loads(each.json("m"))
        assert known.issuperset(each.depends_on)
        text = json.dumps(written["body"]["messages"])
        assert all(f"{{{{{name}.output}}}}" in text for name in each.depends_on)
        assert ("depends_on" in written) == bool(each.depends_on)
        known.add(each.name)
