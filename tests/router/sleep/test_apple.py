"""The notices of macOS' sleep on the event loop, played by an object in the place of IOKit; not run on a Mac."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from backends.machine.apple_power import SYSTEM_HAS_POWERED_ON, SYSTEM_WILL_SLEEP, PowerNotices
from router.sleep.apple import AppleNotices
from router.sleep.base import OnSleep, OnWake
from tests.support.fake_iokit import CONNECTION, FakePower
from tests.support.waiting import until


class Told:
    """What is told; before a sleep it takes until `may_sleep`."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.may_sleep = asyncio.Event()

    async def on_sleep(self, budget_s: float) -> None:
        self.told.append(f"sleep {budget_s:g}")
        await self.may_sleep.wait()

    async def on_wake(self) -> None:
        self.told.append("wake")


def notices_of(fake: FakePower, on_sleep: OnSleep, on_wake: OnWake) -> AppleNotices:
    return AppleNotices(on_sleep, on_wake, lambda sleep, wake: PowerNotices(sleep, wake, fake.libraries))


@contextlib.asynccontextmanager
async def followed(fake: FakePower, on_sleep: OnSleep, on_wake: OnWake) -> AsyncIterator[None]:
    task = asyncio.create_task(notices_of(fake, on_sleep, on_wake).run())
    yield
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: len(fake.ended) == 3, "the thread has ended")


async def test_the_machine_waits_for_what_is_done_before_its_sleep_and_wakes_to_what_is_done_after() -> None:
    fake, told = FakePower(), Told()
    async with followed(fake, told.on_sleep, told.on_wake):
        fake.play(SYSTEM_HAS_POWERED_ON)  # of a sleep that was before us
        fake.play(SYSTEM_WILL_SLEEP, 11)
        await until(lambda: told.told == ["sleep 15"], "the sleep is told")
        assert fake.allowed == []
        told.may_sleep.set()
        await until(lambda: fake.allowed == [(CONNECTION, 11)], "the sleep is allowed")
        fake.play(SYSTEM_HAS_POWERED_ON)
        await until(lambda: told.told == ["sleep 15", "wake"], "the wake is told")
        fake.play(SYSTEM_WILL_SLEEP, 12)
        await until(lambda: fake.allowed[1:] == [(CONNECTION, 12)], "the next sleep is allowed")


async def test_a_gateway_that_ends_or_fails_holds_no_machine_up(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: float) -> None:
        raise ValueError("a defect")

    fake, told = FakePower(), Told()
    async with followed(fake, told.on_sleep, told.on_wake):
        fake.play(SYSTEM_WILL_SLEEP, 1)
        await until(lambda: told.told == ["sleep 15"], "the sleep is told")
    assert fake.allowed == [(CONNECTION, 1)]
    failing = FakePower()
    async with followed(failing, fail, fail):
        failing.play(SYSTEM_WILL_SLEEP, 2)
        await until(lambda: failing.allowed == [(CONNECTION, 2)], "the sleep is allowed")
    assert "has failed" in caplog.text


async def test_a_system_that_tells_nothing_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def none(*_: object) -> PowerNotices:
        raise OSError("no IOKit here")

    caplog.set_level("INFO")
    told = Told()
    await AppleNotices(told.on_sleep, told.on_wake, none).run()
    await notices_of(FakePower(is_refusing=True), told.on_sleep, told.on_wake).run()
    assert "no IOKit here" in caplog.text
    assert "IORegisterForSystemPower failed" in caplog.text
