"""Several models at a time, by readings: what they hold together, who goes, what those are told who have no room."""

import asyncio
import random

import pytest

from router.conditions import PressureLevel
from router.config import Config, LimitsConfig
from router.config.memory import MemoryConfig
from router.errors import InsufficientMemoryError, UnavailableError
from router.placement.sharing import LoadNeed
from tests.support.simulated_memory import MB, RUNTIME_BYTES, TOTAL_BYTES, SimulatedMemory, SimulatedModel
from tests.support.waiting import until

MODELS = (
    SimulatedModel("chat", 4000, 6000, mapped_mb=3000),
    SimulatedModel("chat", 4500, 6000, engine="mlx"),
    SimulatedModel("coder", 5000, 7000),
    SimulatedModel("embed", 300, 400, mapped_mb=200),
    SimulatedModel("summary", 1500, 2500),
    SimulatedModel("large", 9000, 9500, mapped_mb=8000),
)
NAMES = [(each.name, str(each.target.engine)) for each in MODELS]


def config(mode: str = "budget", budget_mb: int | None = 12_000, **fields: object) -> Config:
    critical = 0.85
    limits = LimitsConfig(swap_max_wait_s=0.005, reclaim_timeout_s=0.01)
    memory = MemoryConfig(budget_bytes=None if budget_mb is None else int(budget_mb * MB / critical) + 1)
    return Config(residency=mode, limits=limits, memory=memory, **fields)  # type: ignore[arg-type]  # by msgspec


@pytest.mark.parametrize("start", range(0, 200, 25))
async def test_in_any_interleaving_of_loads_what_all_hold_by_readings_stays_within_the_budget(start: int) -> None:
    """200 seeds; the processes' memory is read at each step of a load, of its use, and of its end."""
    for seed in range(start, start + 25):
        rng = random.Random(seed)
        pinned = {"embed"} if rng.random() < 0.3 else set()
        async with SimulatedMemory(
            config(budget_mb=rng.choice([10_000, 12_000, 20_000])), MODELS, seed=seed
        ).running() as sim:
            sim.pinned = pinned
            limit_bytes = round(0.85 * (sim.current.config.memory.budget_bytes or 0))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(rng.randrange(4, 12)):
                    name, engine = rng.choice(NAMES)
                    tasks.create_task(sim.use(name, engine))
                    await sim.pause()
            assert sim.most_bytes <= limit_bytes, f"seed {seed}"
            assert sim.num_looks > 0


async def test_models_that_fit_are_together_and_none_is_loaded_twice() -> None:
    async with SimulatedMemory(config(), MODELS).running() as sim:
        for _ in range(3):
            await asyncio.gather(sim.use("chat"), sim.use("embed"), sim.use("summary"))
        assert sim.loaded == {"chat@llamacpp", "embed@llamacpp", "summary@llamacpp"}
        assert [swap.event for swap in sim.supervisor.swaps] == ["load"] * 3


async def test_one_at_a_time_reads_nothing_and_keeps_its_promise() -> None:
    async with SimulatedMemory(config("exclusive"), MODELS).running() as sim:
        for name in ("chat", "embed", "chat"):
            await sim.use(name)
            assert sim.loaded == {f"{name}@llamacpp"}
            largest = max(each.full_bytes for each in MODELS if each.name in {"chat", "embed"})
            assert sim.most_bytes <= largest + RUNTIME_BYTES, "and a process that waits for its turn"
        assert [swap.event for swap in sim.supervisor.swaps] == ["load", "unload", "load", "unload", "load"]


async def test_what_a_model_takes_beyond_its_estimate_is_read_and_counts_from_then_on() -> None:
    liar = SimulatedModel("liar", 6000, 6000)
    liar.estimate = LoadNeed(3000 * MB, 3000 * MB)
    models = [liar, SimulatedModel("other", 5000, 5000), SimulatedModel("small", 1000, 1000)]
    async with SimulatedMemory(config(budget_mb=10_000), models).running() as sim:
        await sim.use("liar")
        await sim.use("other")
        assert sim.loaded == {"other@llamacpp"}, "its estimate would have left room for both"
        await sim.use("liar")
        assert sim.loaded == {"liar@llamacpp"}, "and it is known at its next load"
        assert sim.most_bytes <= 10_000 * MB


async def test_other_programs_count() -> None:
    async with SimulatedMemory(config(budget_mb=None), MODELS).running() as sim:
        await sim.use("chat")
        sim.platform.taken_by_others = TOTAL_BYTES - 8000 * MB
        await sim.use("coder")
        assert sim.loaded == {"coder@llamacpp"}


async def test_a_request_that_has_no_room_beside_what_is_pinned_is_told_the_numbers_and_the_way_out() -> None:
    async with SimulatedMemory(config(budget_mb=10_000), MODELS).running() as sim:
        sim.pinned = {"chat"}
        await sim.use("chat")
        with pytest.raises(InsufficientMemoryError) as caught:
            await sim.use("large")
        assert str(caught.value) == (
            "model: 'large' on llamacpp needs 9.44 GB; of the 10.49 GB that models may take now, 6.29 GB are held by "
            "'chat', pinned, which leaves 4.19 GB. Take a pin away (`mlxr models set chat pinned=false`), use a "
            "smaller context_length, or end other programs."
        )
        await sim.use("embed")
        assert sim.loaded == {"chat@llamacpp", "embed@llamacpp"}
        sim.pinned = set()
        sim.supervisor.refresh()
        await sim.use("large")
        assert sim.loaded == {"large@llamacpp", "embed@llamacpp"}


async def test_groups_are_together_and_others_alone() -> None:
    of = config("groups", 30_000, groups={"work": ("chat", "embed"), "ab": ("chat@mlx", "chat@llamacpp")})
    async with SimulatedMemory(of, MODELS).running() as sim:
        await sim.use("chat")
        await sim.use("chat", "mlx")
        assert sim.loaded == {"chat@llamacpp", "chat@mlx"}, "a comparison"
        await sim.use("embed")
        assert len(sim.loaded) == 2, "one of them goes"
        assert "embed@llamacpp" in sim.loaded
        await sim.use("coder")
        assert sim.loaded == {"coder@llamacpp"}
        sim.pinned = {"coder"}
        sim.supervisor.refresh()
        with pytest.raises(UnavailableError, match="no group has them together; name both in a group"):
            await sim.use("embed")


async def test_the_mode_changes_while_it_runs() -> None:
    async with SimulatedMemory(config("exclusive"), MODELS).running() as sim:
        await sim.use("chat")
        sim.current.take_over(config())
        sim.supervisor.refresh()
        await asyncio.gather(sim.use("embed"), sim.use("summary"))
        assert sim.loaded == {"chat@llamacpp", "embed@llamacpp", "summary@llamacpp"}
        sim.current.take_over(config("exclusive"))
        sim.supervisor.refresh()
        await until(lambda: len(sim.supervisor.workers) == 1, "all but one go")
        await sim.use("coder")
        assert sim.loaded == {"coder@llamacpp"}


async def test_the_memory_monitors_word_goes_first() -> None:
    async with SimulatedMemory(config(), MODELS).running() as sim:
        await asyncio.gather(sim.use("chat"), sim.use("embed"))
        sim.conditions.set_pressure(PressureLevel.EMERGENCY, "the system says so")
        await until(lambda: not sim.supervisor.workers, "all go")
        waiting = asyncio.ensure_future(sim.use("embed"))
        await asyncio.sleep(0)
        assert not sim.supervisor.workers
        sim.conditions.set_pressure(PressureLevel.NORMAL, "")
        await waiting
        assert sim.loaded == {"embed@llamacpp"}
