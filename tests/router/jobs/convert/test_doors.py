"""Files that end before their tensors do are refused wherever a model comes in: added, scanned, made, converted."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.creating.models import create_from_files
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.scan import ScanRoot, register_path, scan
from registry.store import Registry
from router.jobs.convert.report import ConversionOptions
from router.jobs.convert.steps import plan_conversion
from tests.support import tiny_model

NO_BITS = ConversionOptions(bits=None)


def cut_gguf(folder: Path) -> Path:
    path = tiny_model.write_gguf(folder / "cut.gguf")
    path.write_bytes(path.read_bytes()[:-1])
    return path


def cut_folder(folder: Path) -> Path:
    path = tiny_model.write_mlx(folder / "cut")
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    return path


def folder_with_an_offset_outside(folder: Path) -> Path:
    path = tiny_model.write_mlx(folder / "outside")
    weights = path / "model.safetensors"
    data = weights.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    first = next(name for name in header if name != "__metadata__")
    begin, end = header[first]["data_offsets"]
    header[first]["data_offsets"] = [begin + len(data), end + len(data)]
    changed = json.dumps(header).encode()
    weights.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + size :])
    return path


SPOILT: list[Callable[[Path], Path]] = [cut_gguf, cut_folder, folder_with_an_offset_outside]
CODES = {"data_past_end", "bad_safetensors"}


def code_of(refused: Callable[[], object]) -> str:
    with pytest.raises(ArtifactError) as caught:
        refused()
    return caught.value.code


@pytest.mark.parametrize("spoil", SPOILT)
def test_it_is_refused_when_it_is_added_scanned_and_made(tmp_path: Path, spoil: Callable[[Path], Path]) -> None:
    (tmp_path / "models").mkdir()
    path = spoil(tmp_path / "models")
    files = [(file.name, file) for file in sorted(path.iterdir())] if path.is_dir() else [("cut.gguf", path)]
    with Registry(tmp_path / "registry.sqlite3") as registry:
        assert code_of(lambda: register_path(registry, path)) in CODES
        assert code_of(lambda: create_from_files(registry, tmp_path / "own", "made:latest", files)) in CODES
        (failure,) = scan(registry, [ScanRoot(path=tmp_path / "models")]).failed
        assert failure.code in CODES
        assert registry.models.list() == ()


@pytest.mark.parametrize("kind", list(ArtifactFormat))
def test_one_that_was_cut_later_is_refused_when_it_is_converted(tmp_path: Path, kind: ArtifactFormat) -> None:
    is_folder = kind is ArtifactFormat.MLX
    path = tiny_model.write_mlx(tmp_path / "cut") if is_folder else tiny_model.write_gguf(tmp_path / "cut.gguf")
    cut = cut_folder if is_folder else cut_gguf
    with Registry(tmp_path / "registry.sqlite3") as registry:
        model = register_path(registry, path, name="m")
        plan_conversion(registry, model, NO_BITS, tmp_path / "own", has_metal=False)
        cut(tmp_path)
        refused = code_of(lambda: plan_conversion(registry, model, NO_BITS, tmp_path / "own", has_metal=False))
        assert refused in CODES
