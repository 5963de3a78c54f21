"""One gateway with keys for all tests of a room; names of keys are one test's each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.keyed_server import KeyedServer


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path) -> Iterator[KeyedServer]:
    server = KeyedServer(tmp_path_factory.mktemp("keys") / "home", tiny_gguf)
    yield server
    assert server.gateway.stop() == 0
