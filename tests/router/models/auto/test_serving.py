"""`engine: auto` in a served app, with fake engines: the history decides, and every answer says why."""

import itertools
import time
from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from registry.bench_record import BenchRecord
from registry.engines import EngineKind, EngineSetting
from router.models.auto.decision import SWAP_PATIENCE_S
from router.models.targets import EngineReason
from tests.router.models.auto.histories import compared, contestant
from tests.support.fake_openai import FakeFront, with_front

EXPLAIN = "/v1/mlxr/engine/explain"
QUICK_PREFILL, QUICK_DECODE = (5000.0, 20.0), (200.0, 100.0)


def measured(front: FakeFront, llamacpp: tuple[float, float], mlx: tuple[float, float], bench_id: str) -> BenchRecord:
    """Return a run on this front's own artifacts, begun just now."""
    artifacts = {artifact.engine: artifact for artifact in front.registry.models.get("m").artifacts}
    contestants = tuple(
        contestant(engine, artifact_version=artifacts[engine].version)
        for engine in (EngineKind.LLAMACPP, EngineKind.MLX)
    )
    return compared(
        llamacpp,
        mlx,
        contestants=contestants,
        machine_id="here",
        created_at=time.time(),
        bench_id=bench_id,
        load_ms=(100.0, 100.0),
        unload_ms=(50.0, 50.0),
    )


def renew(front: FakeFront, llamacpp: tuple[float, float], mlx: tuple[float, float]) -> None:
    """Measure twice, as often as it takes to have enough samples."""
    for number in range(2):
        front.registry.benches.add(measured(front, llamacpp, mlx, f"b-{time.time_ns()}-{number}"))
    assert front.models.auto is not None
    front.models.auto.forget()


async def ask(front: FakeFront, num_chars: int, max_tokens: int = 100) -> dict[str, Any]:
    answer = await front.chat(messages=[{"role": "user", "content": "x" * num_chars}], max_tokens=max_tokens)
    assert answer.status_code == 200, answer.text
    timings: dict[str, Any] = answer.json()["timings"]
    return timings


@with_front(llamacpp=FakeOptions(), mlx=FakeOptions())
async def test_the_choice_flips_when_the_speeds_flip_and_the_history_is_renewed(front: FakeFront) -> None:
    front.fleet.set_engine(EngineSetting.AUTO)
    assert (await ask(front, 100))["engine_reason"] == EngineReason.AUTO_GGUF.value
    renew(front, QUICK_PREFILL, QUICK_DECODE)
    first = await ask(front, 4000, max_tokens=4)
    assert (first["engine"], first["engine_reason"]) == ("llamacpp", EngineReason.AUTO_MEASURED.value)
    assert (await ask(front, 40))["engine"] == "mlx", "a long answer to a short prompt"
    renew(front, QUICK_DECODE, QUICK_PREFILL)
    explained = (await front.client.get(EXPLAIN, params={"model": "m", "prompt_tokens": 20})).json()
    assert explained["resident"] == "mlx"
    assert "no swap within" in explained["why"]
    assert front.models.auto is not None
    front.models.auto._clock = lambda: time.monotonic() + SWAP_PATIENCE_S
    assert (await ask(front, 40))["engine"] == "llamacpp"


@with_front(llamacpp=FakeOptions(), mlx=FakeOptions())
async def test_alternating_prompts_do_not_thrash(front: FakeFront) -> None:
    front.fleet.set_engine(EngineSetting.AUTO)
    renew(front, QUICK_PREFILL, QUICK_DECODE)
    engines = [
        (await ask(front, 4000 if number % 2 else 40, max_tokens=4 if number % 2 else 100))["engine"]
        for number in range(20)
    ]
    assert sum(before != after for before, after in itertools.pairwise(engines)) <= 1


@pytest.mark.parametrize("setting", ["m@mlx", "m@llamacpp"])
@with_front(llamacpp=FakeOptions(), mlx=FakeOptions())
async def test_what_the_request_says_goes_before_what_was_learned(front: FakeFront, *, setting: str) -> None:
    front.fleet.set_engine(EngineSetting.AUTO)
    renew(front, QUICK_PREFILL, QUICK_DECODE)
    answer = (await front.chat(model=setting, max_tokens=2)).json()["timings"]
    assert (answer["engine"], answer["engine_reason"]) == (setting.partition("@")[2], EngineReason.REQUEST.value)


@with_front(llamacpp=FakeOptions(), mlx=FakeOptions())
async def test_the_explanation_has_the_numbers_that_decide(front: FakeFront) -> None:
    front.fleet.set_engine(EngineSetting.AUTO)
    bare = (await front.client.get(EXPLAIN, params={"model": "m"})).json()
    assert (bare["engine"], bare["is_auto"], bare["resident"]) == ("llamacpp", True, None)
    assert all(each["total_s"] is None and each["num_samples"] == 0 for each in bare["engines"])
    assert "not been compared" in bare["why"]
    renew(front, QUICK_PREFILL, QUICK_DECODE)
    query: dict[str, str | int] = {"model": "m", "prompt_tokens": 1000, "answer_tokens": 100}
    found = (await front.client.get(EXPLAIN, params=query)).json()
    llamacpp, mlx = sorted(found["engines"], key=lambda each: str(each["engine"]))
    assert (llamacpp["load_s"], llamacpp["prefill_s"], llamacpp["decode_s"]) == pytest.approx((0.1, 0.2, 5.0))
    assert (mlx["prefill_s"], mlx["decode_s"], mlx["total_s"]) == pytest.approx((5.0, 1.0, 6.1))
    assert found["engines"][0] == llamacpp
    assert found["engine"] == "llamacpp"
    assert found["prompt_bucket"] == [512, 2048]
    assert llamacpp["num_samples"] == 12
    assert len(llamacpp["bench_ids"]) == 2
    front.fleet.set_engine(EngineSetting.MLX)
    fixed = (await front.client.get(EXPLAIN, params=query)).json()
    assert (fixed["engine"], fixed["is_auto"]) == ("mlx", False)
    assert "is set" in fixed["why"]


@pytest.mark.parametrize(
    ("query", "status", "param"),
    [
        ({}, 400, "model"),
        ({"model": "nobody"}, 404, None),
        ({"model": "m", "prompt_tokens": "many"}, 400, "prompt_tokens"),
        ({"model": "m", "prompt_tokens": "0"}, 400, "prompt_tokens"),
        ({"model": "m", "answer_tokens": "99999999999999999999"}, 400, "answer_tokens"),
        ({"model": "m", "answer_tokens": "-1"}, 400, "answer_tokens"),
    ],
)
@with_front(llamacpp=FakeOptions())
async def test_a_question_that_means_nothing_is_refused(
    front: FakeFront, *, query: dict[str, str], status: int, param: str | None
) -> None:
    answer = await front.client.get(EXPLAIN, params=query)
    assert answer.status_code == status
    if param is not None:
        assert answer.json()["error"]["param"] == param
