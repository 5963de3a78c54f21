"""Caches that survive their worker, on every engine: found again, capped in size, never taken for what they are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.batching.saved_caches import MIN_TOKENS, SUFFIX, SavedCaches, prune
from tests.backends.conftest import ENGINES, EngineUnderTest
from tests.support.bare_engine import BareEngine, text_ids

PLENTY_BYTES = 2**30
NEW_ID = -1


@pytest.fixture(params=ENGINES)
def bare(request: pytest.FixtureRequest, loaded_engines: object) -> Iterator[BareEngine]:
    loaded: EngineUnderTest = loaded_engines(request.param)  # type: ignore[operator]
    bare = BareEngine(loaded.engine)
    yield bare
    bare.engine.remove(NEW_ID)
    bare.close()


def retired(bare: BareEngine, token_ids: list[int]) -> int:
    """Return the id of a retired sequence with these tokens and one more."""
    sequence = bare.insert(token_ids)
    bare.run(sequence, num_tokens=2)
    assert bare.retire(sequence) >= len(token_ids)
    return sequence.sequence_id


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_a_prompt_goes_on_from_a_saved_cache_as_if_it_had_been_computed(bare: BareEngine, tmp_path: Path) -> None:
    beginning = text_ids(100)
    prompt = beginning + text_ids(20, seed=1)
    expected = bare.fresh_answer(prompt, 8)
    source_id = retired(bare, beginning)
    SavedCaches(tmp_path / "model", PLENTY_BYTES).save(bare.engine, [source_id])
    bare.engine.remove(source_id)

    held = SavedCaches(tmp_path / "model", PLENTY_BYTES).restore(bare.engine, NEW_ID, prompt, 0)
    assert held[:100] == beginning
    fork = bare.fork(NEW_ID, 100, prompt)
    assert fork is not None
    assert bare.run(fork, num_tokens=8) == [expected]


def test_what_is_known_or_too_short_is_not_read(bare: BareEngine, tmp_path: Path) -> None:
    beginning = text_ids(100)
    SavedCaches(tmp_path / "model", PLENTY_BYTES).save(bare.engine, [retired(bare, beginning)])
    caches = SavedCaches(tmp_path / "model", PLENTY_BYTES)
    assert caches.restore(bare.engine, NEW_ID, beginning, 100 - MIN_TOKENS + 1) == []
    assert caches.restore(bare.engine, NEW_ID, beginning[: MIN_TOKENS - 1], 0) == []
    assert caches.restore(bare.engine, NEW_ID, text_ids(100, seed=9), 0) == []
    assert caches.restore(bare.engine, NEW_ID, beginning, 100 - MIN_TOKENS) != []


def test_short_caches_are_not_worth_a_file(bare: BareEngine, tmp_path: Path) -> None:
    SavedCaches(tmp_path / "model", PLENTY_BYTES).save(bare.engine, [retired(bare, text_ids(MIN_TOKENS - 3))])
    assert list((tmp_path / "model").iterdir()) == []


def test_damage_costs_a_prefill_and_nothing_else(bare: BareEngine, tmp_path: Path) -> None:
    folder, beginning = tmp_path / "model", text_ids(100)
    SavedCaches(folder, PLENTY_BYTES).save(bare.engine, [retired(bare, beginning)])
    (path,) = files(folder)
    whole = path.read_bytes()
    (folder / f"foreign{SUFFIX}").write_bytes(b"GGUF" * 100)
    for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-2] + bytes([whole[-2] ^ 1]) + whole[-1:], b""):
        path.write_bytes(damaged)
        assert SavedCaches(folder, PLENTY_BYTES).restore(bare.engine, NEW_ID, beginning, 0) == []
    path.write_bytes(whole)
    assert SavedCaches(folder, PLENTY_BYTES).restore(bare.engine, NEW_ID, beginning, 0) != []


def test_a_longer_cache_replaces_the_file_that_it_began_with(bare: BareEngine, tmp_path: Path) -> None:
    folder, beginning = tmp_path / "model", text_ids(80)
    SavedCaches(folder, PLENTY_BYTES).save(bare.engine, [retired(bare, beginning)])
    (old,) = files(folder)
    caches = SavedCaches(folder, PLENTY_BYTES)
    held = caches.restore(bare.engine, NEW_ID, [*beginning, *text_ids(40, seed=2)], 0)
    assert old.exists(), "until something better is there"
    caches = SavedCaches(folder, PLENTY_BYTES)
    caches.save(bare.engine, [retired(bare, [*held, *text_ids(40, seed=2)])])
    assert len(files(folder)) == 1
    assert not old.exists()


def test_the_oldest_files_go_when_the_root_is_full(bare: BareEngine, tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second", "third")):
        SavedCaches(tmp_path / name, PLENTY_BYTES).save(bare.engine, [retired(bare, text_ids(80, seed=number))])
        (path,) = files(tmp_path / name)
        os.utime(path, (number, number))
    num_bytes = path.stat().st_size
    (tmp_path / "first" / "7.newabc.part").write_bytes(b"left by a killed worker")
    prune(tmp_path, 2 * num_bytes + num_bytes // 2)
    assert [len(files(tmp_path / name)) for name in ("first", "second", "third")] == [0, 1, 1]
    assert list((tmp_path / "first").iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_files(bare: BareEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    caches = SavedCaches(tmp_path / "file" / "model", PLENTY_BYTES)
    caches.save(bare.engine, [retired(bare, text_ids(80))])
    assert caches.restore(bare.engine, NEW_ID, text_ids(80), 0) == []
