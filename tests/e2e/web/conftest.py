"""A gateway whose fake engine has set answers, and a browser."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.e2e.web.said import ANSWERS
from tests.support import tiny_model
from tests.support.browser import Visit, chromium
from tests.support.gateway_process import GatewayProcess
from tests.support.keyed_server import KeyedServer
from tests.support.tiny_vision import VisionModel

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def gate_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


@pytest.fixture
def gates(gate_folder: Path) -> Iterator[Path]:
    """Where a file holds the engine, see `FakeOptions.gates`; a test that fails leaves none to the next."""
    yield gate_folder
    for gate in gate_folder.iterdir():
        gate.unlink()


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Path],
    tooled: tuple[Path, Path],
    vision_model: Callable[[str], VisionModel],
    gate_folder: Path,
) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("web") / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        for file in tooled:
            register_path(registry, file, name="thinker-1b")
        # The fake engine's own template knows nothing of thoughts.
        registry.models.change_settings("thinker-1b", {"template": tiny_model.TOOL_TEMPLATE})
        register_path(registry, vision_model("llava").folder, name="seer-1b")
    options = {"answers": ANSWERS, "gates": str(gate_folder), "context_length": 65536}
    started = GatewayProcess(home, fake_options=options)
    yield started
    started.stop()


@pytest.fixture
def keyed(tmp_path: Path, tiny_gguf: Path) -> Iterator[KeyedServer]:
    server = KeyedServer(tmp_path, tiny_gguf)
    yield server
    server.gateway.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


@pytest.fixture
def visit(browser: "Browser", gateway: GatewayProcess) -> Iterator[Callable[..., Visit]]:
    """Open windows; at the end the browser must have had nothing to complain about."""
    opened: list[Visit] = []

    def make(**options: Any) -> Visit:
        opened.append(Visit(browser, gateway.url, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()
    assert [problem for each in opened for problem in each.problems] == []
