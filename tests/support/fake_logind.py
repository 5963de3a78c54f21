"""An object like logind's on a private D-Bus, by Debian's own dbus-daemon."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from dbus_fast import DBusError, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from router.sleep.logind import INTERFACE, PATH, SERVICE

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"""


@contextlib.contextmanager
def private_bus(folder: Path) -> Iterator[str]:
    """Run a bus; give its address."""
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(folder / "bus"))
    argv = ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--print-address"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as daemon:
        assert daemon.stdout is not None
        try:
            yield daemon.stdout.readline().strip()
        finally:
            daemon.terminate()


class Logind(ServiceInterface):
    """Hands out locks, and knows which are held.

    Attributes:
        readers: The other ends of the locks.
        refusal: Why it hands out none.
    """

    def __init__(self) -> None:
        super().__init__(INTERFACE)
        self.readers: list[int] = []
        self.asked: list[tuple[str, str]] = []
        self.refusal: str | None = None

    @dbus_method(name="Inhibit")
    def inhibit(self, what: "s", who: "s", why: "s", mode: "s") -> "h":  # type: ignore[name-defined]  # noqa: F821
        del who, why
        if self.refusal is not None:
            raise DBusError("org.freedesktop.DBus.Error.AccessDenied", self.refusal)
        self.asked.append((what, mode))
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        self.readers.append(reader)
        asyncio.get_running_loop().call_later(0.2, os.close, writer)  # sent by then
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


@contextlib.asynccontextmanager
async def served_logind(address: str) -> AsyncIterator[Logind]:
    """Have one on a bus."""
    bus, logind = MessageBus(bus_address=address, negotiate_unix_fd=True), Logind()
    await bus.connect()
    bus.export(PATH, logind)
    await bus.request_name(SERVICE)
    try:
        yield logind
    finally:
        bus.disconnect()
        for reader in logind.readers:
            os.close(reader)
