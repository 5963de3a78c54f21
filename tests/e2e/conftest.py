"""Homes with registered models, and gateways on them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths, paths_from_env
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

TOOLED_CONTEXT_LENGTH = 8192
BUNDLED = "smollm2-135m-instruct"


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
    gateway = GatewayProcess(home, config={"standby": True})
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="session")
def shared_gateway(
    tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]
) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(make_home(tmp_path_factory.mktemp("shared") / "home"))
    yield gateway
    assert gateway.stop() == 0
