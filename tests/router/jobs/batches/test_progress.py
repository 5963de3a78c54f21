import random

from router.jobs.batches.base import Line
from router.jobs.batches.progress import LineGraph


def lines(*depends_on: tuple[int, ...], ended: dict[int, bool] | None = None) -> list[Line]:
    return [
        Line(
            number=number,
            custom_id=str(number),
            offset=0,
            num_bytes=0,
            depends_on=needs,
            is_ok=(ended or {}).get(number),
        )
        for number, needs in enumerate(depends_on, 1)
    ]


def taken(graph: LineGraph) -> list[int]:
    found = []
    while (line := graph.take()) is not None:
        found.append(line.number)
    return found


def test_a_line_may_run_when_all_that_it_depends_on_was_answered() -> None:
    graph = LineGraph(lines((), (1,), (1, 4), ()))
    assert taken(graph) == [1, 4]
    assert graph.end(1, is_ok=True) == []
    assert taken(graph) == [2]
    graph.end(4, is_ok=True)
    assert taken(graph) == [3]
    assert graph.num_open == 2


def test_a_failure_ends_all_that_depends_on_it_and_nothing_else() -> None:
    graph = LineGraph(lines((), (1,), (2,), (), (4, 3)))
    assert taken(graph) == [1, 4]
    assert [line.number for line in graph.end(1, is_ok=False)] == [2, 3, 5]
    assert graph.num_open == 1
    graph.end(4, is_ok=True)
    assert graph.num_open == 0
    assert taken(graph) == []


def test_it_goes_on_from_what_has_ended_before() -> None:
    graph = LineGraph(lines((), (1,), (2,), (), (4,), ended={1: True, 4: False}))
    assert [line.number for line in graph.lost()] == [5]
    assert taken(graph) == [2]
    assert graph.num_open == 2


def test_the_rest_can_be_dropped_but_for_those_that_run() -> None:
    graph = LineGraph(lines((), (), (1,), ()))
    first = graph.take()
    assert first is not None
    assert [line.number for line in graph.drop_rest({first.number})] == [2, 3, 4]
    assert graph.num_open == 1
    assert graph.end(first.number, is_ok=True) == []
    assert graph.num_open == 0


def test_whatever_the_order_every_line_ends_once() -> None:
    for seed in range(50):
        rng = random.Random(seed)
        all_lines = lines(*(tuple(rng.sample(range(1, n), min(n - 1, rng.randrange(3)))) for n in range(1, 30)))
        graph = LineGraph(all_lines)
        ends: list[int] = []
        running: list[Line] = []
        ok: dict[int, bool] = {}
        while graph.num_open:
            while (line := graph.take()) is not None:
                assert all(ok[number] for number in line.depends_on)
                running.append(line)
            line = running.pop(rng.randrange(len(running)))
            ok[line.number] = rng.random() < 0.8
            lost = graph.end(line.number, is_ok=ok[line.number])
            ok.update({each.number: False for each in lost})
            ends += [line.number, *(each.number for each in lost)]
        assert sorted(ends) == [line.number for line in all_lines]
