"""What a pull brings for a key that may use some models only: a model of its own, and nothing of another's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from registry.errors import ModelExistsError
from registry.pull import PullOptions
from registry.pull.events import Done, Failed, PullEvent
from registry.store import Registry
from router.http.caller import OWNER, Caller, Scope, acting_for
from router.jobs.conversions import Converter
from router.jobs.jobs import Jobs
from router.jobs.pulled import conclude
from router.jobs.pulls import Pulls
from tests.support.pull_bench import small_puller
from tests.support.stub_hub import StubHub
from tests.support.waiting import WITHIN_S

REPO: Final = "org/fox-GGUF"
SAME: Final = "others/fox-again-GGUF"
BOUNDED: Final = Caller(key_id="key_a", name="a", scope=Scope.MODELS, models=("mine*",))


@asynccontextmanager
async def pulling(tmp_path: Path, tiny_gguf: Path) -> AsyncIterator[Pulls]:
    data = await asyncio.to_thread(tiny_gguf.read_bytes)
    database, folder = tmp_path / "registry.sqlite3", tmp_path / "models"
    registering = partial(conclude, database, folder, Converter(database, folder, {}))
    with StubHub({REPO: {"fox-F32.gguf": data}, SAME: {"fox-again-F32.gguf": data}}) as hub:
        async with small_puller(hub, tmp_path, stall_s=WITHIN_S) as puller, Jobs() as jobs:
            yield Pulls(puller, jobs, conclude=registering, budget_bytes=1 << 40, poll_s=0.01)


async def pulled(pulls: Pulls, caller: Caller, reference: str, name: str | None = None) -> PullEvent:
    """Pull for somebody; return the last event."""
    with acting_for(caller):
        follower = await pulls.start(reference, PullOptions(name=name))
    async with asyncio.timeout(WITHIN_S):
        return [event async for event in follower][-1]


def names(tmp_path: Path) -> set[str]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        return {summary.name for summary in registry.models.summaries()}


async def test_files_that_are_another_models_stay_with_it(tmp_path: Path, tiny_gguf: Path) -> None:
    async with pulling(tmp_path, tiny_gguf) as pulls:
        assert isinstance(await pulled(pulls, OWNER, REPO, "fox"), Done)
        refused = await pulled(pulls, BOUNDED, REPO, "mine")
    assert isinstance(refused, Failed)
    assert refused.code == ModelExistsError.code
    assert "it has mine*" in refused.message
    assert names(tmp_path) == {"fox"}


async def test_equal_files_from_elsewhere_are_a_model_of_the_keys_own(tmp_path: Path, tiny_gguf: Path) -> None:
    async with pulling(tmp_path, tiny_gguf) as pulls:
        assert isinstance(await pulled(pulls, OWNER, REPO, "fox"), Done)
        assert isinstance(await pulled(pulls, BOUNDED, SAME, "mine"), Done)
    assert names(tmp_path) == {"fox", "mine"}


async def test_equal_files_from_elsewhere_are_one_model_for_who_may_use_both(tmp_path: Path, tiny_gguf: Path) -> None:
    async with pulling(tmp_path, tiny_gguf) as pulls:
        for reference, name in ((REPO, "fox"), (SAME, "again")):
            assert isinstance(await pulled(pulls, OWNER, reference, name), Done)
    assert len(names(tmp_path)) == 1
