"""`mlxr models pulls` and what the doctor says of pulls, on stored rows; the transfers are in tests/e2e."""

import json
import os

import pytest

from registry.disk import Lock
from registry.pull.folder import PullFolder
from registry.pull_record import PullOptions
from registry.store import Registry
from router.config.paths import Paths
from tests.router.cli.conftest import Mlxr


@pytest.fixture
def store(paths: Paths) -> Registry:
    paths.ensure_folders()
    return Registry(paths.registry_db)


def test_without_pulls_the_list_says_how_to_begin(mlxr: Mlxr) -> None:
    assert "mlxr models pull ORG/REPO" in mlxr("models", "pulls").out
    assert json.loads(mlxr("models", "pulls", "--json").out) == []


def test_the_list_has_what_is_open_and_what_ended_lately(mlxr: Mlxr, store: Registry) -> None:
    with store:
        for state in ("paused", "done"):
            store.pulls.set_state(store.pulls.add(f"a/{state}", PullOptions()).id, state)
        old = store.pulls.add("a/old", PullOptions()).id
        store.pulls.set_state(old, "cancelled")
        with store.write():
            store.rows("UPDATE pulls SET updated_at = 1 WHERE id = ?", old)
    assert [pull["reference"] for pull in json.loads(mlxr("models", "pulls", "--json").out)] == ["a/paused", "a/done"]
    assert len(json.loads(mlxr("models", "pulls", "list", "--all", "--json").out)) == 3


@pytest.mark.parametrize("arguments", [("pause", "7"), ("cancel", "7"), ("resume", "7")])
def test_a_number_that_is_not_there_is_one_sentence(mlxr: Mlxr, arguments: tuple[str, ...]) -> None:
    result = mlxr("models", "pulls", *arguments)
    assert (result.exit_code, result.out) == (1, "")
    assert "There is no pull 7" in result.err


def test_what_is_no_number_makes_no_sense(mlxr: Mlxr) -> None:
    assert mlxr("models", "pulls", "pause", "x").exit_code == 2
    assert mlxr("models", "pulls", "pause", "9" * 30).exit_code == 2


@pytest.mark.slow
def test_the_doctor_names_pulls_that_nobody_goes_on_with(mlxr: Mlxr, paths: Paths, store: Registry) -> None:
    folder = PullFolder(paths.models_dir)
    folder.partial_dir.mkdir(parents=True)
    with store:
        stopped, killed, alive = (
            store.pulls.add(f"a/{name}", PullOptions()).id for name in ("stopped", "killed", "alive")
        )
        store.pulls.set_state(stopped, "paused")
        store.pulls.set_state(killed, "running")
        store.pulls.set_state(alive, "running")
    lock = Lock(folder.pull_lock(alive))
    assert lock.try_acquire()
    try:
        said = mlxr("doctor").out
    finally:
        lock.release()
    assert f"mlxr models pulls resume {stopped}" in said
    assert "a/killed was interrupted" in said
    assert "a/alive" not in said


def test_clean_deletes_what_no_pull_needs(mlxr: Mlxr, paths: Paths) -> None:
    partial = PullFolder(paths.models_dir).partial_dir
    partial.mkdir(parents=True)
    old, young = partial / "sha256-old.part", partial / "sha256-young.part"
    for path in (old, young):
        path.write_bytes(b"x" * 5000)
    os.utime(old, (1, 1))
    assert "1 partial file deleted" in mlxr("models", "pulls", "clean").out
    assert (old.exists(), young.exists()) == (False, True)
