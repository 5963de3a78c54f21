import sys
from pathlib import Path

import pytest
from platformdirs.macos import MacOS

from router.config.paths import Paths, paths_from_env


def test_everything_lies_under_mlxr_home(tmp_path: Path) -> None:
    paths = paths_from_env({"MLXR_HOME": str(tmp_path), "HOME": "/home/somebody"})
    owned = [paths.data_dir, paths.models_dir, paths.registry_db, paths.config_dir, paths.config_file, paths.log_dir]
    owned += [paths.log_file, paths.runtime_dir, paths.lock_file, paths.instance_file]
    assert all(path.is_relative_to(tmp_path) for path in owned)
    assert paths.models_dir == paths.data_dir / "models"
    assert paths.user_home == Path("/home/somebody")


def test_a_relative_home_becomes_absolute() -> None:
    assert paths_from_env({"MLXR_HOME": "here", "HOME": "/h"}).data_dir == Path.cwd() / "here" / "data"


def test_tilde_in_mlxr_home_is_the_users_home() -> None:
    assert paths_from_env({"MLXR_HOME": "~/x", "HOME": "/h"}).data_dir == Path("/h/x/data")


def test_without_mlxr_home_the_platform_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    paths = paths_from_env({"HOME": str(tmp_path), "MLXR_HOME": ""})
    assert paths.data_dir.name == "mlxr"
    assert len({paths.data_dir, paths.config_dir, paths.log_dir, paths.runtime_dir}) == 4


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "/h/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c", "HF_HOME": "/hf"}, "/hf/hub"),
        ({"HF_HOME": "/hf", "HF_HUB_CACHE": "/hub"}, "/hub"),
        ({"HF_HOME": "~/hf"}, "/h/hf/hub"),
    ],
)
def test_hugging_faces_cache_is_found_as_its_own_tools_do(environ: dict[str, str], expected: str) -> None:
    paths = paths_from_env({"HOME": "/h", "MLXR_HOME": "/m", **environ})
    assert paths.hf_cache_dir == Path(expected)


def test_building_paths_creates_nothing_and_ensure_folders_creates_private_ones(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path / "home")
    assert not (tmp_path / "home").exists()
    paths.ensure_folders()
    paths.ensure_folders()
    for folder in (paths.data_dir, paths.models_dir, paths.config_dir, paths.log_dir, paths.runtime_dir):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_on_a_mac_sockets_and_runtime_files_lie_where_nothing_empties_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """In Application Support: ~/Library/Caches may be emptied at any time."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("platformdirs.PlatformDirs", MacOS)
    monkeypatch.setenv("HOME", "/Users/a")
    for name in ("XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    paths = paths_from_env({"HOME": "/Users/a"})
    support = Path("/Users/a/Library/Application Support/mlxr")
    assert {paths.runtime_dir, paths.pid_file.parent} == {support / "run"}
    assert paths.instance_file.parent == paths.lock_file.parent == support
