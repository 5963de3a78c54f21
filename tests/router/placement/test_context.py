"""How long a context is where nobody says so: what the machine holds, never less than it was, never more than fits."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.load import LoadSpec
from registry.facts import ArtifactFormat, MemoryFacts
from router.config import Config, GenerationConfig
from router.config.memory import MemoryConfig
from router.placement.context import fitting_context, planned_context
from router.placement.memory import Machine, MemoryBudget
from router.placement.memory_need import memory_need
from tests.router.placement.test_memory_need import GIB, MAC, PC, facts

KNOWN = facts(memory=MemoryFacts(num_heads=32, feed_forward_length=14_336))
FOLDER = facts(ArtifactFormat.MLX, memory=MemoryFacts(num_heads=32, feed_forward_length=14_336))
SPEC = LoadSpec(model_path="")
GROWING = LoadSpec(model_path="", first_cells=8192)


def planned(
    total_gib: float, *, machine: Machine = PC, config: Config | None = None, spec: LoadSpec = SPEC, **changes: object
) -> int:
    model = FOLDER if machine is MAC else KNOWN
    budget = MemoryBudget(
        total_bytes=int(total_gib * GIB), available_bytes=0, wired_limit_bytes=int(total_gib * GIB * 0.75)
    )
    return planned_context(msgspec.structs.replace(model, **changes), spec, machine, budget, config or Config())


def test_an_8b_model_has_what_two_thirds_of_the_memory_hold_with_kept_caches() -> None:
    """Of 128 KiB per token in each of the two, beside 4 GiB of weights."""
    assert planned(8) == 8192, "no less than it has always been; whether it fits is asked at the load"
    assert 20_000 < planned(16) < 28_000
    assert 55_000 < planned(30) < 65_536
    assert planned(64) == 65_536, "llama.cpp allocates all of it at the load"
    assert planned(64, spec=GROWING) == 131_072, "unless it grows"
    assert planned(16, spec=GROWING) == planned(16), "for what it may grow to there is to be memory"
    assert planned(128, machine=MAC) == 131_072, "what mlx does not use costs nothing"


def test_others_that_share_the_memory_leave_less() -> None:
    alone = planned(30)
    assert planned(30, config=Config(generation=GenerationConfig(workers=2))) < alone
    assert planned(30, config=Config(memory=MemoryConfig(budget_bytes=12 * GIB))) < alone


def test_a_model_has_no_more_than_it_was_made_for() -> None:
    assert planned(64, context_length=40_000) == 40_000
    assert planned(64, context_length=512) == 8192, "which the load lowers"
    assert planned(64, context_length=None) == 8192


def test_nothing_is_planned_on_a_guess() -> None:
    assert planned(64, memory=None) == 8192
    assert planned(64, kv=None) == 8192


@pytest.mark.parametrize(("free_gib", "expected"), [(64, 32_768), (4, None)])
def test_all_of_a_plan_or_nothing_where_that_is_what_fits(free_gib: int, expected: int | None) -> None:
    assert fitting(free_gib * GIB) == expected


def fitting(free_bytes: int) -> int | None:
    spec = LoadSpec(model_path="", context_length=32_768)
    return fitting_context(KNOWN, spec, PC, free_bytes=free_bytes, image_side_px=448)


@given(st.integers(min_value=4 * GIB, max_value=20 * GIB))
def test_what_fits_fits_and_leaves_room_where_it_can(free_bytes: int) -> None:
    context = fitting(free_bytes)
    if context is None:
        assert memory_need(KNOWN, LoadSpec(model_path="", context_length=2304), PC).required_bytes > free_bytes
        return
    assert 2048 <= context <= 32_768
    required = memory_need(KNOWN, LoadSpec(model_path="", context_length=context), PC).required_bytes
    assert required <= free_bytes
    if required > 0.8 * free_bytes:
        least = memory_need(KNOWN, LoadSpec(model_path="", context_length=2304), PC).required_bytes
        assert least > 0.8 * free_bytes, "with room for others it would have been too little"
