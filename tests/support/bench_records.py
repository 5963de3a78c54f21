"""Runs of the benchmark made up for tests, with figures that are easy to check by hand."""

import random
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registry.bench_record import (
    BenchContestant,
    BenchLoad,
    BenchMachine,
    BenchNotice,
    BenchQuality,
    BenchRecord,
    BenchSample,
    BenchScenario,
    ImageUse,
    Recall,
    TalkWay,
)

MACHINE = BenchMachine(
    machine_id="m-1", system="Linux 6.1 x86_64", cpu="Test CPU <8>", num_cores=4, memory_bytes=16_000_000_000
)
SHORT_CHAT = BenchScenario(name="short-chat", what="A short question", max_tokens=21)
LONG_PROMPT = BenchScenario(name="long-prompt-2k", what="A long text, a short answer", max_tokens=21)
PARALLEL = BenchScenario(name="parallel-4", what="Four chats at once", num_parallel=4, max_tokens=21)
LOOK = BenchScenario(name="look", what="Two questions on a picture", max_tokens=21)
DECISIONS = BenchScenario(name="decisions", what="Three questions on a state", max_tokens=3)
TALK = BenchScenario(name="long-talk-40", what="A talk of 40 turns", max_tokens=24)
IMAGE_USES: Final[tuple[ImageUse, ...]] = ("new", "again")

LLAMACPP = BenchContestant(
    label="llamacpp",
    model="m",
    engine="llamacpp",
    artifact_version="v1",
    artifact_sha256="a" * 64,
    quantization="Q4_K_M",
    bits_per_weight=4.8,
    size_bytes=100_000_000,
    context_length=4096,
    num_threads=2,
    devices=("CPU",),
    engine_versions={"llama-cpp-python": "0.3.36"},
    peak_memory_bytes=300_000_000,
    quality=BenchQuality(num_scored_tokens=100, mean_logprob=-2.0, perplexity=7.389),
)
MLX = BenchContestant(
    label="mlx",
    model="m",
    engine="mlx",
    artifact_version="w1",
    artifact_sha256="b" * 64,
    quantization="4-bit group 32",
    bits_per_weight=5.0,
    size_bytes=110_000_000,
    context_length=4096,
    devices=("Metal",),
    engine_versions={"mlx": "0.32.4", "mlx-lm": "0.32.2"},
    peak_memory_bytes=400_000_000,
    quality=BenchQuality(
        num_scored_tokens=100,
        mean_logprob=-2.1,
        perplexity=8.166,
        num_compared_tokens=64,
        num_equal_tokens=60,
        first_divergence=20,
    ),
)


def make_sample(
    contestant: int = 0,
    round_number: int = 0,
    *,
    scenario: str = "short-chat",
    ttft_ms: float = 100.0,
    gap_ms: float = 20.0,
    num_output_tokens: int = 21,
    num_prompt_tokens: int | None = 110,
    num_cached_tokens: int | None = 10,
    has_server_figures: bool = True,
    **changes: Any,
) -> BenchSample:
    """An answer whose tokens come evenly: the first after `ttft_ms`, each further one `gap_ms` later."""
    times = tuple(ttft_ms + gap_ms * i for i in range(num_output_tokens))
    values: dict[str, Any] = {
        "contestant": contestant,
        "scenario": scenario,
        "round": round_number,
        "started_s": 10.0 * round_number + contestant,
        "num_prompt_tokens": num_prompt_tokens,
        "num_cached_tokens": num_cached_tokens,
        "num_output_tokens": num_output_tokens,
        "ttft_ms": ttft_ms,
        "total_ms": times[-1] if times else ttft_ms,
        "token_times_ms": times,
        "prefill_ms": ttft_ms if has_server_figures else None,
        "decode_ms": gap_ms * (num_output_tokens - 1) if has_server_figures else None,
    }
    return BenchSample(**values | changes)


def make_record(samples: Sequence[BenchSample] = (), **changes: Any) -> BenchRecord:
    """A complete run of llamacpp against mlx."""
    values: dict[str, Any] = {
        "bench_id": "b-000001",
        "model": "m",
        "created_at": 1_700_000_000.0,
        "duration_s": 90.0,
        "version": "0.1.0",
        "seed": 7,
        "repeats": 5,
        "is_complete": True,
        "machine": MACHINE,
        "contestants": (LLAMACPP, MLX),
        "scenarios": (SHORT_CHAT,),
        "samples": tuple(samples),
    }
    return BenchRecord(**values | changes)


def make_run(*, ratio: float = 1.5, noise: float = 0.02, seed: int = 1, **changes: Any) -> BenchRecord:
    """A run of three scenarios in five rounds, in which mlx decodes and prefills `ratio` times as fast."""
    samples = _samples(ratio, noise, random.Random(seed))
    values: dict[str, Any] = {
        "scenarios": (
            SHORT_CHAT,
            LONG_PROMPT,
            PARALLEL,
            BenchScenario(name="long-prompt-8k", what="A very long text", skipped="the context has 4096 tokens"),
        ),
        "loads": (
            BenchLoad(contestant=0, load_ms=800.0, first_token_ms=900.0, unload_ms=50.0, freed_bytes=290_000_000),
            BenchLoad(contestant=1, load_ms=1200.0, first_token_ms=1350.0, unload_ms=70.0, freed_bytes=390_000_000),
            BenchLoad(contestant=1, is_swap=True, load_ms=1300.0, first_token_ms=1500.0),
        ),
        "notices": (
            BenchNotice(code="different_weights", message="The weights differ: Q4_K_M against 4-bit group 32."),
        ),
    }
    return make_record(samples, **values | changes)


def make_look_run(*, ratio: float = 2.0, tells_pictures: bool = True, **changes: Any) -> BenchRecord:
    """A run of five rounds of two questions on a picture: mlx is `ratio` times as fast, and gives 3 of 5 equal answers.

    Args:
        tells_pictures: Whether mlx says what it took for them.
    """
    samples = [
        _looked(contestant, round_number, image, speed, is_told=tells_pictures or contestant == 0)
        for round_number in range(5)
        for contestant, speed in ((0, 1.0), (1, ratio))
        for image in IMAGE_USES
    ]
    values: dict[str, Any] = {"scenarios": (LOOK,), "samples": tuple(samples)}
    return make_record(**values | changes)


def _looked(contestant: int, round_number: int, image: ImageUse, speed: float, *, is_told: bool) -> BenchSample:
    is_new = image == "new"
    answer = f"{round_number} {image} {contestant if round_number >= 3 else 'same'}"
    told: dict[str, Any] = {
        "num_image_tokens": 192,
        "is_image_cached": not is_new,
        "encode_ms": 400 / speed if is_new else None,
    }
    return make_sample(
        contestant,
        round_number,
        scenario="look",
        ttft_ms=(500 if is_new else 50) / speed,
        gap_ms=20 / speed,
        image=image,
        answer_digest=answer,
        **(told if is_told else {}),
    )


def _samples(ratio: float, noise: float, rng: random.Random) -> list[BenchSample]:
    return [
        make_sample(
            contestant,
            round_number,
            scenario=scenario.name,
            num_parallel=scenario.num_parallel,
            started_s=100.0 * place + 10 * round_number + 5 * contestant + 0.01 * stream,
            ttft_ms=(100 + 900 * (scenario is LONG_PROMPT)) / speed * rng.lognormvariate(0, noise),
            gap_ms=20 / speed * rng.lognormvariate(0, noise),
            num_prompt_tokens=2000 if scenario is LONG_PROMPT else 110,
        )
        for place, scenario in enumerate((SHORT_CHAT, LONG_PROMPT, PARALLEL))
        for round_number in range(5)
        for contestant, speed in ((0, 1.0), (1, ratio))
        for stream in range(scenario.num_parallel)
    ]


def make_talk_run() -> BenchRecord:
    """Three rounds of a talk of four turns and two questions: wound half is recalled, whole all, cut nothing."""
    recalls: dict[TalkWay, tuple[Recall, Recall]] = {
        "wind": ("right", "outdated"),
        "truncated": ("missing", "outdated"),
        "full": ("right", "right"),
    }
    samples = [
        _talk_sample(contestant, number, way, at, recalls[way])
        for contestant in range(2)
        for number in range(3)
        for way in recalls
        for at in range(6)
    ]
    return make_record(samples, scenarios=(TALK,))


def _talk_sample(contestant: int, number: int, way: TalkWay, at: int, recalls: tuple[Recall, Recall]) -> BenchSample:
    is_turn = at < 4
    sample = make_sample(contestant, number, scenario=TALK.name, num_prompt_tokens=10 * (at + 1))
    return msgspec.structs.replace(
        sample,
        token_times_ms=(),
        talk=way,
        turn=at if is_turn else None,
        recall=None if is_turn else recalls[at - 4],
        total_ms=100.0 * (at + 1),
        context_id=f"ctx_{at // 2}" if way == "wind" and at > 1 else None,
    )


def make_decisions_run() -> BenchRecord:
    """Three rounds of three questions: six of the second's decisions are the first's, and it takes half the time."""
    thought = (((0.7, 0.2, 0.1), (0.5, 0.5), (0.9,)), ((0.6, 0.3, 0.1), (0.1, 0.9), (0.8,)))
    return make_record(
        [
            msgspec.structs.replace(
                make_sample(contestant, number, scenario=DECISIONS.name),
                token_times_ms=(),
                total_ms=200.0 / (contestant + 1),
                decisions=thought[contestant],
            )
            for contestant in range(2)
            for number in range(3)
        ],
        scenarios=(DECISIONS,),
    )
