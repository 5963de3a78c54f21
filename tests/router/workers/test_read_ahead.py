from pathlib import Path

import pytest

from router.workers import read_ahead as room
from router.workers.read_ahead import read_ahead


class Reader:
    def __init__(self, available_bytes: int) -> None:
        self.available_bytes = available_bytes
        self.files: list[str] = []

    def memory(self) -> "Reader":
        return self

    def read_ahead(self, path: Path) -> None:
        self.files.append(path.name)


def test_weights_are_read_ahead_where_they_leave_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b.safetensors", "a.safetensors", "config.json", "m.gguf"):
        (tmp_path / name).write_bytes(b"x" * 50)
    reader = Reader(available_bytes=200)
    monkeypatch.setattr(room, "current_platform", lambda: reader)
    read_ahead(tmp_path / "m.gguf")
    read_ahead(tmp_path)
    assert reader.files == ["m.gguf", "a.safetensors", "b.safetensors"]
    reader.available_bytes = 199
    read_ahead(tmp_path)
    read_ahead(tmp_path / "gone.gguf")
    assert reader.files == ["m.gguf", "a.safetensors", "b.safetensors"]
