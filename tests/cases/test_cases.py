"""Every row of the tables in this folder, on its engines: what was reported of other servers, tried on this one."""

import pytest

from tests.cases import (
    agents,
    conversations,
    files,
    history,
    homes,
    http_forms,
    images,
    numbers,
    ollama,
    recorded,
    schemas,
    servers,
    streams,
)
from tests.cases.awaited import AWAITED
from tests.cases.case import Case
from tests.cases.serving import Servers

_TABLES = (
    conversations,
    history,
    numbers,
    agents,
    http_forms,
    schemas,
    streams,
    ollama,
    servers,
    files,
    homes,
    images,
    recorded,
)
CASES: list[Case] = [case for table in _TABLES for case in table.CASES]


def _param(case: Case, engine: str) -> object:
    """Return a case on an engine; one that waits for a mend must fail until it is there."""
    name = case.id_on(engine)
    marks = [pytest.mark.xfail(reason=f"waits for {case.row}", strict=True)] if name in AWAITED else []
    return pytest.param(engine, case, id=name, marks=marks)


@pytest.mark.parametrize(("engine", "case"), [_param(case, engine) for case in CASES for engine in case.engines])
def test_a_case_holds(servers: Servers, engine: str, case: Case) -> None:
    case.run(servers.on(engine))


def test_names_of_cases_differ_and_each_awaited_one_is_there() -> None:
    names = [case.id_on(engine) for case in CASES for engine in case.engines]
    assert len(set(names)) == len(names)
    assert set(names) >= AWAITED
