import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from router.config import ContextConfig
from router.errors import ContextNotFoundError, OriginNotAllowedError
from router.http.caller import Caller, Scope, acting_for
from router.stores.contexts import Beginnings, Contexts, Wind, WindUse
from router.stores.contexts.store import ContextStore
from router.stores.forgotten import Forgotten
from tests.support.waiting import until
from tests.support.winds import SECRET, wind

ANNE = Caller(key_id="anne", name="anne", scope=Scope.INFERENCE)
BERT = Caller(key_id="bert", name="bert", scope=Scope.INFERENCE)
CHIEF = Caller(key_id="chief", name="chief", scope=Scope.ADMIN)


@asynccontextmanager
async def opened(path: Path, **config: Any) -> AsyncIterator[Contexts]:
    contexts = Contexts(path, lambda: ContextConfig(**config), clock=lambda: 1000.0)
    try:
        yield contexts
    finally:
        await contexts.close()


def on_contexts(test: Callable[[Contexts], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        async def main() -> None:
            async with opened(tmp_path / "contexts.sqlite3") as contexts:
                await test(contexts)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def beginnings(owner: str | None) -> Beginnings:
    return Beginnings(owner=owner, model="m", digests=[b"1", b"4"])


def files_of(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


@on_contexts
async def test_two_keys_with_equal_beginnings_never_see_each_others_narrative(contexts: Contexts) -> None:
    contexts.keep(wind("ctx_anne", 4, owner="anne", narrative=SECRET))
    own = await contexts.longest(beginnings("anne"))
    assert own is not None
    assert own.narrative == SECRET
    for other in ("bert", "chief", None):
        assert await contexts.longest(beginnings(other)) is None
    with acting_for(BERT):
        for refused in (
            contexts.get("ctx_anne"),
            contexts.delete("ctx_anne"),
            contexts.page(after="ctx_anne", limit=9),
        ):
            with pytest.raises(ContextNotFoundError, match="ctx_anne"):
                await refused
        assert await contexts.page(after=None, limit=9) == []
        assert await contexts.delete_all() == 0
    with acting_for(CHIEF):
        assert await contexts.longest(beginnings("chief")) is None, "an administrator looks, and is told nothing by it"
        assert (await contexts.get("ctx_anne")).narrative == SECRET
    with acting_for(ANNE):
        assert [each.context_id for each in await contexts.page(after=None, limit=9)] == ["ctx_anne"]


def test_there_is_no_file_before_something_is_wound(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "contexts.sqlite3") as contexts:
            assert await contexts.longest(beginnings(None)) is None
            assert await contexts.page(after=None, limit=9) == []
            assert await contexts.delete_all() == 0
            contexts.on_forgotten(Forgotten(["conv_1"], is_deleted=True))
            contexts.note_use(WindUse(context_id="ctx_a", shown=b"[]"))
            with pytest.raises(ContextNotFoundError):
                await contexts.get("ctx_a")

    asyncio.run(main())
    assert list(tmp_path.iterdir()) == []


@on_contexts
async def test_whoever_wants_to_know_is_told_of_each_wind(contexts: Contexts) -> None:
    told: list[Wind] = []
    contexts.wound.add(told.append)
    contexts.keep(wind("ctx_a", 4))
    assert [each.context_id for each in told] == ["ctx_a"]


def test_the_log_tells_of_each_wind_and_nothing_of_what_was_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with opened(tmp_path / "contexts.sqlite3") as contexts:
            contexts.keep(wind("ctx_a", 4, narrative=SECRET, shown=SECRET.encode()))
            contexts.keep(wind("ctx_b", 8, narrative=None, told_by=None, is_left_out=True))

    with caplog.at_level(logging.INFO, logger="router.stores.contexts.keeper"):
        asyncio.run(main())
    first, second = caplog.messages
    counts = "turns=4 before=900 after=300 narrative=40"
    assert first == f"context wound: context=ctx_a model=m {counts} by=m ms=12"
    assert second.endswith("by=None ms=12 left_out")


@on_contexts
async def test_what_was_begun_before_something_of_its_conversation_was_deleted_is_not_kept(contexts: Contexts) -> None:
    contexts.on_forgotten(Forgotten(["conv_1"], is_deleted=True))
    contexts.keep(wind("ctx_stale", 4, kept_in="conv_1", created_at=1002.0, ms=2000.0))
    contexts.keep(wind("ctx_later", 4, kept_in="conv_1", created_at=1002.5, ms=2000.0))
    contexts.keep(wind("ctx_other", 4, kept_in="conv_2", created_at=1002.0, ms=2000.0))
    kept = await contexts.page(after=None, limit=9)
    assert sorted(each.context_id for each in kept) == ["ctx_later", "ctx_other"]


@on_contexts
async def test_what_was_begun_before_all_was_deleted_is_not_kept(contexts: Contexts) -> None:
    with acting_for(ANNE):
        assert await contexts.delete_all() == 0
    contexts.keep(wind("ctx_stale", 4, owner="anne", created_at=1002.0, ms=2000.0))
    contexts.keep(wind("ctx_later", 4, owner="anne", created_at=1002.5, ms=2000.0))
    contexts.keep(wind("ctx_other", 4, owner="bert", created_at=1002.0, ms=2000.0))
    kept = await contexts.page(after=None, limit=9)
    assert sorted(each.context_id for each in kept) == ["ctx_later", "ctx_other"]


@on_contexts
async def test_what_goes_by_age_takes_along_what_nothing_else_has_used(contexts: Contexts) -> None:
    for name in ("a", "b", "c"):
        contexts.keep(wind(f"ctx_{name}", 4, kept_in=None if name == "c" else "resp_1"))
    contexts.note_use(WindUse(context_id="ctx_b", shown=b"[]", kept_in="resp_2"))
    contexts.on_forgotten(Forgotten(["resp_1"], is_deleted=False))
    kept = await contexts.page(after=None, limit=9)
    assert sorted(each.context_id for each in kept) == ["ctx_b", "ctx_c"]
    contexts.keep(wind("ctx_d", 4, kept_in="resp_1", created_at=1002.0, ms=2000.0))
    assert (await contexts.get("ctx_d")).kept_in == "resp_1", "nobody has deleted anything"


@on_contexts
async def test_the_page_of_another_program_sees_none(contexts: Contexts) -> None:
    contexts.keep(wind("ctx_a", 4))
    with acting_for(Caller(name="owner", scope=Scope.ADMIN, is_foreign_page=True)):
        for refused in (contexts.get("ctx_a"), contexts.delete("ctx_a")):
            with pytest.raises(OriginNotAllowedError):
                await refused


def test_what_was_deleted_is_left_in_no_byte_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "contexts.sqlite3"

    async def main() -> None:
        async with opened(path) as contexts:
            contexts.keep(wind("ctx_a", 4, narrative=SECRET * 100, shown=SECRET.encode() * 100))
            contexts.note_use(WindUse(context_id="ctx_a", shown=SECRET.encode() * 200))
            assert (await contexts.get("ctx_a")).shown == SECRET.encode() * 200
            assert SECRET.encode() in files_of(path)
            assert await contexts.delete("ctx_a") == 1

    asyncio.run(main())
    assert SECRET.encode() not in files_of(path)


def test_what_is_too_old_or_too_much_goes(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path / "old.sqlite3", keep_days=0.01) as contexts:
            contexts.keep(wind("ctx_old", 4, used_at=1000.0 - 865))
            contexts.keep(wind("ctx_new", 5, used_at=1000.0 - 863))
            assert [each.context_id for each in await contexts.page(after=None, limit=9)] == ["ctx_new"]
        async with opened(tmp_path / "much.sqlite3", max_bytes=100) as contexts:
            contexts.keep(wind("ctx_a", 4, narrative="x" * 60, used_at=999.0))
            contexts.keep(wind("ctx_b", 5, narrative="x" * 60, used_at=1000.0))
            assert [each.context_id for each in await contexts.page(after=None, limit=9)] == ["ctx_b"]
        async with opened(tmp_path / "none.sqlite3", max_bytes=0) as contexts:
            contexts.keep(wind("ctx_a", 4))
            assert await contexts.longest(beginnings(None)) is None

    asyncio.run(main())
    assert not (tmp_path / "none.sqlite3").exists()


def test_a_file_that_cannot_be_used_costs_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "contexts.sqlite3"
    path.write_bytes(b"no database" * 1000)

    async def main() -> None:
        async with opened(path) as contexts:
            with caplog.at_level(logging.WARNING):
                assert await contexts.longest(beginnings(None)) is None
                contexts.keep(wind("ctx_a", 4))

    asyncio.run(main())
    assert "no earlier narrative was looked for" in caplog.text
    assert "a narrative was not stored" in caplog.text


def test_what_was_deleted_before_a_server_was_killed_is_gone_with_the_next(tmp_path: Path) -> None:
    path, killed = tmp_path / "contexts.sqlite3", tmp_path / "killed.sqlite3"
    with ContextStore(killed) as store:
        store.put(wind("ctx_a", 4, narrative=SECRET * 100))
        store.put(wind("ctx_b", 5))
        store.delete("ctx_a")
        for ending in ("", "-wal"):
            path.with_name(path.name + ending).write_bytes(killed.with_name(killed.name + ending).read_bytes())
    assert SECRET.encode() in files_of(path)

    async def main() -> None:
        async with opened(path) as contexts:
            running = asyncio.create_task(contexts.run())
            await until(lambda: SECRET.encode() not in files_of(path), "nothing of it is left")
            running.cancel()
            await asyncio.wait([running])
            assert (await contexts.get("ctx_b")).num_told == 5

    asyncio.run(main())
