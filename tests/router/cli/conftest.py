import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from router.cli.app import main
from router.config.paths import Paths
from tests.router.cli.stub_gateway import StubGateway, running_stub


class Result(NamedTuple):
    exit_code: int
    out: str
    err: str


Mlxr = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty MLXR_HOME that no cache and no model of this machine reaches."""
    home = tmp_path / "home"
    monkeypatch.setenv("MLXR_HOME", str(home))
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "100")
    return home


@pytest.fixture
def paths(home: Path) -> Paths:
    return Paths.under(home, user_home=Path(os.environ["HOME"]))


@pytest.fixture
def mlxr(home: Path, capfd: pytest.CaptureFixture[str]) -> Mlxr:
    """The command, in this process."""
    del home

    def run(*arguments: str) -> Result:
        capfd.readouterr()
        exit_code = main(arguments)
        captured = capfd.readouterr()
        return Result(exit_code, captured.out, captured.err)

    return run


@pytest.fixture
def stub(paths: Paths) -> Iterator[StubGateway]:
    with running_stub(paths) as gateway:
        yield gateway
