"""Runs of the benchmark as the tests of `auto` want them: two engines at set speeds."""

from registry.bench_record import (
    BenchContestant,
    BenchLoad,
    BenchMachine,
    BenchNotice,
    BenchRecord,
    BenchSample,
    BenchScenario,
    ImageUse,
)
from registry.engines import EngineKind

HERE = "this-machine"
VERSIONS = {EngineKind.LLAMACPP: {"llama-cpp-python": "1.0"}, EngineKind.MLX: {"mlx": "2.0", "mlx-lm": "3.0"}}
ARTIFACTS = {EngineKind.LLAMACPP: "gguf-1", EngineKind.MLX: "mlx-1"}


def contestant(engine: EngineKind, **changes: object) -> BenchContestant:
    facts = {
        "label": engine,
        "model": "m",
        "engine": engine,
        "artifact_version": ARTIFACTS[engine],
        "engine_versions": VERSIONS[engine],
    }
    return BenchContestant(**(facts | changes))  # type: ignore[arg-type]


def sample(
    contestant: int,
    *,
    prompt: int,
    prefill: float,
    decode: float,
    cached: int = 0,
    output: int = 65,
    parallel: int = 1,
    image: ImageUse | None = None,
) -> BenchSample:
    """Return a request of so many prompt tokens, at these rates, tokens per second."""
    return BenchSample(
        contestant=contestant,
        scenario="s",
        round=0,
        started_s=0.0,
        num_parallel=parallel,
        num_prompt_tokens=prompt,
        num_cached_tokens=cached,
        num_output_tokens=output,
        prefill_ms=(prompt - cached) * 1000 / prefill,
        decode_ms=(output - 1) * 1000 / decode,
        image=image,
    )


def record(
    *samples: BenchSample,
    created_at: float = 1000.0,
    bench_id: str = "b-1",
    machine_id: str = HERE,
    contestants: tuple[BenchContestant, ...] | None = None,
    load_ms: tuple[float | None, float | None] = (1000.0, 2000.0),
    unload_ms: tuple[float | None, float | None] = (100.0, 200.0),
    notices: tuple[BenchNotice, ...] = (),
) -> BenchRecord:
    return BenchRecord(
        bench_id=bench_id,
        model="m",
        created_at=created_at,
        duration_s=1.0,
        version="0",
        seed=1,
        repeats=1,
        is_complete=True,
        machine=BenchMachine(machine_id=machine_id, system="test"),
        contestants=contestants or (contestant(EngineKind.LLAMACPP), contestant(EngineKind.MLX)),
        scenarios=(BenchScenario(name="s", what="a test"),),
        samples=samples,
        loads=tuple(
            BenchLoad(contestant=index, load_ms=load_ms[index], unload_ms=unload_ms[index]) for index in range(2)
        ),
        notices=notices,
    )


def compared(llamacpp: tuple[float, float], mlx: tuple[float, float], **changes: object) -> BenchRecord:
    """Return a run with three requests of 100 and three of 4,000 prompt tokens; rates are (prefill, decode)."""
    samples = [
        sample(index, prompt=prompt, prefill=rates[0], decode=rates[1])
        for index, rates in enumerate((llamacpp, mlx))
        for prompt in (100, 4000)
        for _ in range(3)
    ]
    return record(*samples, **changes)  # type: ignore[arg-type]
