"""Waiting for the processes of a model, when the one that answered first goes meanwhile."""

from types import SimpleNamespace
from typing import Any

import pytest

from examples.stage.needs import MissingError
from examples.stage.workers import started_workers


def worker(number: int) -> SimpleNamespace:
    return SimpleNamespace(
        id=number, pid=1000 + number, state="ready", model="m", adapter=None, engine="llamacpp", load={}
    )


class Server:
    """A server whose answers come of one worker after another, and that has lists of workers to tell, one per look."""

    model = "m"

    def __init__(self, answering: list[int], lists: list[list[int]]) -> None:
        self.asked = 0
        self.client = self
        self._answering, self._lists = answering, lists

    def ask(self, _text: str, *, max_tokens: int) -> Any:
        assert max_tokens == 1
        self.asked += 1
        return SimpleNamespace(worker=SimpleNamespace(id=self._answering.pop(0)))

    def status(self) -> Any:
        found = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        return SimpleNamespace(workers=[worker(number) for number in found])


def test_the_model_is_asked_again_when_who_answered_has_gone() -> None:
    server = Server([1, 2], [[], [], [2], [2, 3]])
    found = started_workers(server, 2, patience_s=60)  # type: ignore[arg-type]
    assert [each.id for each in found] == [2, 3]
    assert server.asked == 2


def test_it_is_not_asked_again_while_that_one_is_there() -> None:
    server = Server([1], [[1], [1], [1, 2]])
    found = started_workers(server, 2, patience_s=60)  # type: ignore[arg-type]
    assert [each.id for each in found] == [1, 2]
    assert server.asked == 1


def test_what_does_not_come_is_told() -> None:
    server = Server([1], [[1]])
    with pytest.raises(MissingError, match=r"2 workers of m are needed, and 1 came within 0\.2 s"):
        started_workers(server, 2, patience_s=0.2)  # type: ignore[arg-type]
