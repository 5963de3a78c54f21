import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from router.errors import StoreUnavailableError
from router.stores.contexts.record import Beginnings, WindUse
from router.stores.contexts.store import ContextStore
from router.stores.viewer import Viewer
from tests.support.winds import SECRET, wind

ROOM = 1 << 30
EVERYBODY = Viewer(None, sees_all=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "contexts.sqlite3"


@pytest.fixture
def store(path: Path) -> Iterator[ContextStore]:
    with ContextStore(path) as opened:
        yield opened


def beginnings(*numbers: int, owner: str | None = None, model: str = "m") -> Beginnings:
    return Beginnings(owner=owner, model=model, digests=[b"%d" % number for number in numbers])


def use(context_id: str, shown: bytes = b"[]", *, is_stored: bool = True, kept_in: str | None = None) -> WindUse:
    return WindUse(context_id=context_id, shown=shown, is_stored=is_stored, kept_in=kept_in)


def ids(store: ContextStore) -> list[str]:
    return sorted(each.context_id for each in store.page(EVERYBODY, after=None, limit=100))


def bytes_left(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_a_wind_is_found_again_by_another_process(path: Path) -> None:
    with ContextStore(path) as first:
        first.put(wind("ctx_a", 4, task=2, shown=b'[{"role":"user"}]'))
    with ContextStore(path) as second:
        assert second.get("ctx_a") == wind("ctx_a", 4, task=2, shown=b'[{"role":"user"}]')
        assert second.get("ctx_b") is None


def test_only_this_user_may_read_the_file(path: Path, store: ContextStore) -> None:  # noqa: ARG001 - it made the file
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_longest_beginning_that_was_told_is_found(store: ContextStore) -> None:
    for each in (wind("ctx_a", 4), wind("ctx_b", 8, earlier_id="ctx_a"), wind("ctx_other", 9, owner="k")):
        store.put(each)
    found = [store.longest(beginnings(*range(stop))) for stop in (4, 5, 8, 9, 30)]
    assert [each and each.context_id for each in found] == [None, "ctx_a", "ctx_a", "ctx_b", "ctx_b"]


def test_of_two_that_told_the_same_beginning_the_newer_one_is_found(store: ContextStore) -> None:
    store.put(wind("ctx_new", 4, created_at=20.0))
    store.put(wind("ctx_old", 4, created_at=10.0))
    found = store.longest(beginnings(4))
    assert found is not None
    assert found.context_id == "ctx_new"


def test_a_conversation_of_ten_thousand_messages_is_looked_up(store: ContextStore) -> None:
    store.put(wind("ctx_a", 3))
    found = store.longest(beginnings(*range(10_000)))
    assert found is not None
    assert found.context_id == "ctx_a"


@pytest.mark.parametrize("asked", [{"owner": "k2"}, {"owner": None}, {"model": "n"}])
def test_nothing_is_found_for_another_owner_or_model(store: ContextStore, asked: dict[str, str | None]) -> None:
    store.put(wind("ctx_a", 4, owner="k1"))
    assert store.longest(beginnings(4, owner="k1")) is not None
    assert store.longest(msgspec.structs.replace(beginnings(4, owner="k1"), **asked)) is None


def test_a_viewer_sees_its_own_the_last_used_first_page_by_page(store: ContextStore) -> None:
    for number in range(5):
        store.put(wind(f"ctx_{number}", number, owner="k" if number % 2 else None, used_at=float(number)))
    store.note_use(use("ctx_1", b"[]", is_stored=True), now=9.0)
    first = store.page(EVERYBODY, after=None, limit=2)
    assert [each.context_id for each in first] == ["ctx_1", "ctx_4"]
    assert [each.context_id for each in store.page(EVERYBODY, after="ctx_4", limit=9)] == ["ctx_3", "ctx_2", "ctx_0"]
    own = store.page(Viewer("k", sees_all=False), after=None, limit=9)
    assert [each.context_id for each in own] == ["ctx_1", "ctx_3"]


def test_a_use_says_what_the_model_saw(store: ContextStore) -> None:
    store.put(wind("ctx_a", 4))
    store.note_use(use("ctx_a", b'["now"]', is_stored=True), now=50.0)
    found = store.get("ctx_a")
    assert found is not None
    assert (found.shown, found.used_at, found.created_at) == (b'["now"]', 50.0, 10.0)


def test_what_it_takes_follows_what_is_shown(store: ContextStore) -> None:
    for context_id, is_stored in (("ctx_a", True), ("ctx_b", False)):
        store.put(wind(context_id, 4, narrative="n\u00e4h", shown=b"12345", is_stored=is_stored))
    for shown in (b"1234567", b"12"):
        for context_id in ("ctx_a", "ctx_b"):
            store.note_use(use(context_id, shown), now=50.0)
        sizes = store.rows("SELECT num_bytes FROM all_winds")
        assert sizes == [(4 + len(shown),)] * 2


def test_what_may_not_be_on_the_disk_is_found_and_is_not_there(path: Path, store: ContextStore) -> None:
    store.put(wind("ctx_a", 4, narrative=SECRET, is_stored=False))
    store.note_use(use("ctx_a", SECRET.encode(), is_stored=False), now=50.0)
    found = store.longest(beginnings(4))
    assert found is not None
    assert (found.narrative, found.shown, found.is_stored) == (SECRET, SECRET.encode(), False)
    assert SECRET.encode() not in bytes_left(path)
    with ContextStore(path) as other:
        assert other.get("ctx_a") is None
    assert store.delete("ctx_a") == 1
    assert ids(store) == []


def test_what_may_not_be_on_the_disk_is_not_written_beside_what_may(path: Path, store: ContextStore) -> None:
    store.put(wind("ctx_a", 4, shown=b"[1]"))
    store.note_use(use("ctx_a", SECRET.encode(), is_stored=False), now=50.0)
    found = store.get("ctx_a")
    assert found is not None
    assert (found.shown, found.used_at) == (b"[1]", 50.0)
    assert SECRET.encode() not in bytes_left(path)


def test_a_wind_is_deleted_with_all_that_tell_the_same(store: ContextStore) -> None:
    for each in (
        wind("ctx_a", 4),
        wind("ctx_b", 8, earlier_id="ctx_a"),
        wind("ctx_branch", 9, earlier_id="ctx_a", is_stored=False),
        wind("ctx_c", 12, earlier_id="ctx_b"),
        wind("ctx_alone", 5),
    ):
        store.put(each)
    assert store.delete("ctx_b") == 4
    assert ids(store) == ["ctx_alone"]
    assert store.delete("ctx_b") == 0


def test_a_kept_conversation_takes_along_what_it_has_used(store: ContextStore) -> None:
    store.put(wind("ctx_a", 4, kept_in="conv_1"))
    store.put(wind("ctx_b", 4, kept_in="conv_2"))
    store.put(wind("ctx_c", 4))
    store.put(wind("ctx_d", 4, is_stored=False))
    for context_id in ("ctx_c", "ctx_d"):
        store.note_use(use(context_id, kept_in="conv_1"), now=50.0)
        store.note_use(use(context_id, kept_in="conv_2"), now=51.0)
    assert store.delete_kept_in(["conv_1", "conv_9"]) == 3
    assert ids(store) == ["ctx_b"]
    assert store.delete_kept_in(["conv_1"]) == 0


def test_what_nothing_that_is_kept_has_used_goes_with_the_last_that_has(store: ContextStore) -> None:
    store.put(wind("ctx_a", 4, kept_in="resp_1"))
    store.put(wind("ctx_b", 4, kept_in="resp_1"))
    store.put(wind("ctx_alone", 4))
    store.note_use(use("ctx_b", kept_in="resp_2"), now=50.0)
    found = store.get("ctx_b")
    assert found is not None
    assert found.kept_in == "resp_2"
    assert store.unlink(["resp_1"]) == 1
    assert ids(store) == ["ctx_alone", "ctx_b"]
    assert store.unlink(["resp_2"]) == 1
    assert ids(store) == ["ctx_alone"]


def test_a_wind_whose_earlier_one_was_deleted_meanwhile_is_not_kept(store: ContextStore) -> None:
    store.put(wind("ctx_a", 4))
    store.delete("ctx_a")
    store.put(wind("ctx_b", 8, earlier_id="ctx_a"))
    assert ids(store) == []


def test_a_viewer_deletes_its_own(store: ContextStore) -> None:
    for each in (wind("ctx_a", 4, owner="k1"), wind("ctx_b", 4, owner="k2"), wind("ctx_c", 4)):
        store.put(each)
    assert store.delete_all(Viewer("k1", sees_all=False)) == 1
    assert ids(store) == ["ctx_b", "ctx_c"]
    assert store.delete_all(EVERYBODY) == 2
    assert store.delete_all(EVERYBODY) == 0


def test_those_that_are_longest_unused_go_when_there_is_too_much_or_they_are_too_old(store: ContextStore) -> None:
    for number in range(4):
        store.put(wind(f"ctx_{number}", number, narrative="x" * 100, shown=b"[]", used_at=float(number)))
    store.put(wind("ctx_huge", 9, narrative="x" * 5000, used_at=9.0))
    store.put(wind("ctx_left_out", 9, narrative=None, is_left_out=True, used_at=-1.0))
    store.note_use(use("ctx_0", b"[]", is_stored=True), now=8.0)
    assert store.evict(before=0, max_bytes=350) == 3
    assert ids(store) == ["ctx_0", "ctx_2", "ctx_3"]
    assert store.evict(before=3.0, max_bytes=ROOM) == 1
    assert ids(store) == ["ctx_0", "ctx_3"]
    assert store.evict(before=0, max_bytes=0) == 2


def test_nothing_of_what_was_deleted_is_left(path: Path, store: ContextStore) -> None:
    for number in range(30):
        narrative = f"{SECRET} {number} " * 200
        store.put(
            wind(f"ctx_{number}", number, narrative=narrative, shown=narrative.encode(), kept_in=f"conv_{number}")
        )
    for number in range(30):
        store.note_use(use(f"ctx_{number}", SECRET.encode() * 500, is_stored=True), now=50.0)
    assert SECRET.encode() in bytes_left(path)
    store.delete("ctx_0")
    store.delete_kept_in([f"conv_{number}" for number in range(20)])
    store.evict(before=60.0, max_bytes=ROOM)
    assert store.scrub()
    assert SECRET.encode() not in bytes_left(path)
    assert ids(store) == []


def test_a_file_that_is_none_of_ours_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StoreUnavailableError, match=r"contexts\.sqlite3 cannot be used"):
        ContextStore(path)
    assert path.read_bytes() == b"no database" * 1000


def test_the_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    with ContextStore(path) as store:
        store.put(wind("ctx_a", 4))
        store.rows(f"PRAGMA user_version = {ContextStore.newest_schema() + 1}")
    with pytest.raises(StoreUnavailableError, match="written by a newer version"):
        ContextStore(path)
