from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store import Registry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Registry]:
    """A new catalogue."""
    with Registry(tmp_path / "registry.sqlite3") as opened:
        yield opened


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """An empty folder for models."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder
