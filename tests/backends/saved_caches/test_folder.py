"""The folder of all saved caches: how much may be in it, and how it is emptied."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from backends.saved_caches.folder import DEFAULT_BYTES, SUFFIX, clear, max_bytes_for, saved_files


class Usage(NamedTuple):
    """What `shutil.disk_usage` gives."""

    free: int


@pytest.mark.parametrize(
    ("free", "num_saved", "expected"),
    [(10**15, 0, DEFAULT_BYTES), (10**6, 0, 10**5), (10**6 - 1000, 1000, 10**5), (0, 0, 0)],
)
def test_by_default_there_is_a_tenth_of_the_free_disk_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, num_saved: int, expected: int
) -> None:
    """What is saved already does not count against itself."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(free))
    root = tmp_path / "caches"
    if num_saved:
        (root / "model").mkdir(parents=True)
        (root / "model" / f"a{SUFFIX}").write_bytes(b"x" * num_saved)
    assert max_bytes_for(root, None) == expected
    assert max_bytes_for(root, 7) == 7


def test_clearing_leaves_what_is_being_written(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"a{SUFFIX}").write_bytes(b"12345")
    (tmp_path / "two" / "b.part").write_bytes(b"1")
    assert sum(file.num_bytes for file in clear(tmp_path)) == 10
    assert saved_files(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    assert clear(tmp_path) == []
