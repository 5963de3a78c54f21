"""What the service manager hears, on a socket as systemd has it."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.service.notify import Notice, Notifier
from tests.support.waiting import WITHIN_S

ABSTRACT = pytest.param("abstract", marks=pytest.mark.skipif(sys.platform != "linux", reason="Linux has such names"))


class Manager:
    """Listens as a service manager does."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.settimeout(WITHIN_S)
        self._sock.bind(f"\0{name[1:]}" if name.startswith("@") else name)

    def hear(self) -> dict[str, str]:
        return Notice.read(self._sock.recv(4096)).values

    def close(self) -> None:
        self._sock.close()


@pytest.fixture(params=["path", ABSTRACT])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@mlxr-test-{os.getpid()}"
    with contextlib.closing(Manager(name)) as opened:
        yield opened


def test_a_life_is_told_from_ready_to_stopping(manager: Manager) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.name})
    notifier.ready("serving\non http://localhost")
    assert manager.hear() == {"READY": "1", "STATUS": "serving on http://localhost", "MAINPID": str(os.getpid())}
    notifier.reloaded()  # nobody said that it reloads
    notifier.reloading()
    heard = manager.hear()
    assert heard["RELOADING"] == "1"
    assert int(heard["MONOTONIC_USEC"]) > 0
    notifier.reloaded()
    assert manager.hear() == {"READY": "1"}
    notifier.stopping(45.5)
    assert manager.hear() == {"STOPPING": "1", "STATUS": "ending what runs", "EXTEND_TIMEOUT_USEC": "45500000"}


async def test_the_watchdog_hears_the_loop_and_the_status_when_it_changes(manager: Manager) -> None:
    texts = iter(["one", "one", "two"])
    notifier = Notifier(manager.name, watchdog_s=0.002)
    running = asyncio.create_task(notifier.run(lambda: next(texts, "two")))
    heard = [await asyncio.to_thread(manager.hear) for _ in range(4)]
    running.cancel()
    assert heard[:3] == [{"WATCHDOG": "1", "STATUS": "one"}, {"WATCHDOG": "1"}, {"WATCHDOG": "1", "STATUS": "two"}]
    assert heard[3] == {"WATCHDOG": "1"}


async def test_a_loop_that_hangs_says_nothing(manager: Manager) -> None:
    notifier = Notifier(manager.name, watchdog_s=0.002)
    running = asyncio.create_task(notifier.run(lambda: "serving"))
    await asyncio.to_thread(manager.hear)
    manager._sock.settimeout(0.05)
    heard: list[dict[str, str]] = []
    with contextlib.suppress(TimeoutError):
        while len(heard) < 100:  # the loop stands still in here
            heard.append(manager.hear())
    running.cancel()
    assert len(heard) < 100


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_a_watchdog_for_another_process_is_not_fed(environment: dict[str, str], watchdog_s: float | None) -> None:
    assert Notifier.from_environment(environment, pid=7)._watchdog_s == watchdog_s


async def test_without_a_manager_nothing_runs_and_a_gone_one_is_no_error(tmp_path: Path) -> None:
    await Notifier(None, watchdog_s=1.0).run(lambda: "serving")
    Notifier(str(tmp_path / "gone")).ready("serving")


def test_a_crowded_manager_holds_nobody_up(manager: Manager) -> None:
    notifier = Notifier(manager.name)
    for _ in range(5000):
        notifier.ready("serving")
    assert manager.hear()["READY"] == "1"
