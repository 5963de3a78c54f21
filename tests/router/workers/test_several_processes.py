"""Several models at a time as real processes, whose memory is read: a few of the histories of `test_several_models`."""

import asyncio
import random

from msgspec.structs import replace

from router.placement.lifecycle import WorkerState
from tests.support.fake_fleet import make_config, with_fleet
from tests.support.sharing_fleet import LIMIT_BYTES, SIZES, SharingFleet

BUDGET = replace(make_config(swap_max_wait_s=0.2), residency="budget")


@with_fleet(BUDGET, fleet=SharingFleet)
async def test_what_real_processes_hold_together_stays_within_the_budget(fleet: SharingFleet) -> None:
    rng = random.Random(7)
    watcher = asyncio.create_task(fleet.watch_memory())
    async with asyncio.TaskGroup() as tasks:
        answers = []
        for _ in range(14):
            model = rng.choice(list(SIZES))
            answers.append(tasks.create_task(fleet.outcome(model, max_tokens=rng.randrange(1, 20))))
            if rng.random() < 0.5:  # the others come at once
                await asyncio.wait(answers, return_when=asyncio.FIRST_COMPLETED)
    watcher.cancel()
    assert [task.result()[1] for task in answers] == [None] * 14
    assert fleet.most_bytes <= LIMIT_BYTES
    assert fleet.most_models >= 2, "several were there at a time"


@with_fleet(BUDGET, fleet=SharingFleet)
async def test_a_model_that_answers_stays_and_an_idle_one_goes(fleet: SharingFleet) -> None:
    await fleet.answer("middle")
    started = asyncio.Event()
    fleet.hold("token-3")
    running = asyncio.create_task(fleet.answer("small", max_tokens=8, on_text=lambda _text: started.set()))
    await started.wait()
    loading = asyncio.create_task(fleet.answer("large", max_tokens=1))
    ready = {"small", "large"}
    await fleet.until(
        lambda: {each.target.model for each in fleet.ready if each.target is not None} == ready, "it takes its place"
    )
    assert not any(each.state is WorkerState.DRAINING for each in fleet.supervisor.workers)
    fleet.let_go("token-3")
    assert len(await running) == 8
    await loading
    unloads = [swap.model for swap in fleet.supervisor.swaps if swap.event == "unload"]
    assert unloads == ["middle"]
