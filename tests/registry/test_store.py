import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import registry.database
from registry.catalogue import SkippedFile
from registry.database import rescue_registry, translate_errors
from registry.errors import (
    ArtifactConflictError,
    DatabaseError,
    InvalidModelNameError,
    InvalidSettingError,
    ModelExistsError,
    ModelNotFoundError,
    RegistryBusyError,
    RegistryCorruptError,
    RegistryFullError,
    RegistryReadOnlyError,
    SchemaTooNewError,
)
from registry.facts import ArtifactFormat
from registry.settings import ModelSettings
from registry.store import Registry
from tests.registry.catalogue_builder import make_draft, make_facts

MLX = ArtifactFormat.MLX
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "data" / "registry.sqlite3", clock=lambda: 1_000.0) as opened:
        yield opened


def names(store: Registry) -> list[str]:
    return [model.name for model in store.list_models()]


# --- models and artifacts -----------------------------------------------------------------------------------------


def test_an_artifact_comes_back_as_it_went_in(store: Registry) -> None:
    draft = make_draft("/m/a.gguf", is_owned=True)
    artifact, change = store.add_artifact(draft)
    assert change == "added"
    model = store.get_model("m")
    assert model.artifacts == (artifact,)
    assert (artifact.path, artifact.files, artifact.size_bytes) == ("/m/a.gguf", ("/m/a.gguf",), 100)
    assert artifact.facts == draft.facts
    assert (artifact.engine, artifact.status, artifact.is_owned) == ("llamacpp", "ok", True)
    assert (model.engine, model.created_at, model.last_used_at) == (None, 1_000.0, None)
    assert store.find_artifact("/m/a.gguf") == artifact
    assert store.find_artifact("/m/b.gguf") is None


def test_adding_the_same_again_changes_nothing(store: Registry) -> None:
    first, _ = store.add_artifact(make_draft("/m/a.gguf"))
    assert store.add_artifact(make_draft("/m/a.gguf")) == (first, "unchanged")
    changed, change = store.add_artifact(make_draft("/m/a.gguf", size_bytes=101))
    assert (change, changed.id, changed.size_bytes) == ("updated", first.id, 101)


def test_an_artifact_that_no_engine_loads_is_listed_with_its_reasons(store: Registry) -> None:
    artifact, _ = store.add_artifact(make_draft("/m/a.gguf", facts=make_facts(reasons=("one", "two"))))
    assert (artifact.status, artifact.reason) == ("unsupported", "one; two")
    assert store.get_model("m").engines == ()


def test_a_number_that_sqlite_cannot_hold_stays_in_the_facts(store: Registry) -> None:
    huge = (1 << 64) - 1
    artifact, _ = store.add_artifact(make_draft("/m/a.gguf", facts=make_facts(context_length=huge)))
    assert artifact.facts.context_length == huge


def test_both_formats_of_one_base_become_one_model(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.add_artifact(make_draft("/m/mlx", facts=make_facts(MLX, parameter_count=1_010_000, label="4bit-g32")))
    model = store.get_model("m")
    assert model.engines == ("llamacpp", "mlx")
    artifact = model.artifact_for("mlx")
    assert artifact is not None
    assert artifact.path == "/m/mlx"


def test_a_tied_output_matrix_that_is_stored_twice_does_not_hinder(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.add_artifact(make_draft("/m/mlx", facts=make_facts(MLX, parameter_count=1_000_000 + 64 * 1_000)))
    assert names(store) == ["m"]


@pytest.mark.parametrize("facts", [{"parameter_count": 1_030_000}, {"num_layers": 3}, {"embedding_length": 128}])
def test_another_base_of_the_same_name_stands_alone(store: Registry, facts: dict[str, Any]) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.add_artifact(make_draft("/m/mlx", facts=make_facts(MLX, label="8bit", **facts), organization="org"))
    assert names(store) == ["m", "org/m"]


def test_other_quantizations_get_names_of_their_own(store: Registry) -> None:
    for label in ("Q4_K_M", "Q8_0", "Q8_0", "Q8_0"):
        store.add_artifact(make_draft(f"/m/{len(names(store))}.gguf", facts=make_facts(label=label)))
    assert names(store) == ["m", "m-2", "m-3", "m-q8_0"]


def test_a_named_model_takes_what_it_is_given(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"), model_name="org/mine")
    assert names(store) == ["org/mine"]
    store.add_artifact(make_draft("/m/mlx", facts=make_facts(MLX, num_layers=9)), model_name="org/mine")
    assert store.get_model("org/mine").engines == ("llamacpp", "mlx")
    with pytest.raises(ArtifactConflictError, match=r"/m/a\.gguf"):
        store.add_artifact(make_draft("/m/b.gguf"), model_name="org/mine")
    with pytest.raises(InvalidModelNameError):
        store.add_artifact(make_draft("/m/b.gguf"), model_name="../x")
    store.add_artifact(make_draft("/m/a.gguf"), model_name="other")
    assert names(store) == ["org/mine", "other"]


def test_an_unknown_name_brings_names_that_look_like_it(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf", name="smollm2-135m-instruct"))
    with pytest.raises(ModelNotFoundError) as caught:
        store.get_model("smollm2-135m-instrct")
    assert caught.value.near == ("smollm2-135m-instruct",)
    with pytest.raises(ModelNotFoundError, match="mlxr models list"):
        store.get_model("zzz")


def test_a_moved_file_keeps_its_model(store: Registry) -> None:
    first, _ = store.add_artifact(make_draft("/m/a.gguf"))
    store.set_engine("m", "llamacpp")
    store.mark_artifact(first.id, "missing", "gone")
    moved, change = store.add_artifact(make_draft("/n/b.gguf", name="other"))
    assert (moved.id, moved.path, moved.status, change) == (first.id, "/n/b.gguf", "ok", "updated")
    assert store.get_model("m").engine == "llamacpp"


def test_a_new_revision_keeps_its_model_by_its_origin(store: Registry) -> None:
    first, _ = store.add_artifact(make_draft("/hf/1/a.gguf", origin="hf:o/r/a.gguf"))
    second, _ = store.add_artifact(make_draft("/hf/2/a.gguf", origin="hf:o/r/a.gguf", size_bytes=7))
    assert second.id == first.id
    assert second.path == "/hf/2/a.gguf"


def test_a_checksum_is_dropped_when_the_bytes_change(store: Registry) -> None:
    artifact, _ = store.add_artifact(make_draft("/m/a.gguf"))
    store.set_sha256(artifact.id, "f" * 64)
    assert store.add_artifact(make_draft("/m/a.gguf"))[0].sha256 == "f" * 64
    assert store.add_artifact(make_draft("/m/a.gguf", mtime_ns=2))[0].sha256 is None


# --- what the user sets -------------------------------------------------------------------------------------------


def test_link_and_unlink_last(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf", name="one"))
    store.add_artifact(make_draft("/m/mlx", name="two", facts=make_facts(MLX, num_layers=7)))
    assert store.link("two", "one").engines == ("llamacpp", "mlx")
    assert names(store) == ["one"]
    store.add_artifact(make_draft("/m/mlx", name="two", facts=make_facts(MLX, num_layers=7), size_bytes=9))
    assert names(store) == ["one"]
    assert store.unlink("one", MLX).name == "one-mlx"
    store.add_artifact(make_draft("/m/mlx", name="one", facts=make_facts(MLX), size_bytes=8))
    assert names(store) == ["one", "one-mlx"]


def test_linking_two_artifacts_of_one_format_is_refused_and_undone(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf", name="one"))
    store.add_artifact(make_draft("/m/mlx", name="one", facts=make_facts(MLX)))
    store.add_artifact(make_draft("/m/b.gguf", name="two"))
    before = store.list_models()
    with pytest.raises(ArtifactConflictError):
        store.link("one", "two")
    assert store.list_models() == before
    with pytest.raises(ModelNotFoundError):
        store.unlink("two", MLX)
    assert store.unlink("two", ArtifactFormat.GGUF).name == "two"


def test_engine_setting(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    assert store.set_engine("m", "mlx").engine == "mlx"
    assert store.set_engine("m", None).engine is None
    with pytest.raises(InvalidSettingError):
        store.set_engine("m", "cuda")  # type: ignore[arg-type]
    with pytest.raises(ModelNotFoundError):
        store.set_engine("n", "mlx")


def test_settings_are_changed_all_or_none(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    model = store.change_settings("m", {"temperature": 0.5, "stop": ["a", "ü"], "engine": "mlx", "seed": 3})
    assert model.settings == ModelSettings(temperature=0.5, stop=("a", "ü"), seed=3)
    assert model.engine == "mlx"
    with pytest.raises(InvalidSettingError, match="top_p"):
        store.change_settings("m", {"temperature": 0.7, "top_p": 2})
    assert store.get_model("m").settings == model.settings
    model = store.change_settings("m", {"stop": None, "seed": None, "engine": None, "top_k": None})
    assert (model.settings, model.engine) == (ModelSettings(temperature=0.5), None)


def test_a_setting_that_a_newer_version_wrote_is_left_alone(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    with store.write():
        store.rows("INSERT INTO settings SELECT id, 'from_the_future', '1' FROM models")
    assert store.get_model("m").settings == ModelSettings()


def test_a_damaged_setting_is_an_error_of_ours(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    with store.write():
        store.rows("INSERT INTO settings SELECT id, 'top_k', '\"x\"' FROM models")
    with pytest.raises(RegistryCorruptError):
        store.get_model("m")


def test_aliases(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf", name="one"))
    store.add_artifact(make_draft("/m/b.gguf", name="two"))
    store.set_alias("gpt-4", "one")
    assert store.get_model("gpt-4").name == "one"
    assert store.set_alias("gpt-4", "two").aliases == ("gpt-4",)
    assert store.get_model("gpt-4").name == "two"
    with pytest.raises(ModelExistsError):
        store.set_alias("one", "two")
    with pytest.raises(ModelExistsError):
        store.add_artifact(make_draft("/m/c.gguf"), model_name="gpt-4")
    assert store.add_artifact(make_draft("/m/c.gguf", name="gpt-4"))[0].model_name == "gpt-4-q4_k_m"
    store.remove_alias("gpt-4")
    with pytest.raises(ModelNotFoundError):
        store.get_model("gpt-4")
    with pytest.raises(ModelNotFoundError):
        store.remove_alias("gpt-4")


def test_rename(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf", name="one"))
    store.add_artifact(make_draft("/m/b.gguf", name="two"))
    assert store.rename_model("one", "org/three").name == "org/three"
    with pytest.raises(ModelExistsError):
        store.rename_model("two", "org/three")
    with pytest.raises(InvalidModelNameError):
        store.rename_model("two", "Two")


def test_last_use_is_noted_and_an_unknown_model_ignored(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.touch_last_used("m")
    store.touch_last_used("gone")
    assert store.get_model("m").last_used_at == 1_000.0


@pytest.mark.parametrize(
    "name", ["' OR 1=1 --", 'm"; DROP TABLE models; --', "m\0", "\ud800x".encode("utf-8", "replace").decode()]
)
def test_names_are_values_never_sql(store: Registry, name: str) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    with pytest.raises(ModelNotFoundError):
        store.get_model(name)
    assert names(store) == ["m"]


def test_skipped_files_are_remembered_and_forgotten(store: Registry) -> None:
    bad = SkippedFile(path="/m/x.gguf", size_bytes=1, mtime_ns=2, kind="bad", code="truncated", reason="too short")
    store.skip_file(bad)
    assert store.list_failures() == (bad,)
    assert store.known_files()["/m/x.gguf"].code == "truncated"
    store.add_artifact(make_draft("/m/x.gguf"))
    assert store.list_failures() == ()
    assert store.known_files()["/m/x.gguf"].status == "ok"


# --- transactions and other processes -----------------------------------------------------------------------------


def test_an_error_undoes_the_whole_transaction(store: Registry) -> None:

    def fail_halfway() -> None:
        with store.write():
            store.add_artifact(make_draft("/m/a.gguf"))
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert names(store) == []
    store.add_artifact(make_draft("/m/a.gguf"))
    assert names(store) == ["m"]


def test_data_version_changes_with_the_writes_of_others_only(store: Registry) -> None:
    before = store.data_version
    store.add_artifact(make_draft("/m/a.gguf"))
    assert store.data_version == before
    with Registry.open(store.path) as other:
        other.touch_last_used("m")
    assert store.data_version != before


def test_reading_goes_on_while_another_process_writes(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    with Registry.open(store.path, busy_timeout_s=0) as other, store.write():
        store.set_engine("m", "mlx")
        assert other.get_model("m").engine is None
        with Registry.open(store.path, is_read_only=True) as reader:
            assert [model.name for model in reader.list_models()] == ["m"]
        with pytest.raises(RegistryBusyError, match="try again"):
            other.set_engine("m", "auto")
    assert store.get_model("m").engine == "mlx"


def test_a_waiting_writer_gets_its_turn(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    has_lock, is_waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with Registry.open(store.path) as other, other.write():
            other.touch_last_used("m")
            has_lock.set()
            is_waiting.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_lock.wait(10)
    is_waiting.set()
    store.set_engine("m", "mlx")
    thread.join()
    model = store.get_model("m")
    assert model.engine == "mlx"
    assert model.last_used_at is not None


WRITER = f"""
import sys
sys.path[:0] = [{str(PROJECT)!r}, {str(Path(__file__).parent)!r}]
from tests.registry.catalogue_builder import make_draft, make_facts
from registry.settings import ModelSettings
from registry.store import Registry
from registry.facts import ArtifactFormat
with Registry.open(sys.argv[1], busy_timeout_s=60) as store:
    for index in range(int(sys.argv[3])):
        name = f"{{sys.argv[2]}}-{{index}}"
        with store.write():
            store.add_artifact(make_draft(f"/{{name}}/a.gguf", name=name))
            store.add_artifact(make_draft(f"/{{name}}/mlx", name=name, facts=make_facts(ArtifactFormat.MLX)))
        print(name, flush=True)
"""


def start_writer(path: Path, prefix: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), prefix, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_two_processes_write_at_once(store: Registry) -> None:
    writers = [start_writer(store.path, prefix, 40) for prefix in ("a", "b")]
    for writer in writers:
        out, _ = writer.communicate(timeout=120)
        assert writer.returncode == 0
        assert len(out.split()) == 40
    models = store.list_models()
    assert len(models) == 80
    assert all(model.engines == ("llamacpp", "mlx") for model in models)


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    rng = random.Random(20_261_121)
    for round_number in range(6):
        path = tmp_path / f"{round_number}.sqlite3"
        writer = start_writer(path, "k", 100_000)
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline().strip() for _ in range(rng.randrange(1, 60))]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        with Registry.open(path) as store:
            models = store.list_models()
            found = {model.name for model in models}
            # The last line may be cut in the pipe, but then it is no name that counts.
            assert {name for name in acknowledged if re.fullmatch(r"k-\d+", name)} <= found | {acknowledged[-1]}
            assert all(model.engines == ("llamacpp", "mlx") for model in models), "half a transaction"
            store.set_engine(models[0].name, "mlx")


# --- damaged, new, read-only --------------------------------------------------------------------------------------


def test_a_damaged_file_is_named_with_the_way_out_and_rescued(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.close()
    data = store.path.read_bytes()
    store.path.write_bytes(b"not a database at all" + data[21:])
    with pytest.raises(RegistryCorruptError, match="--rescue"):
        Registry.open(store.path)
    aside = rescue_registry(store.path)
    assert aside is not None
    assert ".corrupt-" in aside.name
    assert aside.read_bytes().startswith(b"not a database")
    with Registry.open(store.path) as fresh:
        assert fresh.list_models() == ()
    assert rescue_registry(store.path) not in {None, aside}
    assert rescue_registry(store.path) is None


def test_a_truncated_file_is_an_error_of_ours_or_nothing_is_missing(store: Registry) -> None:
    for index in range(60):
        store.add_artifact(make_draft(f"/m/{index}.gguf", name=f"m{index}"))
    store.close()
    with Registry.open(store.path) as opened:
        whole = opened.list_models()
    data = store.path.read_bytes()
    assert len(data) > 40_000
    num_refused = 0
    # SQLite takes a file of one byte for an empty database, so the lengths start at 2.
    for size in [*range(2, 200, 17), *range(1_000, len(data), 4_099)]:
        store.path.write_bytes(data[:size])
        try:
            with Registry.open(store.path) as opened:
                # What is cut off may be an index, which this does not read.
                assert opened.list_models() == whole
        except DatabaseError:
            num_refused += 1
    assert num_refused > 20


def test_random_damage_is_an_error_of_ours_or_harmless(store: Registry) -> None:
    for index in range(30):
        store.add_artifact(make_draft(f"/m/{index}.gguf", name=f"m{index}"))
    store.close()
    data = store.path.read_bytes()
    rng = random.Random(7)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        store.path.write_bytes(bytes(damaged))
        for suffix in ("-wal", "-shm"):
            store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
        try:
            with Registry.open(store.path) as opened:
                assert len(opened.list_models()) <= 30
                assert len(opened.known_files()) <= 30
        except DatabaseError:
            num_refused += 1
    assert num_refused > 20


def test_a_newer_schema_is_refused(store: Registry) -> None:
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(SchemaTooNewError, match="newer mlxr"):
        Registry.open(store.path)


def test_migrations_are_applied_in_order_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in registry.database.MIGRATIONS_FOLDER.iterdir():
        (folder / file.name).write_text(file.read_text())
    monkeypatch.setattr(registry.database, "MIGRATIONS_FOLDER", folder)
    path = tmp_path / "r.sqlite3"
    with Registry.open(path) as store:
        store.add_artifact(make_draft("/m/a.gguf"))
    (folder / "0900_more.sql").write_text(
        "-- a; semicolon\nALTER TABLE models ADD COLUMN note TEXT;\nCREATE TABLE x (y);\n"
    )
    for _ in range(2):
        with Registry.open(path) as store:
            assert names(store) == ["m"]
    (folder / "0901_broken.sql").write_text("CREATE TABLE z (y);\nCREATE TABLE x (y);\n")
    with pytest.raises(DatabaseError):
        Registry.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (900,)
    assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'z'").fetchall() == []
    connection.close()


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite3"
    writers = [start_writer(path, prefix, 1) for prefix in ("a", "b", "c")]
    for writer in writers:
        writer.communicate(timeout=120)
        assert writer.returncode == 0
    with Registry.open(path) as store:
        assert names(store) == ["a-0", "b-0", "c-0"]


READ_ONLY = """
import os, sys
sys.path.insert(0, sys.argv[2])
from registry.settings import ModelSettings
from registry.store import Registry
from registry.errors import RegistryReadOnlyError
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with Registry.open(sys.argv[1], is_read_only=True) as store:
    print([model.name for model in store.list_models()])
try:
    with Registry.open(sys.argv[1]) as store:
        store.touch_last_used("m")
except RegistryReadOnlyError as exc:
    print("read-only")
"""


def test_a_catalogue_in_a_read_only_folder_can_be_read(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    store.close()
    folder = store.path.parent
    # A copy of the code, because the checkout may lie where nobody but root can read.
    shutil.copytree(PROJECT / "registry", folder / "code" / "registry")
    store.path.chmod(0o444)
    folder.chmod(0o555)
    for parent in folder.parents[:3]:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o005)
    try:
        argv = [sys.executable, "-P", "-c", READ_ONLY, str(store.path), str(folder / "code")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    finally:
        folder.chmod(0o755)
    assert done.stdout.splitlines() == ["['m']", "read-only"], done.stderr


def test_a_read_only_registry_does_not_write(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    with Registry.open(store.path, is_read_only=True) as reader, pytest.raises(RegistryReadOnlyError):
        reader.touch_last_used("m")
    with pytest.raises(RegistryReadOnlyError):
        Registry.open(store.path.parent / "absent.sqlite3", is_read_only=True)


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryReadOnlyError):
        Registry.open(tmp_path / "file" / "r.sqlite3")
    with pytest.raises(RegistryReadOnlyError):
        Registry.open(tmp_path)


def test_a_full_database_rolls_back_and_works_again(store: Registry) -> None:
    store.add_artifact(make_draft("/m/a.gguf"))
    (pages,) = store.rows("PRAGMA page_count")[0]
    store.rows(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with store.write():
            for index in range(1_000):
                store.add_artifact(make_draft(f"/m/{index}.gguf", name=f"m{index}"))

    with pytest.raises(RegistryFullError):
        fill()
    assert names(store) == ["m"]
    store.rows("PRAGMA max_page_count = 1000000")
    store.add_artifact(make_draft("/m/b.gguf", name="n"))
    assert names(store) == ["m", "n"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, RegistryBusyError),
        (sqlite3.SQLITE_LOCKED, RegistryBusyError),
        (sqlite3.SQLITE_READONLY_DBMOVED, RegistryReadOnlyError),
        (sqlite3.SQLITE_CORRUPT_INDEX, RegistryCorruptError),
        (sqlite3.SQLITE_NOTADB, RegistryCorruptError),
        (sqlite3.SQLITE_FULL, RegistryFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, DatabaseError),
    ],
)
def test_every_result_code_becomes_an_error_of_ours(code: int, error: type[DatabaseError]) -> None:
    foreign = sqlite3.OperationalError("x")
    foreign.sqlite_errorcode = code
    with pytest.raises(error) as caught, translate_errors(Path("r")):
        raise foreign
    assert type(caught.value) is error


def test_the_thread_rule_is_enforced(store: Registry) -> None:
    caught: list[BaseException] = []

    def use() -> None:
        try:
            store.list_models()
        except DatabaseError as exc:
            caught.append(exc)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 1
