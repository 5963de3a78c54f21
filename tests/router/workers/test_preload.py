"""What is loaded before anybody asks, by a real supervisor."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from router.config import ModelsConfig
from router.models.model_request import ModelRequest
from router.readiness import Readiness
from router.workers.preload import Preload
from tests.support.fake_fleet import FakeFleet, with_fleet

NOT_THERE = ["The model that is loaded at the start is not there yet."]


@contextlib.asynccontextmanager
async def preloading(fleet: FakeFleet, file: Path, preload: Any) -> AsyncGenerator[Readiness, None]:
    readiness = Readiness()
    models = msgspec.convert({"preload": preload}, ModelsConfig)
    part = Preload(models, fleet.supervisor, readiness, meaning=ModelRequest, last_file=file)
    task = asyncio.create_task(part.run())
    try:
        yield readiness
    finally:
        task.cancel()
        await asyncio.wait({task})


@with_fleet()
async def test_the_named_model_is_loaded_and_the_server_is_ready_then(fleet: FakeFleet, tmp_path: Path) -> None:
    fleet.hold("load")
    async with preloading(fleet, tmp_path / "last", ["m"]) as readiness:
        await fleet.until(lambda: fleet.state == "loading", "it loads")
        assert readiness.reasons == NOT_THERE
        fleet.let_go("load")
        await fleet.until(lambda: not readiness.reasons, "it is there")
        assert [worker.target.model for worker in fleet.ready if worker.target is not None] == ["m"]
        await fleet.until((tmp_path / "last").exists, "it is remembered")
        assert (tmp_path / "last").read_text() == "m"


@with_fleet()
async def test_the_last_model_is_loaded_again_after_a_restart(fleet: FakeFleet, tmp_path: Path) -> None:
    file = tmp_path / "last"
    async with preloading(fleet, file, "last") as readiness:
        await fleet.until(lambda: not readiness.reasons, "there is none yet")
        assert fleet.holder is None
        await fleet.answer("m")
        await fleet.answer("other")
        await fleet.until(lambda: file.exists() and file.read_text() == "other", "the last one is remembered")
    await fleet.supervisor.stop_model("other")
    async with preloading(fleet, file, "last"):
        await fleet.until(lambda: bool(fleet.ready), "it is loaded")
        assert [worker.target.model for worker in fleet.ready if worker.target is not None] == ["other"]


@with_fleet()
async def test_one_that_cannot_be_loaded_keeps_nobody_from_the_others(
    fleet: FakeFleet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with preloading(fleet, tmp_path / "last", ["nobody"]) as readiness:
        await fleet.until(lambda: not readiness.reasons, "it is given up")
        assert "'nobody' is not loaded at the start" in caplog.text
        assert await fleet.answer()


@with_fleet()
async def test_nothing_is_loaded_by_default(fleet: FakeFleet, tmp_path: Path) -> None:
    (tmp_path / "last").write_bytes(b"\xff")
    async with preloading(fleet, tmp_path / "last", "none") as readiness:
        assert readiness.reasons == []
        assert await fleet.answer("other")
        assert len(fleet.supervisor.swaps) == 1
