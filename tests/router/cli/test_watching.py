import json
import time
from typing import Final

import msgspec
import pytest

from router.cli.watching import line_of
from router.events.kinds import AnyEvent, JobChanged, Lost, ModelChanged, PressureChanged, Snapshot, Swapped
from router.events.log import sse_frame
from router.status import ModelStatus
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway

MODEL = ModelChanged(at=0.0, model="m", engine="mlx", state="loading", load_fraction=0.25)
EVENTS: Final[tuple[AnyEvent, ...]] = (
    Snapshot(
        at=0.0,
        models=[ModelStatus(at=0.0, model="m", engine="mlx", state="loading")],
        pressure="normal",
        heat="nominal",
        jobs=[],
    ),
    MODEL,
    Swapped(at=0.0, event="unload", model="m", engine="mlx", reason="idle", freed_bytes=350_000_000),
    Lost(after="run-1", num_events=2),
)


@pytest.fixture
def told(stub: StubGateway) -> StubGateway:
    """A server that tells some events, and ends then."""
    frames = b"".join(sse_frame(event, f"run-{number}") for number, event in enumerate(EVENTS)).decode()

    def answer(_: object) -> tuple[int, str]:
        stub.ends()
        return 200, frames

    stub.answers["/v1/mlxr/events"] = answer
    return stub


def test_each_event_is_a_line_where_output_is_piped(mlxr: Mlxr, told: StubGateway) -> None:
    del told
    result = mlxr("ps", "--watch")
    assert result.exit_code == 0
    assert result.err == "The server has ended.\n"
    clock = time.strftime("%H:%M:%S", time.localtime(0))
    assert result.out.splitlines() == [
        f"{clock} snapshot model=m@mlx:loading pressure=normal heat=nominal",
        f"{clock} model model=m engine=mlx state=loading load_fraction=25%",
        f"{clock} swap event=unload model=m engine=mlx reason=idle freed_bytes=350.0MB",
        "--:--:-- lost after=run-1 num_events=2",
    ]


def test_json_is_one_object_per_line(mlxr: Mlxr, told: StubGateway) -> None:
    del told
    lines = mlxr("ps", "--watch", "--json").out.splitlines()
    assert [json.loads(line) for line in lines] == [msgspec.to_builtins(event) for event in EVENTS]


def test_what_others_wrote_is_made_safe() -> None:
    event = JobChanged(at=0.0, job="pull", id="1", subject="a\x1b[2J b", state="failed", message="x\ny")
    assert "\x1b" not in line_of(event)
    assert "\n" not in line_of(event)
    assert line_of(PressureChanged(at=0.0, level="warning", reason="71% used")).endswith('reason="71% used"')


def test_watching_needs_a_server(mlxr: Mlxr) -> None:
    result = mlxr("ps", "--watch")
    assert result.exit_code == 1
    assert "mlxr serve" in result.err
