"""The order of the cases, and the count of those that hold."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cases.serving import Servers

_CASES: Final = "test_a_case_holds["


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    running = Servers(tmp_path_factory)
    yield running
    running.stop()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the cases of one engine and one model beside each other: a gateway starts and a model loads once."""
    places = [index for index, item in enumerate(items) if _CASES in item.nodeid]
    cases = sorted((items[index] for index in places), key=_engine_and_model)
    for index, item in zip(places, cases, strict=True):
        items[index] = item


def _engine_and_model(item: pytest.Item) -> tuple[str, str]:
    params: dict[str, Any] = getattr(item, "callspec").params  # noqa: B009 - items of functions have it
    return params["engine"], params["case"].model


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases hold, and which faults the others wait for."""
    ended = {
        outcome: [report for report in terminalreporter.stats.get(outcome, []) if _CASES in report.nodeid]
        for outcome in ("passed", "xfailed", "failed", "error")
    }
    num_cases = sum(len(reports) for reports in ended.values())
    if not num_cases:
        return
    terminalreporter.section("cases of public reports")
    terminalreporter.line(f"{len(ended['passed'])} of {num_cases} cases hold")
    faults: dict[str, int] = {}
    for report in ended["xfailed"]:
        row = report.nodeid.partition(_CASES)[2].partition(":")[0]
        faults[row] = faults.get(row, 0) + 1
    for row, number in sorted(faults.items()):
        terminalreporter.line(f"  {number} wait for {row}")
