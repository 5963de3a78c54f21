import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr


def test_gguf_is_not_supported_and_the_way_out_is_said(mlxr: Mlxr) -> None:
    result = mlxr("models", "convert", "anything", "--to", "gguf")
    assert result.exit_code == 2
    assert "not supported" in result.err
    assert "mlxr models pull" in result.err


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--bits", "7", "2, 3, 4"),
        ("--group-size", "48", "32, 64, 128"),
        ("--dtype", "int8", "float16"),
        ("--to", "onnx", "mlx"),
    ],
)
def test_what_is_not_possible_is_refused_with_what_is(mlxr: Mlxr, option: str, value: str, word: str) -> None:
    result = mlxr("models", "convert", "anything", option, value)
    assert (result.exit_code, word in result.err) == (2, True)


def test_bfloat16_does_not_come_from_a_gguf(mlxr: Mlxr, tiny_gguf: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    result = mlxr("models", "convert", "tiny", "--dtype", "bfloat16")
    assert (result.exit_code, "use float16 or float32" in result.err) == (1, True)


def test_a_model_that_has_both_forms_keeps_them(mlxr: Mlxr, tiny_gguf: Path, tiny_mlx: Path) -> None:
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    mlxr("models", "add", str(tiny_mlx), "--name", "tiny")
    result = mlxr("models", "convert", "tiny")
    assert result.exit_code == 1
    assert "--as NAME" in result.err
    assert "mlxr models unlink tiny --format mlx" in result.err


def test_a_full_disk_is_seen_before_anything_is_written(
    mlxr: Mlxr, paths: Paths, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=1_000_000))
    mlxr("models", "add", str(tiny_gguf), "--name", "tiny")
    result = mlxr("models", "convert", "tiny")
    assert result.exit_code == 1
    assert "0.0 GB are free" in result.err
    assert list(paths.models_dir.iterdir()) == []
