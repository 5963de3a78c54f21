"""The machine's sleep on Linux: told by logind over D-Bus, which waits for those who hold a lock of delay.

Source: org.freedesktop.login1(5): "PrepareForSleep ... before (with the argument true) or after (with the argument
false) the system goes down"; systemd.io/INHIBITOR_LOCKS, "delay"; `InhibitDelayMaxUSec`.
"""

import asyncio
import contextlib
import importlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from router.sleep.base import PATIENCE_S, OnSleep, OnWake, SleepNotices

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

logger = logging.getLogger(__name__)

SERVICE: Final = "org.freedesktop.login1"
PATH: Final = "/org/freedesktop/login1"
INTERFACE: Final = "org.freedesktop.login1.Manager"
# Source: D-Bus specification, "Well-known Message Bus Instances", "System message bus".
_ADDRESS_VARIABLE: Final = "DBUS_SYSTEM_BUS_ADDRESS"
_SYSTEM_SOCKET: Final = Path("/var/run/dbus/system_bus_socket")
_MICROSECONDS: Final = 1e6
_ANSWER_S: Final = 1.0


class LogindNotices(SleepNotices):
    """See the module.

    Args:
        on_sleep: As the base class has it; so is `on_wake`.
        address: Of the bus; None = the system's.
    """

    def __init__(
        self,
        on_sleep: OnSleep,
        on_wake: OnWake,
        address: str | None = None,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(on_sleep, on_wake, patience_s=patience_s)
        self._address = address
        self._manager: Any = None
        self._lock_fd: int | None = None

    async def run(self) -> None:
        """Act on what logind tells until cancelled; return where there is none."""
        if self._address is None and _ADDRESS_VARIABLE not in os.environ and not _SYSTEM_SOCKET.exists():
            logger.info("the machine's sleep is not noticed: there is no system bus (%s)", _SYSTEM_SOCKET)
            return
        # Not on the event loop: the import takes 0.2 s, just when the first requests come.
        await asyncio.to_thread(importlib.import_module, "dbus_fast.aio")
        from dbus_fast import BusType  # noqa: PLC0415
        from dbus_fast.aio import MessageBus  # noqa: PLC0415
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError  # noqa: PLC0415

        bus: MessageBus | None = None
        try:
            bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
            await self._follow(await bus.connect())
        except (OSError, EOFError, AuthError, DBusError, InvalidAddressError) as exc:
            logger.info("the machine's sleep is not noticed: %s", exc or type(exc).__name__)
        finally:
            if bus is not None and bus.connected:
                bus.disconnect()

    async def _follow(self, bus: "MessageBus") -> None:
        bus.add_message_handler(_keep_from_children)
        node = await bus.introspect(SERVICE, PATH)
        self._manager = bus.get_proxy_object(SERVICE, PATH, node).get_interface(INTERFACE)
        self._manager.on_prepare_for_sleep(self._news.put_nowait)
        delay_s = await self._manager.get_inhibit_delay_max_u_sec() / _MICROSECONDS
        ended = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        ended.add_done_callback(lambda _: self._news.put_nowait(None))
        try:
            await self._act(delay_s)
        finally:
            ended.cancel()
            with contextlib.suppress(BaseException):
                await ended

    async def _hold(self) -> None:
        """Take a lock; without one the notices come all the same, and the machine does not wait."""
        from dbus_fast.errors import DBusError  # noqa: PLC0415

        self._release()
        asking = asyncio.ensure_future(self._manager.call_inhibit("sleep", "mlxr", "Unloads its model", "delay"))
        try:
            self._lock_fd = await asyncio.shield(asking)
        except asyncio.CancelledError:
            with contextlib.suppress(DBusError, TimeoutError):  # it may be on its way, and would be held for ever
                self._lock_fd = await asyncio.wait_for(asking, _ANSWER_S)
            raise
        except DBusError as exc:
            logger.warning("the machine will not wait for the model before it sleeps: %s", exc)

    def _release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None


def _keep_from_children(message: "Message") -> None:
    """Let no worker that is started from now on have a lock too: it would hold the machine up when we no longer do."""
    for fd in message.unix_fds:
        os.set_inheritable(fd, False)
