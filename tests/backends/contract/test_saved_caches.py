"""What every engine promises of caches on disk: the same text after a reload, and nothing at all of a bad file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.base import LoadedEngine
from backends.errors import EngineError
from backends.wire.load import LoadSpec
from tests.backends.conftest import CONTEXT_LENGTH, EngineUnderTest
from tests.support import tiny_model
from tests.support.bare_engine import BareEngine, load, text_ids

pytestmark = pytest.mark.slow

PROMPT = text_ids(150)
OTHER = text_ids(40, seed=1)
NUM = 12


@pytest.fixture
def bare(loaded: EngineUnderTest) -> Iterator[BareEngine]:
    bare = BareEngine(loaded.engine)
    yield bare
    bare.close()


def saved(bare: BareEngine, path: Path, *, is_retired: bool = True) -> list[int]:
    """Save the cache of a finished sequence; return the tokens that it holds."""
    source = bare.insert(PROMPT)
    bare.run(source, num_tokens=NUM)
    if is_retired:
        num_tokens = bare.retire(source)
    else:
        bare.step()
        num_tokens = source.num_computed
    assert bare.engine.save_cache(source.sequence_id, path) == path.stat().st_size > 0
    bare.remove(source)
    return source.token_ids[:num_tokens]


@pytest.mark.parametrize("is_retired", [True, False])
@pytest.mark.parametrize("num_tokens", [1, 100, 155])
def test_a_loaded_cache_is_the_beginning_of_the_same_text(
    bare: BareEngine, tmp_path: Path, num_tokens: int, *, is_retired: bool
) -> None:
    path = tmp_path / "cache"
    token_ids = saved(bare, path, is_retired=is_retired)
    text = token_ids[:num_tokens] + OTHER
    expected = bare.fresh_answer(text, NUM)
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(path, loaded_id, [*token_ids, 65]) == len(token_ids)
    assert bare.forked_answer(loaded_id, num_tokens, text, NUM) == expected
    assert list(tmp_path.iterdir()) == [path]


def test_another_engine_of_the_kind_can_load_it(loaded: EngineUnderTest, bare: BareEngine, tmp_path: Path) -> None:
    """Also one with other limits: what is saved does not depend on them."""
    token_ids = saved(bare, tmp_path / "cache")
    expected = bare.fresh_answer(token_ids + OTHER, NUM)
    with_other_limits = other_engine(loaded, max_sequences=2)
    other = BareEngine(with_other_limits)
    loaded_id = other.new_id()
    assert other.engine.load_cache(tmp_path / "cache", loaded_id, token_ids) == len(token_ids)
    assert other.forked_answer(loaded_id, len(token_ids), token_ids + OTHER, NUM) == expected
    other.close()
    with_other_limits.close()


def test_a_cache_of_another_text_is_not_loaded(bare: BareEngine, tmp_path: Path) -> None:
    token_ids = saved(bare, tmp_path / "cache")
    for text in (token_ids[:-1], [*token_ids[:-1], 1], [], OTHER):
        assert bare.engine.load_cache(tmp_path / "cache", 9_999, text) == 0
    assert bare.fork(9_999, 1, PROMPT) is None


def test_a_cache_of_another_engine_is_not_loaded(
    loaded_engines: Callable[[str], EngineUnderTest], tmp_path: Path
) -> None:
    for name in ("fake", "llamacpp", "mlx"):
        bare = BareEngine(loaded_engines(name).engine)
        token_ids = saved(bare, tmp_path / name)
        for other in {"fake", "llamacpp", "mlx"} - {name}:
            assert loaded_engines(other).engine.load_cache(tmp_path / name, 9_999, token_ids) == 0
        bare.close()


@pytest.mark.parametrize("name", ["llamacpp", "mlx"])
def test_a_cache_of_a_model_of_another_shape_is_not_loaded(
    name: str, loaded_engines: Callable[[str], EngineUnderTest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = loaded_engines(name)
    bare = BareEngine(loaded.engine)
    token_ids = saved(bare, tmp_path / "cache")
    bare.close()
    monkeypatch.setattr(tiny_model, "FEED_FORWARD", 160)
    path = (
        tiny_model.write_gguf(tmp_path / "m.gguf") if name == "llamacpp" else tiny_model.write_mlx(tmp_path / "folder")
    )
    engine = other_engine(loaded, path)
    assert engine.load_cache(tmp_path / "cache", 9_999, token_ids) == 0
    engine.close()


def test_damaged_files_are_not_loaded(bare: BareEngine, tmp_path: Path) -> None:
    """Cut off anywhere, one byte changed anywhere, longer, empty, another kind of file, not there, a folder."""
    path = tmp_path / "cache"
    token_ids = saved(bare, path)
    whole = path.read_bytes()
    places = [*range(40), *range(40, len(whole), max(1, len(whole) // 60)), len(whole) - 1]
    for place in places:
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            assert bare.engine.load_cache(path, 9_999, token_ids) == 0, place
    for damaged in (b"", whole + b"x", whole * 2, b"GGUF" + whole[4:], b"\xff" * 100):
        path.write_bytes(damaged)
        assert bare.engine.load_cache(path, 9_999, token_ids) == 0
    assert bare.engine.load_cache(tmp_path / "nowhere", 9_999, token_ids) == 0
    assert bare.engine.load_cache(tmp_path, 9_999, token_ids) == 0
    path.write_bytes(whole)
    assert bare.engine.load_cache(path, bare.new_id(), token_ids) == len(token_ids)


def test_nothing_is_saved_of_what_has_computed_nothing(bare: BareEngine, tmp_path: Path) -> None:
    sequence = bare.insert(PROMPT)
    assert bare.engine.save_cache(sequence.sequence_id, tmp_path / "cache") == 0
    assert bare.engine.save_cache(987_654, tmp_path / "cache") == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(bare: BareEngine, tmp_path: Path) -> None:
    source = bare.insert(PROMPT)
    bare.run(source, num_tokens=2)
    bare.retire(source)
    with pytest.raises(EngineError, match="nowhere"):
        bare.engine.save_cache(source.sequence_id, tmp_path / "nowhere" / "cache")
    (tmp_path / "taken").mkdir()
    with pytest.raises(EngineError, match="taken"):
        bare.engine.save_cache(source.sequence_id, tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def other_engine(loaded: EngineUnderTest, path: Path | None = None, max_sequences: int = 4) -> LoadedEngine:
    spec = LoadSpec(
        model_path=str(path or loaded.path),
        context_length=CONTEXT_LENGTH,
        max_sequences=max_sequences,
        step_tokens=64,
        num_threads=1,
    )
    return load(loaded.name, spec)
