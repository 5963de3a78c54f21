"""Runs of the benchmark in the catalogue: as they were, listed lightly, bounded, and outliving their model."""

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from registry.errors import BenchNotFoundError, RegistryCorruptError
from registry.store import Registry, benches
from tests.registry.catalogue_builder import make_draft
from tests.support.bench_records import make_record, make_run, make_sample


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3", clock=lambda: 1_000.0) as opened:
        yield opened


def rewrite(store: Registry, bench_id: str, packed: bytes) -> None:
    """Change a stored run as another version of mlxr, or a broken disk, would."""
    with sqlite3.connect(store.path) as connection:
        connection.execute("UPDATE benches SET record = ? WHERE bench_id = ?", (packed, bench_id))
    connection.close()


def test_a_run_comes_back_as_it_went_in(store: Registry) -> None:
    record = make_run()
    store.benches.add(record)
    assert store.benches.get(record.bench_id) == record


def test_a_run_from_before_there_were_pictures_is_read(store: Registry) -> None:
    record = make_run()
    store.benches.add(record)
    fields = msgspec.to_builtins(record)
    for sample in fields["samples"]:
        for name in ("image", "num_image_tokens", "is_image_cached", "encode_ms", "answer_digest"):
            del sample[name]
    rewrite(store, record.bench_id, zlib.compress(msgspec.json.encode(fields)))
    assert store.benches.get(record.bench_id) == record


def test_the_list_is_newest_first_and_knows_no_samples(store: Registry) -> None:
    store.benches.add(make_record(bench_id="b-old", created_at=1.0))
    failed = make_sample(error="the server went away")
    store.benches.add(make_record([make_sample(), failed], bench_id="b-new", created_at=2.0))
    store.benches.add(make_record(bench_id="b-other", model="n", created_at=3.0))
    newest, oldest = store.benches.list("m")
    assert (newest.bench_id, oldest.bench_id) == ("b-new", "b-old")
    assert (newest.num_samples, newest.num_failed) == (2, 1)
    assert newest.labels == ("llamacpp", "mlx")
    assert newest.scenarios == ("short-chat",)
    assert [head.bench_id for head in store.benches.list(limit=2)] == ["b-other", "b-new"]
    assert store.benches.list("nobody") == ()


def test_a_run_is_found_by_a_beginning_that_only_it_has(store: Registry) -> None:
    for bench_id in ("b-1a", "b-1ab", "b-2"):
        store.benches.add(make_record(bench_id=bench_id))
    assert store.benches.get("b-2").bench_id == "b-2"
    assert store.benches.get("b-1ab").bench_id == "b-1ab"
    assert store.benches.get("b-1a").bench_id == "b-1a"
    for wrong in ("b-1", "b-3", "", "%", "b_2"):
        with pytest.raises(BenchNotFoundError):
            store.benches.get(wrong)


def test_runs_outlive_their_model_until_they_are_deleted(store: Registry) -> None:
    artifact, _ = store.artifacts.add(make_draft("/m/a.gguf"))
    store.benches.add(make_record())
    store.removals.begin(artifact.id, ())
    store.removals.finish(artifact.id)
    assert store.models.list() == ()
    assert len(store.benches.list("m")) == 1
    assert store.benches.delete_all("m") == 1
    assert store.benches.list("m") == ()


def test_runs_follow_a_new_name_of_their_model(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.benches.add(make_record())
    store.models.rename("m", "new-name")
    assert store.benches.list("m") == ()
    assert [head.model for head in store.benches.list("new-name")] == ["new-name"]
    assert store.benches.get("b-000001").model == "new-name"


def test_runs_go_along_when_equal_models_become_one(store: Registry) -> None:
    for name in ("kept", "gone"):
        artifact, _ = store.artifacts.add(make_draft(f"/{name}/{name}.gguf", name=name))
        store.artifacts.set_sha256(artifact.id, "a" * 64)
        store.benches.add(make_record(bench_id=f"b-{name}", model=name))
    assert store.copies.merge_equal(artifact.id) == ("/gone/gone.gguf",)
    assert {head.bench_id for head in store.benches.list("kept")} == {"b-kept", "b-gone"}
    assert store.benches.list("gone") == ()


def test_deleting_a_run_names_it(store: Registry) -> None:
    store.benches.add(make_record(bench_id="b-12345"))
    assert store.benches.delete("b-1") == "b-12345"
    with pytest.raises(BenchNotFoundError, match="b-12345"):
        store.benches.delete("b-12345")


def test_the_oldest_runs_of_a_model_go_when_there_are_too_many(
    store: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benches, "MAX_RUNS", 3)
    store.benches.add(make_record(bench_id="b-other", model="n", created_at=0.0))
    store.benches.add(make_record(bench_id="b-shadow", source="shadow", created_at=0.0))
    for number in range(5):
        store.benches.add(make_record(bench_id=f"b-{number}", created_at=float(number)))
    assert [head.bench_id for head in store.benches.list("m", source="bench")] == ["b-4", "b-3", "b-2"]
    assert {head.bench_id for head in store.benches.list()} >= {"b-other", "b-shadow"}


def test_the_oldest_runs_of_a_model_go_when_they_are_too_big(store: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    one_run = len(zlib.compress(msgspec.json.encode(make_run())))
    monkeypatch.setattr(benches, "MAX_BYTES", 2 * one_run + 100)
    for number in range(4):
        store.benches.add(make_run(bench_id=f"b-{number}", created_at=float(number)))
    assert [head.bench_id for head in store.benches.list("m")] == ["b-3", "b-2"]
    monkeypatch.setattr(benches, "MAX_BYTES", 1)
    store.benches.add(make_run(bench_id="b-9", created_at=9.0))
    assert [head.bench_id for head in store.benches.list("m")] == ["b-9"]


def test_a_run_of_a_newer_or_older_version_is_read(store: Registry) -> None:
    store.benches.add(make_run())
    fields = msgspec.to_builtins(make_run())
    fields["colour_of_the_machine"] = "green"
    fields["machine"]["is_loud"] = True
    for name in ("loads", "notices", "source"):
        del fields[name]
    rewrite(store, "b-000001", zlib.compress(msgspec.json.encode(fields)))
    assert store.benches.get("b-000001") == make_run(loads=(), notices=())


@pytest.mark.parametrize("packed", [b"", b"no zlib", zlib.compress(b"{"), zlib.compress(b'{"bench_id": 3}')])
def test_a_damaged_run_is_told_from_one_that_is_not_there(store: Registry, packed: bytes) -> None:
    store.benches.add(make_record(bench_id="b-good", created_at=1.0))
    store.benches.add(make_record(bench_id="b-bad", created_at=2.0))
    rewrite(store, "b-bad", packed)
    with pytest.raises(RegistryCorruptError, match="mlxr bench delete b-bad"):
        store.benches.get("b-bad")
    assert [head.bench_id for head in store.benches.list("m")] == ["b-bad", "b-good"]
    assert store.benches.get("b-good").bench_id == "b-good"


def test_measuring_again_under_the_same_name_replaces_the_run(store: Registry) -> None:
    store.benches.add(make_record(duration_s=1.0))
    store.benches.add(make_record(duration_s=2.0))
    assert [head.duration_s for head in store.benches.list("m")] == [2.0]
