"""The machine's sleep, told by an object like logind's on a real private bus."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from router.sleep.logind import LogindNotices
from tests.support.fake_logind import Logind, private_bus, served_logind
from tests.support.waiting import WITHIN_S, until

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="Debian's package dbus is not installed")


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A bus of the test's own."""
    with private_bus(tmp_path) as address:
        yield address


class Told:
    """What is told; before a sleep it takes until `may_sleep`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_sleep = asyncio.Event()

    async def on_sleep(self, budget_s: float) -> None:
        self.told.append(f"sleep {budget_s:g}")
        try:
            await self.may_sleep.wait()
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise

    async def on_wake(self) -> None:
        self.told.append("wake")

    async def until(self, *told: str) -> None:
        await until(lambda: self.told == list(told), f"{told} is told")


async def until_held(logind: Logind, num_asked: int = 1) -> None:
    await until(lambda: len(logind.readers) == num_asked and logind.is_held, "a lock is taken")


async def until_free(logind: Logind) -> None:
    await until(lambda: not logind.is_held, "the lock is given back")


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait([task])


async def test_the_machine_waits_for_what_is_done_before_its_sleep_and_wakes_to_what_is_done_after(
    address: str,
) -> None:
    told = Told()
    async with served_logind(address) as logind:
        notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address).run())
        await until_held(logind)
        logind.prepare_for_sleep(True)
        await told.until("sleep 3")
        assert logind.is_held
        told.may_sleep.set()
        await until_free(logind)
        logind.prepare_for_sleep(False)
        await told.until("sleep 3", "wake")
        await until_held(logind, 2)
        assert logind.asked == [("sleep", "delay")] * 2
        await ended(notices)
        await until_free(logind)
    assert told.told == ["sleep 3", "wake"]


async def test_a_sleep_that_is_taken_back_ends_what_is_done_before_it(address: str) -> None:
    told = Told()
    async with served_logind(address) as logind:
        notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address).run())
        await until_held(logind)
        logind.prepare_for_sleep(True)
        await told.until("sleep 3")
        logind.prepare_for_sleep(False)
        await told.until("sleep 3", "cancelled", "wake")
        await until_held(logind, 2)
        await ended(notices)
        await until_free(logind)


async def test_a_machine_that_was_let_go_and_does_not_sleep_is_taken_to_be_awake(address: str) -> None:
    told = Told()
    told.may_sleep.set()
    async with served_logind(address) as logind:
        notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address, patience_s=0.01).run())
        await until_held(logind)
        logind.prepare_for_sleep(True)
        await told.until("sleep 3", "wake")
        await until_held(logind, 2)
        await ended(notices)
        await until_free(logind)


@pytest.mark.parametrize("has_slept", [False, True])
async def test_whoever_hears_nothing_any_more_is_awake(tmp_path: Path, *, has_slept: bool) -> None:
    told = Told()
    with private_bus(tmp_path) as address:
        async with served_logind(address) as logind:
            notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address).run())
            await until_held(logind)
            logind.prepare_for_sleep(True)
            await told.until("sleep 3")
            if has_slept:
                told.may_sleep.set()
                await until_free(logind)
    await asyncio.wait_for(notices, WITHIN_S)
    assert told.told == ["sleep 3", *([] if has_slept else ["cancelled"]), "wake"]


async def test_no_worker_inherits_the_lock(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told, taken = Told(), list[int]()
    monkeypatch.setattr(os, "close", taken.append)
    async with served_logind(address) as logind:
        notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address).run())
        await until_held(logind)
        await ended(notices)
        lock_fd = taken[0]
        assert not os.get_inheritable(lock_fd)
        monkeypatch.undo()
        for fd in taken:
            os.close(fd)


async def test_without_a_lock_the_notices_come_all_the_same(
    address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told()
    async with served_logind(address) as logind:
        monkeypatch.setattr(logind, "refusal", "no locks today")
        notices = asyncio.create_task(LogindNotices(told.on_sleep, told.on_wake, address).run())
        await until(lambda: "no locks today" in caplog.text, "the refusal is logged")
        logind.prepare_for_sleep(True)
        await told.until("sleep 3")
        await ended(notices)


async def test_a_defect_keeps_no_machine_awake(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: float) -> None:
        raise ValueError("a defect")

    async with served_logind(address) as logind:
        notices = asyncio.create_task(LogindNotices(fail, fail, address).run())
        await until_held(logind)
        logind.prepare_for_sleep(True)
        await until_free(logind)
        assert "has failed" in caplog.text
        await ended(notices)


async def test_without_a_bus_or_logind_nothing_is_noticed_and_nothing_fails(address: str, tmp_path: Path) -> None:
    async def never(*_: float) -> None:
        raise AssertionError

    await LogindNotices(never, never, f"unix:path={tmp_path / 'none'}").run()
    await LogindNotices(never, never, address).run()
