"""A file of keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from router.keys.store import KeyStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[KeyStore]:
    with KeyStore.opened(path) as store:
        yield store
