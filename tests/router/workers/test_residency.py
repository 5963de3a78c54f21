import msgspec
import pytest

from backends.machine.base import Footprint, MachineMemory
from backends.machine.linux import LinuxPlatform
from registry.engines import Engine, EngineKind
from router.status import Swap
from router.workers import residency
from router.workers.residency import ManagedWorker
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet


def test_a_swaps_log_line_has_what_was_measured_and_nothing_else() -> None:
    swap = Swap(at=1.0, event="unload", model="m", engine="mlx", reason="swap", freed_bytes=7, unload_ms=1.26)
    assert swap.log_line() == "unload model=m engine=mlx reason=swap unload_ms=1.3 freed_bytes=7"
    assert set(msgspec.to_builtins(swap)) == {"at", "event", "model", "engine", "reason", "freed_bytes", "unload_ms"}


def test_a_worker_without_a_process_is_not_stalled() -> None:
    assert not ManagedWorker(worker_id=1, engine=Engine(EngineKind.MLX), state_since=0.0).is_stalled(1e9, 1.0)


@with_fleet(make_config())
async def test_the_end_of_a_dead_worker_is_noted_without_figures_that_nobody_measured(fleet: FakeFleet) -> None:
    await fleet.answer()
    pid = fleet.pid
    holder = fleet.holder
    assert holder is not None
    assert holder.client is not None
    holder.client.kill()
    await fleet.until(lambda: fleet.holder is None, "it is reaped")
    swap = fleet.supervisor.swaps[-1]
    assert (swap.event, swap.reason, swap.freed_bytes, swap.is_memory_back) == ("unload", "died", None, None)
    assert await fleet.answer()
    assert fleet.pid != pid


@with_fleet(make_config())
async def test_a_load_tells_the_memory_before_and_after_it(fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    filling = Filling()
    monkeypatch.setattr(residency, "current_platform", lambda: filling)
    await fleet.answer()
    (load,) = fleet.supervisor.swaps
    assert (load.event, load.rss_before_bytes, load.rss_after_bytes) == ("load", 100, 200)
    assert (load.available_before_bytes, load.available_after_bytes) == (8_900, 8_800)
    assert (load.freed_bytes, load.is_memory_back) == (None, None)


class Filling(LinuxPlatform):
    """A machine on which each look at a process finds it 100 bytes larger."""

    num_bytes = 0

    def memory(self) -> MachineMemory:
        return MachineMemory(
            total_bytes=10_000, available_bytes=9_000 - self.num_bytes, held_bytes=1_000 + self.num_bytes
        )

    def footprint_of(self, pid: int) -> Footprint | None:
        assert pid > 0
        self.num_bytes += 100
        return Footprint(self.num_bytes, self.num_bytes)


class GrowingBeside(LinuxPlatform):
    """A machine on which the worker's 200 bytes have come back, and another worker has taken 500 meanwhile."""

    def memory(self) -> MachineMemory:
        return MachineMemory(total_bytes=10_000, available_bytes=5_000, held_bytes=1_000 - 200 + 500)

    def footprint_of(self, pid: int) -> Footprint | None:
        return Footprint(800, 700) if pid == 5 else None


@pytest.mark.parametrize(("other_pids", "is_back"), [([5, 6], True), ([], False)])
async def test_what_another_worker_takes_meanwhile_is_not_held_against_the_one_that_has_ended(
    other_pids: list[int], *, is_back: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residency, "current_platform", GrowingBeside)
    held_bytes = 1_000 - (200 if other_pids else 0)
    worker = ManagedWorker(
        worker_id=1,
        engine=Engine(EngineKind.MLX),
        state_since=0.0,
        before=Footprint(300, 200),
        machine_before=MachineMemory(total_bytes=10_000, available_bytes=5_200, held_bytes=held_bytes),
    )
    after, found = await residency._see_memory_back(worker, 0.0, lambda: other_pids)
    assert (after.held_bytes, found) == (600 if other_pids else 1_300, is_back)
