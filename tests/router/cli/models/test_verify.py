import json
import os
import shutil
from pathlib import Path

import pytest

from router.cli.doctor.model_folders import check_model_folders
from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr


@pytest.fixture
def owned(paths: Paths, tiny_gguf: Path, mlxr: Mlxr) -> Path:
    paths.ensure_folders()
    path = Path(shutil.copy(tiny_gguf, paths.models_dir / "tiny-model.gguf"))
    assert mlxr("models", "scan").exit_code == 0
    return path


def found(paths: Paths) -> dict[str, tuple[str, str | None]]:
    return {check.name: (check.found, check.remedy) for check in check_model_folders(paths)}


def test_sound_models_are_verified(mlxr: Mlxr, owned: Path) -> None:
    first = mlxr("models", "verify")
    assert first.exit_code == 0
    assert "1 file had no known checksum" in first.out
    assert first.out.splitlines()[-1].endswith("nothing wrong.")
    report = json.loads(mlxr("models", "verify", "tiny-model", "--json").out)
    assert report["ok"] is True
    assert (report["artifacts"][0]["path"], report["artifacts"][0]["num_compared"]) == (str(owned), 1)


def test_damage_gives_exit_code_1_and_the_way_out(mlxr: Mlxr, owned: Path) -> None:
    mlxr("models", "verify")
    before = owned.stat()
    owned.write_bytes(owned.read_bytes()[:-1] + b"\xff")
    os.utime(owned, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = mlxr("models", "verify")
    assert result.exit_code == 1
    assert "other bytes than it should" in result.out
    assert "mlxr models rm tiny-model" in result.out
    assert json.loads(mlxr("models", "verify", "--json").out)["ok"] is False


def test_an_empty_catalogue_has_nothing_to_verify(mlxr: Mlxr) -> None:
    assert (mlxr("models", "verify").exit_code, mlxr("models", "verify", "absent").exit_code) == (0, 1)


def test_a_tidy_folder_gives_the_doctor_nothing_to_say(paths: Paths, owned: Path) -> None:
    assert owned.exists()
    assert found(paths) == {}


def test_the_doctor_names_what_vanished(paths: Paths, owned: Path) -> None:
    owned.unlink()
    text, remedy = found(paths)["vanished"]
    assert str(owned) in text
    assert remedy is not None
    assert "mlxr models rm tiny-model" in remedy


def test_the_doctor_names_what_is_not_registered(paths: Paths, owned: Path, tiny_mlx: Path, mlxr: Mlxr) -> None:
    folder = Path(shutil.copytree(tiny_mlx, owned.parent / "other-model"))
    assert found(paths)["unregistered"] == (f"1 model not in the catalogue, e.g. {folder}", "mlxr models scan")
    mlxr("models", "scan")
    assert found(paths) == {}


def test_the_doctor_names_files_of_nobody(paths: Paths, owned: Path) -> None:
    stray = owned.parent / "my notes.txt"
    stray.write_text("a")
    assert found(paths) == {"orphans": (f"1 file of no model, e.g. {stray}", f"rm -r -- '{stray}'")}


def test_the_doctor_names_what_killed_conversions_left(paths: Paths, owned: Path) -> None:
    left = owned.parent / ".convert-abc"
    left.mkdir()
    assert found(paths)["conversions"][1] == f"rm -r -- {left}"


def test_the_doctor_names_partial_files_that_no_pull_needs(paths: Paths, owned: Path) -> None:
    partial = owned.parent / ".partial" / f"sha256-{'0' * 64}.part"
    partial.parent.mkdir()
    partial.write_bytes(b"a")
    os.utime(partial, (1, 1))
    assert found(paths)["partial files"][1] == "mlxr models pulls clean"


def test_the_doctors_whole_report_has_them(paths: Paths, owned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from router.cli.doctor import installation
    from router.cli.doctor.check import Check

    monkeypatch.setattr(installation, "start_probe", lambda *_engine: None)
    monkeypatch.setattr(installation, "check_engine", lambda engine, _process: Check(name=engine, state="ok", found=""))
    owned.unlink()
    assert "vanished" in {check.name for check in installation.all_checks(paths)}


def test_without_a_catalogue_nothing_is_asked(paths: Paths) -> None:
    assert found(paths) == {}
