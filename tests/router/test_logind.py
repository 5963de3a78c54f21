"""The machine's sleep, told by an object like logind's on a real private bus."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dbus_fast")

from dbus_fast import PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from router.logind import INTERFACE, PATH, SERVICE, SleepNotices
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="Debian's package dbus is not installed")

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A bus of the test's own."""
    config = tmp_path / "bus.conf"
    config.write_text(_CONFIG.format(tmp_path / "bus"))
    argv = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        yield daemon.stdout.readline().strip()
        daemon.terminate()


class Logind(ServiceInterface):
    """Hands out locks, and knows which are held."""

    def __init__(self) -> None:
        super().__init__(INTERFACE)
        self.readers: list[int] = []
        self.asked: list[tuple[str, str]] = []

    @dbus_method(name="Inhibit")
    def inhibit(self, what: "s", who: "s", why: "s", mode: "s") -> "h":  # type: ignore[name-defined]  # noqa: F821
        del who, why
        self.asked.append((what, mode))
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.readers.append(reader)
        asyncio.get_running_loop().call_later(0.05, os.close, writer)  # sent by then
        return writer

    @dbus_property(access=PropertyAccess.READ, name="InhibitDelayMaxUSec")
    def delay(self) -> "t":  # type: ignore[name-defined]  # noqa: F821
        return 5_000_000

    @dbus_signal(name="PrepareForSleep")
    def prepare_for_sleep(self, start: "b") -> "b":  # type: ignore[name-defined]  # noqa: F821
        return start

    @property
    def is_held(self) -> bool:
        """Whether any lock is held: its pipe has no end yet."""
        return any(_is_open(reader) for reader in self.readers)


def _is_open(reader: int) -> bool:
    try:
        return os.read(reader, 1) != b""
    except BlockingIOError:
        return True


async def serve(address: str) -> tuple[MessageBus, Logind]:
    bus, logind = MessageBus(bus_address=address, negotiate_unix_fd=True), Logind()
    await bus.connect()
    bus.export(PATH, logind)
    await bus.request_name(SERVICE)
    return bus, logind


async def test_the_machine_waits_for_what_is_done_before_its_sleep_and_wakes_to_what_is_done_after(
    address: str,
) -> None:
    told: list[str] = []
    may_sleep = asyncio.Event()

    async def on_sleep(budget_s: float) -> None:
        told.append(f"sleep {budget_s:g}")
        await may_sleep.wait()

    async def on_wake() -> None:
        told.append("wake")

    bus, logind = await serve(address)
    notices = asyncio.create_task(SleepNotices(on_sleep, on_wake, address).run())
    await until(lambda: len(logind.readers) == 1, "a lock is taken")
    logind.prepare_for_sleep(True)
    await until(lambda: told == ["sleep 3"], "the sleep is told")
    assert logind.is_held
    may_sleep.set()
    await until(lambda: not logind.is_held, "the lock is given back")
    logind.prepare_for_sleep(False)
    await until(lambda: told == ["sleep 3", "wake"], "the wake is told")
    assert logind.is_held
    assert logind.asked == [("sleep", "delay")] * 2
    notices.cancel()
    await asyncio.wait([notices])
    await until(lambda: not logind.is_held, "the lock is given back at the end")
    bus.disconnect()
    for reader in logind.readers:
        os.close(reader)


async def test_a_defect_keeps_no_machine_awake(address: str, caplog: pytest.LogCaptureFixture) -> None:
    async def fail(*_: float) -> None:
        raise ValueError("a defect")

    bus, logind = await serve(address)
    notices = asyncio.create_task(SleepNotices(fail, fail, address).run())
    await until(lambda: len(logind.readers) == 1, "a lock is taken")
    logind.prepare_for_sleep(True)
    await until(lambda: not logind.is_held, "the lock is given back")
    assert "has failed" in caplog.text
    bus.disconnect()
    notices.cancel()
    await asyncio.wait([notices])
    for reader in logind.readers:
        os.close(reader)


async def test_without_a_bus_or_logind_nothing_is_noticed_and_nothing_fails(address: str, tmp_path: Path) -> None:
    async def never(*_: float) -> None:
        raise AssertionError

    await SleepNotices(never, never, f"unix:path={tmp_path / 'none'}").run()
    await SleepNotices(never, never, address).run()
