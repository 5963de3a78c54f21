"""`mlxr models move`, and the folder that the config names for models."""

import json
import shutil
from pathlib import Path

from router.config.edit import set_value
from router.config.load import load_config
from router.config.paths import Paths
from router.config.roots import HOME_FOLDER, scan_roots
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, worker
from tests.support import tiny_model


def paths_of(mlxr: Mlxr, name: str) -> list[str]:
    described = json.loads(mlxr("models", "show", name, "--json").out)
    return [artifact["path"] for artifact in described["artifacts"]]


def own_model(mlxr: Mlxr, paths: Paths, gguf: Path) -> Path:
    paths.ensure_folders()
    path = paths.models_dir / "org" / "mine.gguf"
    path.parent.mkdir()
    shutil.copy(gguf, path)
    assert mlxr("models", "add", str(path), "--name", "mine").exit_code == 0
    return path


def test_a_model_is_moved_and_back(mlxr: Mlxr, paths: Paths, tiny_gguf: Path, tmp_path: Path) -> None:
    path, there = own_model(mlxr, paths, tiny_gguf), tmp_path / "big" / "org" / "mine.gguf"
    moved = mlxr("models", "move", "mine", str(tmp_path / "big"))
    assert (moved.exit_code, moved.err) == (0, "")
    assert moved.out.startswith(f"{path} -> {there}  (")
    assert (paths_of(mlxr, "mine"), path.exists(), there.exists()) == ([str(there)], False, True)
    assert "Try `" not in mlxr("models", "verify", "mine").out
    refused = mlxr("models", "move", "mine", str(tmp_path / "other"))
    assert (refused.exit_code, "--files moves it all the same" in refused.err) == (1, True)
    assert mlxr("models", "move", "mine", str(paths.models_dir), "--files").exit_code == 0
    assert mlxr("models", "move", "mine", str(paths.models_dir)).out == "mine: its files are there already.\n"


def test_what_lies_elsewhere_stays_and_is_named_beside_the_json(
    mlxr: Mlxr, paths: Paths, tiny_gguf: Path, tmp_path: Path
) -> None:
    own_model(mlxr, paths, tiny_gguf)
    foreign = tiny_model.write_mlx(tmp_path / "foreign")
    assert mlxr("models", "add", str(foreign), "--name", "mine").exit_code == 0
    moved = mlxr("models", "move", "mine", str(tmp_path / "big"), "--json")
    assert set(json.loads(moved.out)["paths"]) == {str(tmp_path / "big" / "org" / "mine.gguf"), str(foreign)}
    assert moved.err == f"mlxr: {foreign} stays where it lies; --files moves it too.\n"


def test_a_model_that_is_loaded_is_not_moved(mlxr: Mlxr, paths: Paths, tiny_gguf: Path, stub: StubGateway) -> None:
    path = own_model(mlxr, paths, tiny_gguf)
    stub.status["workers"] = [worker("mine")]
    refused = mlxr("models", "move", "mine", str(path.parents[2] / "big"))
    assert (refused.exit_code, "`mlxr stop mine` unloads it" in refused.err) == (1, True)
    assert path.exists()


def test_made_models_go_where_the_config_says_and_both_folders_are_mlxrs(
    mlxr: Mlxr, paths: Paths, tiny_gguf: Path, tmp_path: Path
) -> None:
    old = own_model(mlxr, paths, tiny_gguf)
    big = tmp_path / "big"
    set_value(paths.config_file, ("models", "dir"), str(big))
    recipe = tmp_path / "Modelfile"
    recipe.write_text("FROM mine\nPARAMETER temperature 0.5\n")
    assert mlxr("models", "create", "made", "-f", str(recipe)).exit_code == 0
    (made,) = paths_of(mlxr, "made:latest")
    assert Path(made).is_relative_to(big)
    config = load_config(paths.config_file, user_home=paths.user_home)
    owned = [root.path for root in scan_roots(config, paths) if root.is_owned]
    assert owned == [big, paths.models_dir]
    assert mlxr("models", "rm", "made:latest", "--yes").exit_code == 0
    assert (Path(made).exists(), old.exists()) == (False, True)


def test_gguf_files_under_the_home_folder_are_found(mlxr: Mlxr, paths: Paths, tiny_gguf: Path) -> None:
    folder = paths.user_home / HOME_FOLDER
    folder.mkdir(parents=True)
    shutil.copy(tiny_gguf, folder / "homely-Q4_0.gguf")
    assert mlxr("models", "scan").exit_code == 0
    assert paths_of(mlxr, "homely") == [str(folder / "homely-Q4_0.gguf")]
    set_value(paths.config_file, ("models", "home_folder"), False)
    config = load_config(paths.config_file, user_home=paths.user_home)
    assert folder not in [root.path for root in scan_roots(config, paths)]
