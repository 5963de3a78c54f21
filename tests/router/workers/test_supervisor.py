"""The supervisor over real worker processes of the fake engine.

Every test ends with the fleet's own check: no process and no descriptor is left.
"""

import asyncio
import random
import time
from typing import Any, Literal

import pytest

from backends.fake.engine import FakeOptions
from registry.engines import EngineSetting
from router.errors import (
    EngineCrashedError,
    InvalidRequestError,
    ModelLoadFailedError,
    QueueFullError,
    RouterError,
    UnavailableError,
)
from router.models.model_request import ModelRequest
from router.placement.lifecycle import WorkerState
from router.requests.generation import GenerationEvent, OutputEvent
from router.workers import faults, streams
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet, worker_processes

# ---- loads and residency --------------------------------------------------------------------------------------------


@with_fleet()
async def test_concurrent_requests_share_one_load(fleet: FakeFleet) -> None:
    texts = await asyncio.gather(*(fleet.answer() for _ in range(20)))
    assert len(set(texts)) == 1
    assert len(texts[0]) == 8
    assert fleet.num_launches == {"mlx": 0, "llamacpp": 1}
    assert [swap.event for swap in fleet.supervisor.swaps] == ["load"]


@with_fleet(llamacpp=FakeOptions(load_s=0.3))
async def test_a_request_that_waited_for_the_load_says_so(fleet: FakeFleet) -> None:
    first, second = fleet.generation(), fleet.generation()
    began_at = time.monotonic()
    async for _ in first.events():
        pass
    duration_ms = (time.monotonic() - began_at) * 1000
    async for _ in second.events():
        pass
    assert first.load_ms >= 300
    assert first.queue_ms + first.load_ms <= duration_ms
    assert second.load_ms == 0


BALLAST_BYTES = 150 << 20


@with_fleet(
    make_config(swap_max_wait_s=0.1, reclaim_timeout_s=30.0),
    mlx=FakeOptions(ballast_bytes=BALLAST_BYTES),
    llamacpp=FakeOptions(ballast_bytes=BALLAST_BYTES),
)
async def test_never_two_residents_while_clients_flip_at_random(fleet: FakeFleet) -> None:
    rng = random.Random(1)
    watcher = asyncio.create_task(fleet.watch_residency(BALLAST_BYTES))
    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(fleet.outcome(rng.choice(["m@mlx", "m@llamacpp", "other"]))) for _ in range(30)]
    watcher.cancel()
    assert all(task.result()[1] is None for task in answers)
    assert fleet.max_workers_seen == 1
    unloads = [swap for swap in fleet.supervisor.swaps if swap.event == "unload"]
    assert unloads
    for swap in unloads:
        assert swap.reason == "swap"
        assert swap.freed_bytes is not None
        assert swap.freed_bytes > BALLAST_BYTES
        assert swap.unload_ms is not None
        assert swap.is_memory_back is not None


@with_fleet(make_config(swap_drain_timeout_s=0.2, swap_max_wait_s=0.0))
async def test_a_drain_over_its_limit_cuts_what_runs(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("token-3")
    cut = asyncio.create_task(fleet.outcome("m@llamacpp", max_tokens=None, on_text=lambda _: started.set()))
    await started.wait()
    assert await fleet.answer("m@mlx")
    text, error = await cut
    assert text
    assert isinstance(error, EngineCrashedError)


@with_fleet(make_config(swap_max_wait_s=0.0))
async def test_a_drain_is_taken_back_when_nobody_waits_for_the_swap_any_more(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=100, on_text=lambda _: started.set()))
    await started.wait()
    leaver = asyncio.create_task(fleet.answer("m@mlx"))
    await fleet.until(lambda: fleet.state == "draining", "it drains")
    leaver.cancel()
    await fleet.until(lambda: fleet.state == "ready", "the drain is taken back")
    fleet.let_go("decode")
    assert len(await fleet.answer()) == 8
    assert len(await running) == 100
    assert (fleet.num_loads("llamacpp"), fleet.num_loads("mlx")) == (1, 0)
    await fleet.until(lambda: len(worker_processes()) == 1, "the process that was prepared for the swap is given up")


@with_fleet(make_config(parallel=2))
async def test_a_request_larger_than_the_batch_is_served(fleet: FakeFleet) -> None:
    others = [asyncio.create_task(fleet.answer()) for _ in range(3)]
    assert await fleet.answer(prompts=["a", "b", "c", "d", "e"])
    await asyncio.gather(*others)


@with_fleet()
async def test_a_settings_change_resolves_those_again_who_left_the_engine_open(fleet: FakeFleet) -> None:
    fleet.hold("load")
    open_one = asyncio.create_task(fleet.answer("m"))
    fixed_one = asyncio.create_task(fleet.answer("m@llamacpp"))
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    fleet.set_engine(EngineSetting.MLX)
    fleet.let_go("load")
    await asyncio.gather(open_one, fixed_one)
    assert [swap.engine for swap in fleet.supervisor.swaps if swap.event == "load"] == ["llamacpp", "mlx"]


@with_fleet()
async def test_a_refresh_does_not_bring_an_old_config_back(fleet: FakeFleet) -> None:
    fleet.set_config(make_config(parallel=7))
    fleet.supervisor.refresh()
    await fleet.answer()
    assert fleet.holder is not None
    assert fleet.holder.max_sequences == 7


# ---- clients that go away -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["prefill", "decode"])
@with_fleet(make_config(parallel=1))
async def test_a_cancelled_request_frees_its_place_in_the_middle_of_a_step(
    fleet: FakeFleet, phase: Literal["prefill", "decode"]
) -> None:
    await fleet.answer(max_tokens=1)
    holder = fleet.holder
    assert holder is not None
    started = asyncio.Event()
    fleet.hold(phase)
    doomed = asyncio.create_task(fleet.answer(max_tokens=None, on_text=lambda _: started.set()))
    if phase == "decode":
        await started.wait()
    await fleet.until(lambda: holder.use.num_running == 1, "it runs")
    doomed.cancel()
    await fleet.until(lambda: holder.use.num_running == 0, "its place is free")
    fleet.let_go(phase)
    assert await fleet.answer(max_tokens=1)
    assert not started.is_set() or phase == "decode"


@with_fleet()
async def test_a_load_whose_client_has_gone_is_finished_and_kept(fleet: FakeFleet) -> None:
    fleet.hold("load")
    doomed = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.state == "loading", "it loads")
    doomed.cancel()
    await asyncio.wait([doomed])
    fleet.let_go("load")
    await fleet.until(lambda: fleet.state == "ready", "the load is kept")
    assert await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 1


@with_fleet(make_config(swap_max_wait_s=3600.0))
async def test_a_queued_request_whose_client_goes_away_causes_no_swap(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=60, on_text=lambda _: started.set()))
    await started.wait()
    queued = asyncio.create_task(fleet.answer("m@mlx"))
    await fleet.until(lambda: len(fleet.supervisor.waiting) == 1, "it waits")
    queued.cancel()
    await fleet.until(lambda: not fleet.supervisor.waiting, "it has left the queue")
    fleet.let_go("decode")
    await running
    assert fleet.num_loads("mlx") == 0
    await fleet.until(lambda: len(worker_processes()) == 1, "the process that was prepared for the swap is given up")


@with_fleet(make_config(swap_max_wait_s=0.0))
async def test_the_next_process_starts_while_the_last_one_still_answers_and_takes_the_load(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=60, on_text=lambda _: started.set()))
    await started.wait()
    queued = asyncio.create_task(fleet.answer("m@mlx"))
    await fleet.until(lambda: WorkerState.STANDBY in {each.state for each in fleet.supervisor.workers}, "it waits")
    (prepared,) = [each for each in fleet.supervisor.workers if each.state is WorkerState.STANDBY]
    pid = prepared.pid
    assert (fleet.state, fleet.num_loads("mlx")) == ("draining", 0)
    fleet.let_go("decode")
    await asyncio.gather(running, queued)
    assert (fleet.pid, fleet.num_launches) == (pid, {"mlx": 1, "llamacpp": 1})


@with_fleet(make_config(parallel=1))
async def test_a_lease_that_comes_as_its_client_goes_is_given_back(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place is granted and the client is cancelled in the same turn of the loop."""
    await fleet.answer()
    asker = asyncio.create_task(fleet.supervisor.lease(ModelRequest("m")))
    grant = fleet.supervisor._leasing.grant

    def grant_and_cancel(*arguments: Any) -> None:
        grant(*arguments)
        asker.cancel()

    monkeypatch.setattr(fleet.supervisor._leasing, "grant", grant_and_cancel)
    await asyncio.wait([asker])
    assert asker.cancelled()
    monkeypatch.undo()
    assert await fleet.answer()


@with_fleet()
async def test_a_stop_whose_caller_has_gone_does_no_harm(fleet: FakeFleet) -> None:
    caller = asyncio.create_task(fleet.supervisor.stop_model("m"))
    await asyncio.sleep(0)
    caller.cancel()
    assert await fleet.answer()
    assert not fleet.has_ended


# ---- queue ----------------------------------------------------------------------------------------------------------


@with_fleet(make_config(max_queue=5))
async def test_a_burst_over_the_queue_limit_is_refused_with_a_time_to_retry(fleet: FakeFleet) -> None:
    outcomes = await asyncio.gather(*(fleet.outcome() for _ in range(20)))
    errors = [error for _, error in outcomes if error is not None]
    assert len(errors) == 15
    for error in errors:
        assert isinstance(error, QueueFullError)
        assert error.retry_after_s is not None
        assert error.retry_after_s >= 1


@with_fleet(make_config(max_queue=1, parallel=8))
async def test_a_short_queue_does_not_refuse_what_the_batch_has_room_for(fleet: FakeFleet) -> None:
    await fleet.answer()
    outcomes = await asyncio.gather(*(fleet.outcome() for _ in range(8)))
    assert [error for _, error in outcomes if error is not None] == []


@with_fleet()
async def test_a_wait_in_the_queue_has_a_limit(fleet: FakeFleet) -> None:
    started = asyncio.Event()
    fleet.hold("decode")
    running = asyncio.create_task(fleet.answer(max_tokens=100, on_text=lambda _: started.set()))
    await started.wait()
    fleet.set_config(make_config(queue_timeout_s=0.1, swap_max_wait_s=3600))
    _, error = await fleet.outcome("m@mlx")
    assert isinstance(error, UnavailableError)
    assert "0.1 s" in str(error)
    assert error.retry_after_s is not None
    fleet.let_go("decode")
    await running


# ---- readers --------------------------------------------------------------------------------------------------------


def texts_of(events: list[GenerationEvent]) -> list[str]:
    return [event.output.text for event in events if isinstance(event, OutputEvent)]


@with_fleet()
async def test_a_slow_reader_pauses_its_sequence_and_loses_nothing(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = await fleet.answer(max_tokens=3000)
    monkeypatch.setattr(streams, "MAX_BUFFERED_CHARS", 500)
    monkeypatch.setattr(faults, "CHECK_INTERVAL_S", 0.01)
    fleet.hold("token-2000")  # it is not to come to its end before it is paused
    events = fleet.generation(max_tokens=3000).events()
    texts = texts_of(await anext(events))
    client = fleet.holder.client if fleet.holder is not None else None
    assert client is not None
    await fleet.until(lambda: not client.is_owing, "it is paused")
    looks: list[float] = []

    def an_hour_later() -> float:
        looks.append(time.monotonic())
        return looks[-1] + 3600

    with monkeypatch.context() as patch:
        patch.setattr(fleet.supervisor, "_clock", an_hour_later)
        await fleet.until(lambda: len(looks) > 10, "it was looked for workers that stall")
    assert len(client.progress) == 1
    fleet.let_go("token-2000")
    async for batch in events:
        texts += texts_of(batch)
    assert "".join(texts) == expected
    assert fleet.num_launches["llamacpp"] == 1


@with_fleet()
async def test_a_prompt_larger_than_a_frame_is_the_requests_fault(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fleet.answer()
    monkeypatch.setattr("backends.wire.frames.MAX_FRAME_BYTES", 1000)
    _, error = await fleet.outcome(prompts=["x", "y" * 1001])
    assert isinstance(error, InvalidRequestError)
    monkeypatch.undo()
    assert await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 1


# ---- everything at once ---------------------------------------------------------------------------------------------


@with_fleet(
    make_config(swap_max_wait_s=0.05, swap_drain_timeout_s=0.3, max_queue=30, parallel=3),
    mlx=FakeOptions(decode_s=0.001),
    llamacpp=FakeOptions(decode_s=0.001),
)
async def test_two_hundred_random_operations_end_every_request_in_one_way(fleet: FakeFleet) -> None:
    rng = random.Random(20)
    requests: list[asyncio.Task[tuple[str, RouterError | None]]] = []
    stops: list[asyncio.Task[object]] = []
    for _ in range(200):
        match rng.choices(["submit", "cancel", "kill", "flip", "stop"], [60, 15, 8, 10, 4])[0]:
            case "submit":
                reference = rng.choice(["m", "m@mlx", "m@llamacpp", "other"])
                prompts = ["p"] * rng.choice([1, 1, 2, 5])
                outcome = fleet.outcome(reference, prompts=prompts, max_tokens=rng.randint(1, 100))
                requests.append(asyncio.create_task(outcome))
            case "cancel" if requests:
                rng.choice(requests).cancel()
            case "kill" if fleet.state in {"ready", "draining"}:
                fleet.kill()
            case "flip":
                fleet.set_engine(rng.choice([EngineSetting.MLX, EngineSetting.LLAMACPP]))
            case "stop":
                stops.append(asyncio.create_task(fleet.supervisor.stop_model(rng.choice(["m", "other"]))))
        await asyncio.sleep(rng.choice([0, 0, 0.01, 0.03]))
    await asyncio.wait(requests)
    await asyncio.gather(*stops)
    for request in requests:
        if not request.cancelled():
            text, error = request.result()
            assert text or error is not None
            assert error is None or isinstance(
                error, (EngineCrashedError, UnavailableError, QueueFullError, ModelLoadFailedError)
            )
    assert fleet.supervisor.waiting == ()
    await fleet.until(lambda: all(w.use.num_running == 0 for w in fleet.supervisor.workers), "every place came back")
    assert await fleet.answer("m@mlx")
