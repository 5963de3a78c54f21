"""Uploads: verified, found again, and gone when they are not what was said."""

import hashlib
import os
from pathlib import Path

import pytest

from registry.creating import uploads
from registry.creating.uploads import KEPT_S, Upload, drop_upload, find_blob, note_blob
from registry.errors import ArtifactError, PullDiskFullError, PullStoreError

DATA = os.urandom(200_000)
HEX = hashlib.sha256(DATA).hexdigest()


class Bench:
    def __init__(self, root: Path) -> None:
        self.models_dir, self.database = root / "models", root / "registry.sqlite3"

    def begin(self, *, size_bytes: int | None = None, sha256: str = HEX) -> Upload:
        return Upload.begin(self.models_dir, self.database, sha256, size_bytes=size_bytes)

    def put(self) -> Path:
        upload = self.begin()
        upload.write(DATA[:1000])
        upload.write(DATA[1000:])
        path = upload.finish()
        upload.close()
        return path

    def files(self) -> list[str]:
        folder = self.models_dir / ".uploads"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_what_came_whole_is_kept_under_its_checksum_and_found(bench: Bench) -> None:
    path = bench.put()
    assert path.read_bytes() == DATA
    assert bench.files() == [f"sha256-{HEX}"]
    assert find_blob(bench.database, HEX) == path
    assert find_blob(bench.database, "0" * 64) is None


def test_other_bytes_are_thrown_away(bench: Bench) -> None:
    upload = bench.begin()
    upload.write(DATA[:-1])
    with pytest.raises(ArtifactError, match="digest mismatch"):
        upload.finish()
    upload.close()
    upload.close()
    assert bench.files() == []
    assert find_blob(bench.database, HEX) is None


def test_a_file_that_changed_since_is_not_found(bench: Bench) -> None:
    path = bench.put()
    path.write_bytes(DATA[::-1])
    os.utime(path, ns=(1, 1))
    assert find_blob(bench.database, HEX) is None


def test_an_upload_that_got_a_better_name_is_found_there(bench: Bench, tmp_path: Path) -> None:
    path, better = bench.put(), tmp_path / "model.gguf"
    os.link(path, better)
    note_blob(bench.database, HEX, better)
    drop_upload(bench.models_dir, bench.database, HEX)
    assert bench.files() == []
    assert find_blob(bench.database, HEX) == better


def test_a_declared_size_that_does_not_fit_is_refused_before_a_byte_came(bench: Bench) -> None:
    with pytest.raises(PullDiskFullError, match="reserve"):
        bench.begin(size_bytes=1 << 60)
    assert bench.files() == []


def test_a_disk_that_fills_meanwhile_is_noticed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SYNC_BYTES", 1000)
    upload = bench.begin()
    upload.write(DATA[:1000])
    monkeypatch.setattr(uploads, "free_bytes", lambda _: 0)
    with pytest.raises(PullDiskFullError):
        upload.write(DATA[1000:])
    upload.close()
    assert bench.files() == []


def test_what_nobody_used_for_a_week_goes(bench: Bench) -> None:
    path = bench.put()
    (path.parent / "crashed.part").write_bytes(b"x")
    for each in path.parent.iterdir():
        os.utime(each, (1, each.stat().st_mtime - KEPT_S - 1))
    upload = bench.begin(sha256="0" * 64)
    assert f"sha256-{HEX}" not in bench.files()
    assert "crashed.part" not in bench.files()
    upload.close()


def test_a_link_in_the_place_of_the_folder_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    bench.models_dir.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (bench.models_dir / ".uploads").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PullStoreError, match="in the way"):
        bench.begin()
