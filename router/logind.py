"""The machine's sleep on Linux: told by logind over D-Bus, which waits for those who hold a lock of delay.

Source: org.freedesktop.login1(5): "PrepareForSleep ... before (with the argument true) or after (with the argument
false) the system goes down"; systemd.io/INHIBITOR_LOCKS, "delay"; `InhibitDelayMaxUSec`. Not here: what is done then.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

logger = logging.getLogger(__name__)

SERVICE: Final = "org.freedesktop.login1"
PATH: Final = "/org/freedesktop/login1"
INTERFACE: Final = "org.freedesktop.login1.Manager"
ENDING_SHARE: Final = 0.4
"""Of the time that logind waits, kept for ending the worker and for giving its memory back."""
_MICROSECONDS: Final = 1e6


class SleepNotices:
    """One task of the gateway.

    Args:
        on_sleep: Called before the machine sleeps, with the seconds that running answers may take.
        on_wake: Called after it.
        address: Of the bus; None = the system's.
    """

    def __init__(
        self,
        on_sleep: Callable[[float], Awaitable[object]],
        on_wake: Callable[[], Awaitable[object]],
        address: str | None = None,
    ) -> None:
        self._on_sleep = on_sleep
        self._on_wake = on_wake
        self._address = address
        self._news: asyncio.Queue[bool | None] = asyncio.Queue()
        self._lock_fd: int | None = None

    async def run(self) -> None:
        """Act on what logind tells until cancelled; return where there is none."""
        from dbus_fast import BusType  # noqa: PLC0415 - 0.2 s, and only where there is a bus
        from dbus_fast.aio import MessageBus  # noqa: PLC0415
        from dbus_fast.errors import AuthError, DBusError, InvalidAddressError  # noqa: PLC0415

        bus: MessageBus | None = None
        try:
            bus = MessageBus(bus_address=self._address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
            await self._follow(await bus.connect())
        except (OSError, EOFError, AuthError, DBusError, InvalidAddressError) as exc:
            logger.info("the machine's sleep is not noticed: %s", exc or type(exc).__name__)
        finally:
            self._release()
            if bus is not None and bus.connected:
                bus.disconnect()

    async def _follow(self, bus: "MessageBus") -> None:
        node = await bus.introspect(SERVICE, PATH)
        manager: Any = bus.get_proxy_object(SERVICE, PATH, node).get_interface(INTERFACE)
        manager.on_prepare_for_sleep(self._news.put_nowait)
        delay_s = await manager.get_inhibit_delay_max_u_sec() / _MICROSECONDS
        await self._hold(manager)
        ended = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]
        ended.add_done_callback(lambda _: self._news.put_nowait(None))
        try:
            while (is_going := await self._news.get()) is not None:
                if is_going:
                    await self._told(self._on_sleep(delay_s * (1 - ENDING_SHARE)))
                    self._release()
                else:
                    await self._hold(manager)
                    await self._told(self._on_wake())
        finally:
            ended.cancel()
            with contextlib.suppress(BaseException):
                await ended

    async def _told(self, work: Awaitable[object]) -> None:
        try:
            await work
        except Exception:  # a defect must not keep the machine awake, nor end the notices
            logger.exception("what is done for the machine's sleep has failed")

    async def _hold(self, manager: Any) -> None:
        self._release()
        self._lock_fd = await manager.call_inhibit("sleep", "mlxr", "Unloads its model", "delay")

    def _release(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None
