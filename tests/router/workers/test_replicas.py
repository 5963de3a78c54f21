"""Several workers of one model, as real processes of the fake engine."""

import asyncio
import random
from pathlib import Path

import pytest

from backends.fake.engine import FakeOptions
from backends.machine.current import current_platform
from backends.wire.request import Priority
from router.config import Config
from router.errors import EngineCrashedError, InvalidRequestError, RouterError
from router.models.model_request import ModelRequest
from router.status import WorkerRef
from router.workers import faults
from router.workers.client import WorkerClient
from router.workers.waiting import Lease
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet, worker_processes

TWO = make_config(workers=2)
MIB = 1 << 20


async def all_ready(fleet: FakeFleet, number: int = 2) -> None:
    await fleet.until(lambda: len(fleet.ready) == number, f"{number} are ready")


def with_limit(config: Config, limit_bytes: int) -> Config:
    limits = {name: getattr(config.limits, name) for name in config.limits.__struct_fields__}
    return make_config(
        parallel=config.generation.parallel,
        workers=config.generation.workers,
        **limits | {"worker_memory_bytes": limit_bytes},
    )


@with_fleet(make_config(workers=3))
async def test_further_workers_follow_the_first_and_requests_are_spread_over_them(fleet: FakeFleet) -> None:
    await fleet.answer(max_tokens=1)
    await all_ready(fleet, 3)
    fleet.hold("decode")
    running = [asyncio.create_task(fleet.answer(max_tokens=40)) for _ in range(6)]
    await fleet.until(lambda: [worker.use.num_running for worker in fleet.ready] == [2, 2, 2], "they are spread")
    fleet.let_go("decode")
    assert len(set(await asyncio.gather(*running))) == 1
    assert len(worker_processes()) == 3


@with_fleet(TWO)
async def test_the_first_worker_serves_while_the_second_loads(fleet: FakeFleet, tmp_path: Path) -> None:
    fleet.scripts["llamacpp"] = [FakeOptions(), FakeOptions(gates=str(tmp_path))]
    (tmp_path / "load").touch()
    assert len(await fleet.answer(max_tokens=5)) == 5
    assert len(fleet.ready) == 1
    (tmp_path / "load").unlink()
    await all_ready(fleet)


@with_fleet(TWO)
async def test_a_worker_killed_in_mid_stream_leaves_the_others_streams_whole_and_is_replaced(fleet: FakeFleet) -> None:
    expected = await fleet.answer(max_tokens=100)
    await all_ready(fleet)
    started = [asyncio.Event(), asyncio.Event()]

    async def stream(event: asyncio.Event) -> tuple[str, RouterError | None]:
        return await fleet.outcome(max_tokens=100, on_text=lambda _: event.set())

    fleet.hold("decode")
    streams = [asyncio.create_task(stream(event)) for event in started]
    await asyncio.gather(*(event.wait() for event in started))
    doomed = fleet.ready[0]
    assert doomed.pid is not None
    fleet.kill(doomed.pid)
    fleet.let_go("decode")
    outcomes = await asyncio.gather(*streams)
    assert sorted(error is None for _, error in outcomes) == [False, True]
    for text, error in outcomes:
        assert expected.startswith(text)
        assert text == expected if error is None else isinstance(error, EngineCrashedError)
    await fleet.until(lambda: doomed not in fleet.ready, "its death is known")
    await all_ready(fleet)
    assert doomed.worker_id not in {worker.worker_id for worker in fleet.ready}
    assert fleet.num_launches["llamacpp"] == 3


@with_fleet(make_config(workers=2, parallel=1))
async def test_a_session_goes_to_the_worker_that_served_it_last_while_that_lives_and_has_a_place(
    fleet: FakeFleet,
) -> None:
    leases: list[Lease] = []

    async def pid_for(session_id: str) -> int:
        leases.append(await fleet.supervisor.lease(ModelRequest("m"), session_id=session_id))
        worker = leases[-1].client
        assert isinstance(worker, WorkerClient)
        return worker.pid

    def release_all() -> None:
        while leases:
            leases.pop().release()

    await fleet.answer(max_tokens=1)
    await all_ready(fleet)
    first, second = await pid_for("a"), await pid_for("b")
    assert first != second
    release_all()
    assert await pid_for("b") == second
    assert await pid_for("b") == first, "its worker has no place left"
    release_all()
    assert await pid_for("b") == first, "its new home"
    fleet.kill(first)
    release_all()
    await fleet.until(lambda: first not in {worker.pid for worker in fleet.ready}, "it is dead")
    assert await pid_for("b") != first
    release_all()


@with_fleet(make_config(workers=2, parallel=1))
async def test_a_request_that_names_its_worker_waits_for_that_one_and_says_who_served_it(fleet: FakeFleet) -> None:
    await fleet.answer(max_tokens=1)
    await all_ready(fleet)
    second = fleet.ready[1]
    for _ in range(3):
        generation = fleet.generation(worker_id=second.worker_id)
        async for _events in generation.events():
            pass
        assert generation.worker == WorkerRef(second.worker_id, second.pid)
    fleet.hold("decode")
    busy = asyncio.create_task(fleet.answer(max_tokens=40, worker_id=second.worker_id))
    await fleet.until(lambda: second.use.num_running == 1, "it is taken")
    waits = asyncio.create_task(fleet.answer(max_tokens=40, worker_id=second.worker_id))
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 1, "the next one waits for it")
    fleet.let_go("decode")
    assert await busy == await waits


@with_fleet(TWO)
async def test_a_worker_that_is_not_there_is_refused_by_its_number_with_those_that_are(fleet: FakeFleet) -> None:
    what = "'m' on llamacpp, loaded as this request wants it"
    text, error = await fleet.outcome(worker_id=7)
    assert (text, str(error)) == (
        "",
        f"X-Mlxr-Worker: there is no worker 7 with {what}; leave the header out",
    )
    assert isinstance(error, InvalidRequestError)
    assert error.param == "X-Mlxr-Worker"
    await fleet.answer(max_tokens=1)
    await all_ready(fleet)
    _, error = await fleet.outcome(worker_id=7)
    assert str(error).endswith("; send 1 or 2, or leave the header out")
    _, error = await fleet.outcome("m@mlx", worker_id=1)
    assert str(error).startswith("X-Mlxr-Worker: worker 1 has not 'm' on mlx"), "nothing is swapped for it"
    assert len(fleet.ready) == 2


@with_fleet(make_config(workers=2, parallel=1))
async def test_who_waits_for_a_worker_that_dies_is_refused_and_who_had_it_is_not_moved(fleet: FakeFleet) -> None:
    await fleet.answer(max_tokens=1)
    await all_ready(fleet)
    doomed = fleet.ready[1]
    assert doomed.pid is not None
    fleet.hold("decode")
    busy = asyncio.create_task(fleet.outcome(max_tokens=40, worker_id=doomed.worker_id))
    await fleet.until(lambda: doomed.use.num_running == 1, "it is taken")
    waits = asyncio.create_task(fleet.outcome(max_tokens=40, worker_id=doomed.worker_id))
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 1, "the next one waits for it")
    fleet.kill(doomed.pid)
    _, of_busy = await busy
    _, of_waiting = await waits
    fleet.let_go("decode")
    assert isinstance(of_busy, EngineCrashedError)
    assert isinstance(of_waiting, InvalidRequestError)


@with_fleet(make_config(workers=2, swap_max_wait_s=0.0))
async def test_a_swap_ends_all_workers_before_the_other_model_is_loaded(fleet: FakeFleet) -> None:
    await fleet.answer("m@llamacpp")
    await all_ready(fleet)
    await fleet.answer("m@mlx")
    await all_ready(fleet)
    told = [(swap.event, swap.engine) for swap in fleet.supervisor.swaps]
    assert told == [
        *[("load", "llamacpp")] * 2,
        *[("unload", "llamacpp")] * 2,
        *[("load", "mlx")] * 2,
    ]
    unloads = [swap for swap in fleet.supervisor.swaps if swap.event == "unload"]
    assert all(swap.is_memory_back is not None and swap.freed_bytes for swap in unloads)


@with_fleet(TWO)
async def test_a_stop_ends_all_workers_and_adds_up_what_they_freed(fleet: FakeFleet) -> None:
    await fleet.answer()
    await all_ready(fleet)
    report = await fleet.supervisor.stop_model("m")
    assert worker_processes() == []
    freed = [swap.freed_bytes for swap in fleet.supervisor.swaps if swap.event == "unload"]
    assert report.swap is not None
    assert report.swap.freed_bytes == sum(each or 0 for each in freed)
    assert len(freed) == 2


@with_fleet(TWO, llamacpp=[FakeOptions(), FakeOptions(load_error="no memory")])
async def test_a_further_worker_that_cannot_be_loaded_costs_nobody_anything_and_is_not_tried_again_at_once(
    fleet: FakeFleet,
) -> None:
    await fleet.answer()
    await fleet.until(lambda: fleet.num_launches["llamacpp"] == 2 and len(worker_processes()) == 1, "it is given up")
    for _ in range(5):
        await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 2


@pytest.mark.parametrize("num_workers", [1, 2])
@with_fleet()
async def test_a_worker_over_its_memory_limit_finishes_and_is_replaced(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(faults, "CHECK_INTERVAL_S", 0.02)
    config = make_config(workers=num_workers)
    fleet.set_config(config)
    await fleet.answer(max_tokens=1)
    await all_ready(fleet, num_workers)
    old = fleet.ready[0]
    assert old.pid is not None
    footprint = current_platform().footprint_of(old.pid)
    assert footprint is not None
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=100, on_text=lambda _: started.set()))
    await started.wait()
    fleet.set_config(with_limit(config, int(footprint.rss_bytes / 1.1)))
    await fleet.until(lambda: old.state.value == "draining", "it takes nothing new")
    fleet.set_config(config)
    fleet.let_go("decode")
    assert len(await running) == 100
    assert len(await fleet.answer(max_tokens=1)) == 1
    await all_ready(fleet, num_workers)
    assert old.worker_id not in {worker.worker_id for worker in fleet.ready}
    unloads = [swap.reason for swap in fleet.supervisor.swaps if swap.event == "unload"]
    assert unloads == ["over its memory limit"]


@with_fleet(make_config(worker_memory_bytes=150 * MIB))
async def test_a_worker_far_over_its_memory_limit_is_killed_and_its_requests_are_tried_again(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(faults, "CHECK_INTERVAL_S", 0.02)
    fleet.scripts["llamacpp"] = [FakeOptions(ballast_bytes=300 * MIB, gates=str(tmp_path)), FakeOptions()]
    (tmp_path / "prefill").touch()
    assert len(await fleet.answer()) == 8
    assert fleet.num_launches["llamacpp"] == 2
    assert [swap.reason for swap in fleet.supervisor.swaps if swap.event == "unload"] == ["far over its memory limit"]


@with_fleet(make_config(worker_memory_bytes=MIB))
async def test_a_limit_that_no_worker_can_keep_to_is_named_in_the_error(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "CHECK_INTERVAL_S", 0.02)
    fleet.hold("decode")
    _, error = await fleet.outcome()
    assert isinstance(error, EngineCrashedError)
    assert "limits.worker_memory_bytes" in str(error)


@with_fleet(
    make_config(
        workers=2, parallel=2, swap_max_wait_s=0.5, swap_drain_timeout_s=0.3, max_queue=20, background_max_wait_s=0.2
    ),
    mlx=FakeOptions(decode_s=0.001),
    llamacpp=FakeOptions(decode_s=0.001),
)
async def test_a_hundred_random_operations_on_replicas_end_every_request_in_one_way(fleet: FakeFleet) -> None:
    rng = random.Random(2)
    requests: list[asyncio.Task[tuple[str, RouterError | None]]] = []
    for _ in range(100):
        match rng.choices(["submit", "cancel", "kill", "stop"], [70, 15, 8, 3])[0]:
            case "submit":
                outcome = fleet.outcome(
                    rng.choice(["m", "m", "m", "m@mlx"]),
                    prompts=["p"] * rng.choice([1, 1, 2, 5]),
                    max_tokens=rng.randint(1, 100),
                    priority=rng.choice(list(Priority)),
                    session_id=rng.choice([None, "a", "b"]),
                )
                requests.append(asyncio.create_task(outcome))
            case "cancel" if requests:
                rng.choice(requests).cancel()
            case "kill" if fleet.ready:
                pid = rng.choice(fleet.ready).pid
                assert pid is not None
                fleet.kill(pid)
            case "stop":
                await asyncio.wait([asyncio.create_task(fleet.supervisor.stop_model("m"))], timeout=0)
        targets = {worker.target for worker in fleet.supervisor.workers if worker.target is not None}
        assert len(targets) <= 1
        await asyncio.sleep(rng.choice([0, 0, 0.01, 0.03]))
    await asyncio.wait(requests)
    for request in requests:
        if not request.cancelled():
            text, error = request.result()
            assert text or error is not None
    assert fleet.supervisor.waiting == ()
    await fleet.until(lambda: all(w.use.num_running == 0 for w in fleet.supervisor.workers), "every place came back")
    assert await fleet.answer("m@mlx")
    await all_ready(fleet)
