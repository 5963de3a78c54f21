"""Caches that survive their worker, on every engine: found again, capped in size, never taken for what they are not."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.cache_files import write_cache
from backends.saved_caches.caches import MIN_TOKENS, SavedCaches
from backends.saved_caches.folder import SUFFIX, prune
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


def caches_in(bare: BareEngine, folder: Path) -> SavedCaches:
    return SavedCaches(bare.engine, folder, PLENTY_BYTES)


def retired(bare: BareEngine, token_ids: list[int]) -> int:
    """Return the id of a retired sequence with these tokens and one more."""
    sequence = bare.insert(token_ids)
    bare.run(sequence, num_tokens=2)
    assert bare.retire(sequence) >= len(token_ids)
    return sequence.sequence_id


def save(bare: BareEngine, folder: Path, token_ids: list[int], owner: str | None = None) -> SavedCaches:
    caches = caches_in(bare, folder)
    assert caches.begin(retired(bare, token_ids), owner)
    while caches.is_writing:
        caches.write_piece()
    return caches


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_a_prompt_goes_on_from_a_saved_cache_as_if_it_had_been_computed(bare: BareEngine, tmp_path: Path) -> None:
    beginning = text_ids(100)
    prompt = beginning + text_ids(20, seed=1)
    expected = bare.fresh_answer(prompt, 8)
    counts = save(bare, tmp_path / "model", beginning).counts
    (path,) = files(tmp_path / "model")
    assert (counts.num_written, counts.written_bytes) == (1, path.stat().st_size)

    caches = caches_in(bare, tmp_path / "model")
    held = caches.restore(NEW_ID, prompt, 0)
    assert held[:100] == beginning
    assert (caches.counts.num_loaded, caches.counts.loaded_tokens) == (1, len(held))
    fork = bare.fork(NEW_ID, 100, prompt)
    assert fork is not None
    assert bare.run(fork, num_tokens=8) == [expected]


def test_it_is_read_as_often_as_it_is_wanted(bare: BareEngine, tmp_path: Path) -> None:
    caches = save(bare, tmp_path / "model", text_ids(100))
    for _ in range(2):
        assert caches.restore(NEW_ID, text_ids(100), 0)
        bare.engine.remove(NEW_ID)


def test_only_its_owner_finds_it(bare: BareEngine, tmp_path: Path) -> None:
    save(bare, tmp_path / "model", text_ids(100), owner="key-1")
    caches = caches_in(bare, tmp_path / "model")
    for other in (None, "key-2"):
        assert caches.restore(NEW_ID, text_ids(100), 0, other) == []
    assert caches.restore(NEW_ID, text_ids(100), 0, "key-1") != []


def test_what_is_known_or_too_short_is_not_read(bare: BareEngine, tmp_path: Path) -> None:
    beginning = text_ids(100)
    caches = save(bare, tmp_path / "model", beginning)
    assert caches.restore(NEW_ID, beginning, 100 - MIN_TOKENS + 1) == []
    assert caches.restore(NEW_ID, beginning[: MIN_TOKENS - 1], 0) == []
    assert caches.restore(NEW_ID, text_ids(100, seed=9), 0) == []
    assert caches.restore(NEW_ID, beginning, 100 - MIN_TOKENS) != []


def test_short_caches_are_not_worth_a_file(bare: BareEngine, tmp_path: Path) -> None:
    caches = caches_in(bare, tmp_path / "model")
    assert not caches.begin(retired(bare, text_ids(MIN_TOKENS - 3)))
    assert not (tmp_path / "model").exists()


def test_what_a_file_holds_is_not_written_again(bare: BareEngine, tmp_path: Path) -> None:
    caches = save(bare, tmp_path / "model", text_ids(100))
    assert not caches.begin(retired(bare, text_ids(100)))
    assert caches.counts.num_written == 1


def test_damage_costs_a_prefill_and_nothing_else(bare: BareEngine, tmp_path: Path) -> None:
    folder, beginning = tmp_path / "model", text_ids(100)
    save(bare, folder, beginning)
    (path,) = files(folder)
    whole = path.read_bytes()
    flipped = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in (9, 30, 200, -80, -40, -2)]
    for damaged in (whole[:-1], whole[: len(whole) // 2], b"", b"GGUF" * 100, *flipped):
        path.write_bytes(damaged)
        caches = caches_in(bare, folder)
        assert caches.restore(NEW_ID, beginning, 0) == []
        assert caches.counts.num_discarded == len(caches.discarded) <= 1
        assert path.exists() == (not caches.discarded)
    path.write_bytes(whole)
    assert caches_in(bare, folder).restore(NEW_ID, beginning, 0) != []


def test_a_file_of_another_version_is_thrown_away_and_one_of_another_load_is_left_alone(
    bare: BareEngine, tmp_path: Path
) -> None:
    library, _, rest = bare.engine.cache_fingerprint.partition("|")
    cache = bare.engine.export_cache(retired(bare, text_ids(100)))
    assert cache is not None
    other_load, other_version = tmp_path / f"load{SUFFIX}", tmp_path / f"version{SUFFIX}"
    write_cache(other_load, f"{library}|{rest} q8_0", cache)
    write_cache(other_version, f"{library}.1|{rest}", cache)
    caches = caches_in(bare, tmp_path)
    assert caches.restore(NEW_ID, text_ids(100), 0) == []
    assert files(tmp_path) == [other_load]
    assert [(file.path, file.reason) for file in caches.discarded] == [(other_version, f"it is of {library}.1")]


def test_a_file_that_is_gone_is_no_damage(bare: BareEngine, tmp_path: Path) -> None:
    caches = save(bare, tmp_path / "model", text_ids(100))
    (path,) = files(tmp_path / "model")
    path.unlink()
    assert caches.restore(NEW_ID, text_ids(100), 0) == []
    assert caches.discarded == []
    assert caches.num_covered(text_ids(100)) == 0


def test_a_longer_cache_replaces_the_file_that_it_began_with(bare: BareEngine, tmp_path: Path) -> None:
    folder, beginning = tmp_path / "model", text_ids(80)
    save(bare, folder, beginning)
    (old,) = files(folder)
    held = caches_in(bare, folder).restore(NEW_ID, [*beginning, *text_ids(40, seed=2)], 0)
    assert old.exists(), "until something better is there"
    save(bare, folder, [*held, *text_ids(40, seed=2)], owner="key")
    assert old.exists(), "another one's is nothing better"
    save(bare, folder, [*held, *text_ids(40, seed=2)])
    assert len(files(folder)) == 2
    assert not old.exists()


def test_what_is_given_up_or_cannot_be_written_leaves_nothing(bare: BareEngine, tmp_path: Path) -> None:
    caches = caches_in(bare, tmp_path / "model")
    assert caches.begin(retired(bare, text_ids(100)))
    caches.give_up()
    assert list((tmp_path / "model").iterdir()) == []
    assert not SavedCaches(bare.engine, tmp_path / "model", 5).begin(retired(bare, text_ids(90, seed=1)))


def test_what_is_being_written_does_not_need_its_sequence(bare: BareEngine, tmp_path: Path) -> None:
    caches, sequence_id = caches_in(bare, tmp_path / "model"), retired(bare, text_ids(100))
    assert caches.begin(sequence_id)
    bare.engine.remove(sequence_id)
    bare.fresh_answer(text_ids(120, seed=3), 8)
    while caches.is_writing:
        caches.write_piece()
    assert caches_in(bare, tmp_path / "model").restore(NEW_ID, text_ids(100), 0)


def test_the_longest_unused_files_go_when_the_root_is_full(bare: BareEngine, tmp_path: Path) -> None:
    for number, name in enumerate(("first", "second", "third")):
        save(bare, tmp_path / name, text_ids(80, seed=number))
        (path,) = files(tmp_path / name)
        os.utime(path, (number + 1, number + 1))
    assert caches_in(bare, tmp_path / "first").restore(NEW_ID, text_ids(80), 0), "is used now"
    num_bytes = path.stat().st_size
    killed, writing = tmp_path / "second" / "7abc.part", tmp_path / "second" / "8abc.part"
    killed.write_bytes(b"left by a killed worker")
    os.utime(killed, (1, 1))
    writing.write_bytes(b"of one that lives")
    prune(tmp_path, 2 * num_bytes + num_bytes // 2)
    assert [len(files(tmp_path / name)) for name in ("first", "second", "third")] == [1, 0, 1]
    assert list((tmp_path / "second").iterdir()) == [writing]


def test_a_folder_that_cannot_be_made_costs_nothing_but_the_files(bare: BareEngine, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    caches = caches_in(bare, tmp_path / "file" / "model")
    assert not caches.begin(retired(bare, text_ids(80)))
    assert caches.restore(NEW_ID, text_ids(80), 0) == []
