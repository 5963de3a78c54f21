import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.scan import ScanReport, ScanRoot, scan
from registry.store import Registry
from router.models.keeper import ModelKeeper
from router.status import HashProgress
from tests.registry.gguf_builder import llama_model
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for what other threads do; the test's own time limit ends a wait in vain."""
    while not condition():  # noqa: ASYNC110 - a thread sets no event of this loop
        await asyncio.sleep(0.005)


def keeper_of(tmp_path: Path, own: Path, **options: object) -> ModelKeeper:
    roots = [ScanRoot(path=own, is_owned=True)]
    return ModelKeeper(tmp_path / "r.sqlite3", roots, interval_s=0.01, **options)  # type: ignore[arg-type]


async def test_what_changes_on_disk_changes_in_the_catalogue(tmp_path: Path, own: Path) -> None:
    (own / "a.gguf").write_bytes(llama_model())
    keeper = keeper_of(tmp_path, own)
    async with asyncio.timeout(WITHIN_S):
        task = asyncio.create_task(keeper.run())
        await eventually(lambda: keeper.num_scans == 1)
        with Registry(tmp_path / "r.sqlite3") as registry:
            (own / "b.gguf").write_bytes(llama_model() + b"\0")
            await eventually(lambda: len(registry.models.list()) == 2)
            (own / "a.gguf").unlink()
            await eventually(lambda: registry.models.get("a").artifacts[0].status == "missing")
            await eventually(lambda: registry.models.get("b").artifacts[0].sha256 is not None)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_file_that_comes_just_after_a_scan_has_read_its_folder_is_found(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keeper_of(tmp_path, own)

    def scan_and_copy(*args: Any, **options: Any) -> ScanReport:
        report = scan(*args, **options)
        if not keeper.num_scans:
            (own / "a.gguf").write_bytes(llama_model())
        return report

    monkeypatch.setattr("router.models.keeper.scan", scan_and_copy)
    async with asyncio.timeout(WITHIN_S):
        task = asyncio.create_task(keeper.run())
        with Registry(tmp_path / "r.sqlite3") as registry:
            await eventually(lambda: bool(registry.models.list()))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_equal_files_become_one_model_in_the_background(tmp_path: Path, own: Path) -> None:
    for name in ("a", "b", "c"):
        (own / f"{name}.gguf").write_bytes(llama_model())
    keeper = keeper_of(tmp_path, own, is_watching=False)
    seen: list[HashProgress] = []
    keeper._set_progress = seen.append  # type: ignore[method-assign, assignment]
    async with asyncio.timeout(WITHIN_S):
        task = asyncio.create_task(keeper.run())
        with Registry(tmp_path / "r.sqlite3") as registry:
            await eventually(lambda: [model.name for model in registry.models.list()] == ["a"])
            assert registry.models.get("c").name == "a"
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert seen[0].num_artifacts_left == 3
    assert seen[0].total_bytes == 3 * len(llama_model())
    assert [item.done_bytes for item in seen] == sorted(item.done_bytes for item in seen)


async def test_checksums_wait_while_the_machine_is_busy_and_end_with_the_server(tmp_path: Path, own: Path) -> None:
    (own / "a.gguf").write_bytes(llama_model())
    asked: list[bool] = []

    def is_busy() -> bool:
        asked.append(True)
        return True

    keeper = keeper_of(tmp_path, own, is_busy=is_busy)
    async with asyncio.timeout(WITHIN_S):
        task = asyncio.create_task(keeper.run())
        await eventually(lambda: len(asked) > 3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    with Registry(tmp_path / "r.sqlite3") as registry:
        assert registry.models.get("a").artifacts[0].sha256 is None


async def test_a_scan_that_fails_is_logged_and_tried_again(
    tmp_path: Path, own: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("router.models.keeper.RETRY_S", 0.01)
    (own / "a.gguf").write_bytes(llama_model())
    (tmp_path / "r.sqlite3").write_bytes(b"this is no database" * 100)
    keeper = keeper_of(tmp_path, own)
    async with asyncio.timeout(WITHIN_S):
        task = asyncio.create_task(keeper.run())
        await eventually(lambda: "the scan for models failed" in caplog.text)
        (tmp_path / "r.sqlite3").unlink()
        await eventually(lambda: keeper.num_scans == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
