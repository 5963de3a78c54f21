"""Opening GGUF files: links, errors with their place, and what is no regular file."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from registry.errors import ArtifactError, GGUFError
from registry.gguf import read_header
from tests.registry.gguf_builder import build, llama_model, parse_header


def test_a_symlink_to_a_gguf_is_read(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(llama_model())
    (tmp_path / "m.gguf").symlink_to("blob")
    assert read_header(tmp_path / "m.gguf") == parse_header(llama_model())


def test_an_error_names_the_file_and_the_place(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(build(version=9))
    with pytest.raises(GGUFError, match=r"m\.gguf: .*version 9.*\(at byte 4\)"):
        read_header(path)


def _make_fifo(path: Path) -> None:
    os.mkfifo(path)


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def _make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_make_fifo, "not_a_regular_file"),
        (Path.mkdir, "not_a_regular_file"),
        (lambda path: path.symlink_to("/dev/zero"), "not_a_regular_file"),
        (_make_loop, "symlink_loop"),
        (lambda path: path.symlink_to("nowhere"), "not_found"),
        (lambda _: None, "not_found"),
    ],
    ids=["fifo", "folder", "device", "loop", "dangling", "absent"],
)
def test_what_is_no_regular_file_is_refused_without_blocking(tmp_path: Path, make: Any, code: str) -> None:
    path = tmp_path / "m.gguf"
    make(path)
    with pytest.raises(ArtifactError) as caught:
        read_header(path)
    assert caught.value.code == code


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # socket paths are limited to about 100 bytes
    _make_socket(Path("m.gguf"))
    with pytest.raises(ArtifactError) as caught:
        read_header(Path("m.gguf"))
    assert caught.value.code in {"not_a_regular_file", "unreadable"}


def test_a_path_with_a_nul_is_refused() -> None:
    with pytest.raises(ArtifactError) as caught:
        read_header(Path("a\0b"))
    assert caught.value.code == "not_found"
