"""Homes with registered models, and gateways on them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths, paths_from_env
from tests.support import npm, tiny_model
from tests.support.gateway_process import GatewayProcess
from tests.support.made_once import made_once
from tests.support.python_clients import PythonClients

TOOLED_CONTEXT_LENGTH = 8192
BUNDLED = "smollm2-135m-instruct"
NODE_PACKAGES = (
    *("openai@6", "@anthropic-ai/sdk@1", "ollama@0.6"),
    *("ai@6", "@ai-sdk/openai-compatible@2", "ollama-ai-provider-v2@3", "zod@4"),
)
_SHARED = ("shared_gateway", "tooled_gateway", "scenario_gateway", "real_gateway")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of one gateway beside each other, and of these those of one engine.

    Else a process starts a gateway that another has already, and each test swaps the engines: as dear as the start of a
    worker and the load of a model.
    """
    asking = [item for item in items if _gateway_of(item) is not None]
    if not asking:
        return
    first = items.index(asking[0])
    items[:] = [item for item in items if _gateway_of(item) is None]
    items[first:first] = sorted(asking, key=lambda item: (_gateway_of(item), _place_of_engine(item)))


def _gateway_of(item: pytest.Item) -> str | None:
    """Return what tells the gateway of more than one test that a test asks, or None."""
    if "e2e" not in item.path.parts or item.get_closest_marker("long") is not None:
        return None
    fixtures: list[str] = getattr(item, "fixturenames", [])
    if "server" in fixtures and item.path.parent.name == "keys":
        return "server"
    return str(item.path) if "gateway" in fixtures else next((name for name in _SHARED if name in fixtures), None)


def _place_of_engine(item: pytest.Item) -> int:
    """Return 0 and 2 for the engines, 1 for what asks both or the one that is there."""
    callspec = getattr(item, "callspec", None)
    return {"llamacpp": 0, "mlx": 2}.get(callspec.params.get("engine"), 1) if callspec is not None else 1


@pytest.fixture(scope="session")
def bundled_mlx() -> Path:
    folder = paths_from_env(os.environ).models_dir / f"{BUNDLED}-mlx-4bit"
    if not folder.exists():
        pytest.skip(f"{folder} does not exist; `make setup` converts the bundled model")
    return folder


@pytest.fixture(scope="session")
def tooled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The tiny model with a template that knows tools and thinking, and a context that takes their descriptions."""
    folder = tmp_path_factory.mktemp("tooled")
    options: dict[str, Any] = {"chat_template": tiny_model.TOOL_TEMPLATE, "context_length": TOOLED_CONTEXT_LENGTH}
    return (
        tiny_model.write_gguf(folder / "tooled.gguf", name="tooled", **options),
        tiny_model.write_mlx(folder / "tooled-mlx", name="tooled", **options),
    )


@pytest.fixture(scope="session")
def python_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PythonClients]:
    with PythonClients(tmp_path_factory.mktemp("clients") / "stderr.txt") as clients:
        yield clients


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of all clients that run on Node; a test that wants them is skipped where they cannot be had."""
    return made_once(tmp_path_factory, "node", lambda folder: npm.install(folder, *NODE_PACKAGES))


@pytest.fixture(scope="session")
def make_home(tiny_gguf: Path, tiny_mlx: Path) -> Callable[[Path], Path]:
    def make(home: Path) -> Path:
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny_gguf, name="tiny")
            register_path(registry, tiny_mlx, name="tiny")
        return home

    return make


@pytest.fixture
def home(tmp_path: Path, make_home: Callable[[Path], Path]) -> Path:
    return make_home(tmp_path / "home")


@pytest.fixture
def start_gateway(home: Path) -> Iterator[Callable[..., GatewayProcess]]:
    started: list[GatewayProcess] = []

    def start(
        config: dict[str, Any] | None = None, *arguments: str, fake_options: dict[str, Any] | None = None
    ) -> GatewayProcess:
        started.append(GatewayProcess(home, config=config, arguments=arguments, fake_options=fake_options))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()


@pytest.fixture(scope="session")
def real_gateway(
    tmp_path_factory: pytest.TempPathFactory,
    make_home: Callable[[Path], Path],
    bundled_gguf: Path,
    bundled_mlx: Path,
) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("real") / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, bundled_gguf, name=BUNDLED)
        register_path(registry, bundled_mlx, name=BUNDLED)
    gateway = GatewayProcess(home)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="session")
def tooled_gateway(
    tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path], tooled: tuple[Path, Path]
) -> Iterator[GatewayProcess]:
    home = make_home(tmp_path_factory.mktemp("tooled") / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        for path in tooled:
            register_path(registry, path, name="tooled")
    gateway = GatewayProcess(home)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="session")
def shared_gateway(
    tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]
) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(make_home(tmp_path_factory.mktemp("shared") / "home"))
    yield gateway
    assert gateway.stop() == 0
