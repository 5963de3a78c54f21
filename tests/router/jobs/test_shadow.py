"""Live shadowing in a served app, with fake engines: figures of the other engine, and nobody notices."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from registry.bench_record import BenchMachine, BenchRecord
from registry.facts import ArtifactFormat
from registry.vision import VisionFacts
from router.conditions import PressureLevel
from router.config import Config, ShadowConfig
from router.jobs.shadow import MAX_REMEMBERED, Shadow
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, chat_part, photo

SECRET = "nobody may read this"
QUICK = FakeOptions(prefill_s_per_token=0.0001, decode_s=0.001)


def shadowing(**settings: float) -> Config:
    plain: dict[str, float] = {"share": 1.0, "idle_s": 0.3}
    shadow = msgspec.convert(plain | settings, ShadowConfig)
    return msgspec.structs.replace(make_config(), shadow=shadow)


class Time:
    """A clock that can be set ahead."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


@contextlib.asynccontextmanager
async def shadow_of(front: FakeFront, clock: Time | None = None) -> AsyncGenerator[Shadow, None]:
    shadow = Shadow(
        front.fleet.current_config,
        front.services.serving.models,
        front.services.serving.supervisor,
        front.services.serving.requests,
        machine=BenchMachine(machine_id="here", system="test"),
        engine_versions={},
        keep=front.registry.benches.add,
        conditions=front.fleet.conditions,
        clock=clock or time.monotonic,
        seed=1,
    )
    front.services.serving.requests.ended.add(shadow.observe)
    running = asyncio.create_task(shadow.run())
    try:
        yield shadow
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def kept(front: FakeFront) -> tuple[BenchRecord, ...]:
    benches = front.registry.benches
    return tuple(benches.get(head.bench_id) for head in reversed(benches.list("m")))


def resident_engines(front: FakeFront) -> list[str]:
    return [str(worker.target.engine) for worker in front.supervisor.workers if worker.target is not None]


@with_front(config=shadowing(), llamacpp=QUICK, mlx=QUICK)
async def test_a_request_is_repeated_on_the_other_engine_and_the_first_one_is_back(front: FakeFront) -> None:
    async with shadow_of(front):
        messages = [{"role": "user", "content": SECRET}]
        assert (await front.chat(model="m@llamacpp", messages=messages, max_tokens=40)).status_code == 200
        await front.fleet.until(lambda: len(kept(front)) == 1, "it was repeated")
        await front.fleet.until(lambda: resident_engines(front) == ["llamacpp"], "the first engine is back")
    (record,) = kept(front)
    assert record.source == "shadow"
    assert [each.engine for each in record.contestants] == ["llamacpp", "mlx"]
    first, second = record.samples
    assert first.num_prompt_tokens == second.num_prompt_tokens
    assert first.num_output_tokens == second.num_output_tokens == 40
    assert second.decode_ms is not None
    assert second.decode_ms > 0
    assert any(load.contestant == 1 and load.load_ms is not None for load in record.loads)
    assert SECRET.encode() not in msgspec.json.encode(record)


@with_front(config=shadowing(), llamacpp=QUICK, mlx=QUICK)
async def test_a_request_that_names_a_worker_is_repeated_by_another_one(front: FakeFront) -> None:
    await front.chat(model="m@llamacpp", max_tokens=1)
    (worker,) = front.fleet.ready
    body = {"model": "m@llamacpp", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 40}
    async with shadow_of(front):
        named = {"X-Mlxr-Worker": str(worker.worker_id)}
        assert (await front.client.post("/v1/chat/completions", json=body, headers=named)).status_code == 200
        await front.fleet.until(lambda: len(kept(front)) == 1, "it was repeated")


@with_front(config=shadowing(), llamacpp=QUICK)
async def test_whoever_comes_goes_before_it_and_nothing_is_kept_then(front: FakeFront) -> None:
    front.fleet.hold("decode", "mlx")
    async with shadow_of(front):
        await front.chat(model="m@llamacpp", max_tokens=20)
        await front.fleet.until(lambda: resident_engines(front) == ["mlx"], "it is being repeated")
        answer = await front.chat(model="m@llamacpp", max_tokens=5)
        assert answer.status_code == 200
        assert answer.json()["timings"]["engine"] == "llamacpp"
    assert kept(front) == ()


@with_front(config=shadowing(), llamacpp=QUICK, mlx=QUICK)
async def test_nothing_is_repeated_while_memory_is_short(front: FakeFront) -> None:
    front.fleet.hold("decode", "mlx")
    async with shadow_of(front) as shadow:
        await front.chat(model="m@llamacpp", max_tokens=20)
        await front.fleet.until(lambda: resident_engines(front) == ["mlx"], "it is being repeated")
        front.fleet.conditions.set_pressure(PressureLevel.CRITICAL, "90% of the memory is in use")
        await front.fleet.until(lambda: not front.supervisor.is_answering, "it is given up")
        assert not shadow._remembered
    assert kept(front) == ()


@with_front(config=shadowing(idle_s=3600), llamacpp=QUICK, mlx=QUICK)
async def test_it_waits_until_nobody_has_come_for_a_while_and_remembers_few(front: FakeFront) -> None:
    clock = Time()
    async with shadow_of(front, clock) as shadow:
        for _ in range(MAX_REMEMBERED + 3):
            await front.chat(model="m@llamacpp", max_tokens=3)
        assert len(shadow._remembered) == MAX_REMEMBERED
        assert kept(front) == ()
        clock.ahead_s = 3601
        await front.fleet.until(lambda: len(kept(front)) == MAX_REMEMBERED, "they are repeated now")


@with_front(config=shadowing(max_per_hour=1), llamacpp=QUICK, mlx=QUICK)
async def test_an_hour_has_room_for_a_few_only(front: FakeFront) -> None:
    clock = Time()
    async with shadow_of(front, clock) as shadow:
        for _ in range(2):
            await front.chat(model="m@llamacpp", max_tokens=3)
        await front.fleet.until(lambda: len(kept(front)) == 1, "one is repeated")
        clock.ahead_s = 3000
        assert not shadow._may_repeat(), "although nobody has come for long"
        assert len(shadow._remembered) == 1
        clock.ahead_s = 3601
        await front.fleet.until(lambda: len(kept(front)) == 2, "the next hour has begun")


@pytest.mark.parametrize("body", [{"model": "only-gguf"}, {"n": 2}, {"service_tier": "flex"}], ids=str)
@with_front(config=shadowing(idle_s=3600), llamacpp=QUICK, mlx=QUICK)
async def test_what_would_say_nothing_is_not_remembered(front: FakeFront, *, body: dict[str, object]) -> None:
    async with shadow_of(front) as shadow:
        assert (await front.chat(**body)).status_code == 200
        assert not shadow._remembered


@with_front(config=shadowing(idle_s=3600), llamacpp=QUICK, mlx=QUICK)
async def test_a_request_with_a_picture_is_not_remembered(front: FakeFront) -> None:
    """How long a tower takes is no figure of `auto`, and pictures are not kept."""
    tower = VisionFacts(kind="gemma3", has_vision=True, size_bytes=9)
    folder = msgspec.structs.replace(make_facts(ArtifactFormat.MLX, parameter_count=8), vision=tower)
    add_seeing_model(front.registry)
    front.registry.artifacts.add(make_draft("/seeing-mlx", name=SEEING, facts=folder))
    async with shadow_of(front) as shadow:
        for content, num_remembered in ((chat_part(photo()), 0), ({"type": "text", "text": "Hi"}, 1)):
            answer = await front.chat(model=f"{SEEING}@llamacpp", messages=[{"role": "user", "content": [content]}])
            assert answer.status_code == 200
            assert len(shadow._remembered) == num_remembered


@with_front(config=shadowing(share=0), llamacpp=QUICK, mlx=QUICK)
async def test_it_is_off_by_default_and_forgets_when_switched_off(front: FakeFront) -> None:
    assert ShadowConfig().share == 0
    async with shadow_of(front) as shadow:
        await front.chat(model="m@llamacpp")
        assert not shadow._remembered


@with_front(config=shadowing(), llamacpp=QUICK, mlx=FakeOptions(load_error="no"))
async def test_an_engine_that_does_not_load_harms_nobody(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with shadow_of(front):
        await front.chat(model="m@llamacpp")
        await front.fleet.until(lambda: "was not repeated on mlx" in caplog.text, "it was tried")
        assert (await front.chat(model="m@llamacpp")).status_code == 200
    assert kept(front) == ()
