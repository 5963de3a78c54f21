"""Moving a model's files: where they go, and that catalogue and disk agree whenever it is cut."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.checksums.sha256 import hash_file
from registry.errors import ArtifactError, PullStoreError
from registry.moving.move import PlannedMove, carry_out, plan_move
from registry.removing.removal import finish_removals, remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.scan.watch import what_changed
from registry.store import Registry
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.scan_steps import MMPROJ, names, split_file, write


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(params=["same disk", "another disk"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder to move to; another disk is the machine's memory, where there is one."""
    memory = Path("/dev/shm")
    if request.param == "same disk":
        yield tmp_path / "elsewhere"
        return
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second disk here")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder) / "elsewhere"


def move(store: Registry, name: str, target: Path, own: tuple[Path, ...] = (), **progress: Any) -> None:
    for artifact in store.models.get(name).artifacts:
        plan = plan_move(artifact, target, own)
        if plan is not None:
            carry_out(store, plan, own_folders=own, **progress)


def agrees(store: Registry, name: str, data: bytes) -> Path:
    """Give where a model's file is, which has its bytes and its size and time as they are known."""
    (artifact,) = store.models.get(name).artifacts
    path = Path(artifact.path)
    assert path.read_bytes() == data
    info = path.stat()
    assert (info.st_size, info.st_mtime_ns) == (artifact.size_bytes, artifact.mtime_ns)
    return path


def visible(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and ".partial" not in path.parts
    )


def test_a_file_moves_with_name_settings_and_checksum(store: Registry, models: Path, elsewhere: Path) -> None:
    path = write(models / "org" / "repo" / "Tiny-Q4_0.gguf")
    data = path.read_bytes()
    scan(store, [ScanRoot(path=models, is_owned=True)])
    store.models.change_settings("tiny", {"temperature": 0.5})
    before = store.models.get("tiny")
    move(store, "tiny", elsewhere)
    assert agrees(store, "tiny", data) == elsewhere / "org" / "repo" / "Tiny-Q4_0.gguf"
    assert not path.exists()
    after = store.models.get("tiny")
    assert (after.settings, after.created_at) == (before.settings, before.created_at)
    assert after.artifacts[0].id == before.artifacts[0].id
    assert after.artifacts[0].facts == before.artifacts[0].facts
    assert not after.artifacts[0].is_owned, "no folder of mlxr's"
    assert names(store) == ["tiny"]
    assert scan(store, [ScanRoot(path=models, is_owned=True), ScanRoot(path=elsewhere)]).added == ()
    assert names(store) == ["tiny"]
    move(store, "tiny", models, own=(models,))
    assert agrees(store, "tiny", data) == path
    assert store.models.get("tiny").artifacts[0].is_owned
    assert visible(elsewhere) == []


def test_all_files_of_a_model_move_and_what_others_need_stays(store: Registry, models: Path, elsewhere: Path) -> None:
    for number in range(2):
        write(models / f"big-0000{number + 1}-of-00002.gguf", split_file(number, 2))
    write(models / "big-other-00001-of-00001.gguf")
    write(models / "mmproj-big.gguf", MMPROJ)
    mlx = write_mlx_dir(models / "folder", extra={"generation_config.json": "{}"})
    register_path(store, models / "big-00001-of-00002.gguf", name="big")
    register_path(store, mlx, name="big")
    move(store, "big", elsewhere)
    gguf, folder = store.models.get("big").artifacts
    assert [Path(file).name for file in gguf.files] == ["big-00001-of-00002.gguf", "big-00002-of-00002.gguf"]
    assert gguf.mmproj_path is not None
    assert Path(gguf.mmproj_path).read_bytes() == MMPROJ
    assert what_changed(gguf) is None, "the projector's time moves along"
    assert all(Path(file).is_file() for artifact in (gguf, folder) for file in artifact.files)
    assert visible(models) == ["big-other-00001-of-00001.gguf"]
    assert not mlx.exists()
    assert remove_model(store, "big", is_deleting_foreign_files=True).kept == ()


def test_a_projector_that_another_model_needs_stays_there_too(store: Registry, models: Path, tmp_path: Path) -> None:
    write(models / "seeing-Q4_0.gguf")
    write(models / "seeing-Q8_0.gguf")
    projector = write(models / "mmproj-seeing.gguf", MMPROJ)
    register_path(store, models / "seeing-Q4_0.gguf", name="small")
    register_path(store, models / "seeing-Q8_0.gguf", name="large")
    move(store, "small", tmp_path / "there")
    assert projector.exists()
    moved = store.models.get("small").artifacts[0].mmproj_path
    assert moved is not None
    assert Path(moved).is_relative_to(tmp_path / "there")


STEPS = [
    "registry.moving.move._gather",
    "registry.moving.move._link",
    "registry.moving.move._copy",
    "registry.moving.move._switch",
    "registry.moving.move.size_and_time",
    "registry.moving.move.plan_place",
    "registry.removing.removal._delete",
]


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_whenever_it_is_cut_the_catalogue_is_true_and_the_same_again_ends_it(
    store: Registry,
    models: Path,
    elsewhere: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    *,
    is_after: bool,
) -> None:
    path = write(models / "tiny.gguf")
    data = path.read_bytes()
    roots = [ScanRoot(path=models, is_owned=True), ScanRoot(path=elsewhere)]
    scan(store, roots[:1])
    module, _, function = step.rpartition(".")
    real = getattr(__import__(module, fromlist=[function]), function)

    def killed(*arguments: Any, **options: Any) -> Any:
        if is_after:
            real(*arguments, **options)
        raise Killed

    with monkeypatch.context() as patched:
        plan = plan_move(store.models.get("tiny").artifacts[0], elsewhere, ())
        assert plan is not None
        patched.setattr(step, killed)
        with contextlib.suppress(Killed):
            carry_out(store, plan, own_folders=())
        agrees(store, "tiny", data)
    scan(store, roots if elsewhere.exists() else roots[:1])
    agrees(store, "tiny", data)
    move(store, "tiny", elsewhere)
    assert agrees(store, "tiny", data) == elsewhere / "tiny.gguf"
    assert finish_removals(store) == ()
    assert (visible(models), visible(elsewhere)) == ([], ["tiny.gguf"])
    scan(store, roots)
    assert names(store) == ["tiny"]


def plan_copy(store: Registry, name: str, target: Path) -> PlannedMove:
    plan = plan_move(store.models.get(name).artifacts[0], target, ())
    assert plan is not None
    return plan


def test_a_copy_goes_on_where_it_was_cut_and_is_compared(store: Registry, models: Path, tmp_path: Path) -> None:
    path = write(models / "tiny.gguf")
    data = path.read_bytes()
    register_path(store, path, name="tiny", is_owned=True)
    plan = plan_copy(store, "tiny", tmp_path / "there")
    staged = write(plan.stage / "tiny.gguf", data[: len(data) // 2])
    told: list[int] = []
    carry_out(store, plan, own_folders=(), on_progress=told.append)
    assert not staged.exists()
    assert told[0] == len(data) // 2
    assert sum(told) == 3 * len(data)
    moved = agrees(store, "tiny", data)
    known = store.files.hashes([str(moved)])[str(moved)]
    assert (known.sha256, known.is_computed) == (hash_file(moved).sha256, True)


def test_a_copy_that_is_not_the_same_is_thrown_away(store: Registry, models: Path, tmp_path: Path) -> None:
    path = write(models / "tiny.gguf")
    data = path.read_bytes()
    register_path(store, path, name="tiny", is_owned=True)
    plan = plan_copy(store, "tiny", tmp_path / "there")
    write(plan.stage / "tiny.gguf", b"x" * len(data))
    with pytest.raises(ArtifactError) as caught:
        carry_out(store, plan, own_folders=())
    assert caught.value.code == "damaged_copy"
    assert agrees(store, "tiny", data) == path
    carry_out(store, plan, own_folders=())
    assert agrees(store, "tiny", data).is_relative_to(tmp_path / "there")


@pytest.mark.parametrize("is_link", [False, True])
def test_what_is_in_the_way_stays_untouched(store: Registry, models: Path, tmp_path: Path, *, is_link: bool) -> None:
    path = write(models / "tiny.gguf")
    data = path.read_bytes()
    scan(store, [ScanRoot(path=models, is_owned=True)])
    theirs = write(tmp_path / "theirs", b"y" * len(data))
    target = tmp_path / "there" / "tiny.gguf"
    target.parent.mkdir()
    if is_link:
        target.symlink_to(theirs)
    else:
        shutil.copy(theirs, target)
    with pytest.raises(PullStoreError, match="in the way"):
        move(store, "tiny", tmp_path / "there")
    assert target.read_bytes() == theirs.read_bytes() == b"y" * len(data)
    assert agrees(store, "tiny", data) == path


def test_a_model_that_was_forgotten_meanwhile_leaves_its_files_where_they_are(
    store: Registry, models: Path, elsewhere: Path
) -> None:
    path = write(models / "tiny.gguf")
    register_path(store, path, name="tiny")
    plan = plan_copy(store, "tiny", elsewhere)
    remove_model(store, "tiny")
    with pytest.raises(ArtifactError, match="left the catalogue"):
        carry_out(store, plan, own_folders=())
    assert path.exists()
    assert [file for file in elsewhere.rglob("*") if file.is_file()] == []


def test_what_is_there_already_and_what_a_store_keeps_is_not_moved(store: Registry, models: Path) -> None:
    register_path(store, write(models / "tiny.gguf"), name="tiny", is_owned=True)
    (artifact,) = store.models.get("tiny").artifacts
    assert plan_move(artifact, models, (models,)) is None
