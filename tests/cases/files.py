"""Files and folders as users have them: odd names, and what is no model with the reason (F11; what held)."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from registry.errors import RegistryError
from registry.scan import register_path
from registry.store import Registry
from tests.cases.case import Case, Server
from tests.support import tiny_model

_NAMES: Final = {
    "upper case": "UPPER.GGUF",
    "mixed case": "Mixed.GguF",
    "blanks and brackets": "with blanks (and [brackets]).gguf",
    "Japanese": "日本語.gguf",
    "Russian": "моя модель.gguf",
    "an emoji": "🦙.gguf",
    "240 letters": f"{'long' * 60}.gguf",
}
_POINTER: Final = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4661211424\n"
_PAGE: Final = b"<!DOCTYPE html><html><body>404</body></html>"


def _registered(path: Path) -> str:
    with tempfile.TemporaryDirectory() as folder, Registry(Path(folder) / "catalogue.sqlite3") as registry:
        return register_path(registry, path).name


def _named(kind: str, name: str) -> Case:
    def run(_: Server) -> None:
        with tempfile.TemporaryDirectory() as folder:
            assert _registered(tiny_model.write_gguf(Path(folder) / name, name=""))

    return Case(row="held", name=f"a file's name of {kind}", run=run)


def _refused(row: str, name: str, write: Callable[[Path], Path], *words: str) -> Case:
    """Return the case of a path that is no model, whose error has these words."""

    def run(_: Server) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = write(Path(folder))
            with pytest.raises(RegistryError) as refused:
                _registered(path)
            for word in words:
                assert word in str(refused.value)

    return Case(row=row, name=name, run=run)


def _file(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "model.gguf").write_bytes(content)
        return folder / "model.gguf"

    return write


def _truncated(folder: Path) -> Path:
    path = tiny_model.write_gguf(folder / "model.gguf")
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def _old_weights(folder: Path) -> Path:
    """Write a folder as mlx's examples did before safetensors."""
    model = tiny_model.write_mlx(folder / "old")
    (model / "model.safetensors").rename(model / "weights.npz")
    return model


def _truncated_mlx(folder: Path) -> Path:
    model = tiny_model.write_mlx(folder / "cut")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return model


CASES: Final[list[Case]] = [
    # invoke-ai/InvokeAI#7158, lmstudio-ai/lmstudio-bug-tracker#625, #834, #406
    *(_named(kind, name) for kind, name in _NAMES.items()),
    # ollama/ollama#5245
    _refused("F11", "a Git LFS pointer", _file(_POINTER), "Git LFS", "git lfs pull"),
    _refused("F11", "a folder with weights.npz", _old_weights, "npz"),
    _refused("held", "an empty file", _file(b"")),
    _refused("held", "a web page", _file(_PAGE)),
    _refused("section 3", "a GGUF whose tensors end behind its end", _truncated),
    _refused("section 3", "safetensors whose offsets leave the file", _truncated_mlx),
]
