"""What a running benchmark tells: to the terminal, and as server-sent events. Data only."""

import msgspec

from registry.bench_record import BenchScenario


class BenchStarted(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first event.

    Attributes:
        scenarios: What is asked; some are skipped.
    """

    bench_id: str
    model: str
    contestants: tuple[str, ...]
    scenarios: tuple[BenchScenario, ...]
    minutes: float


class BenchStep(msgspec.Struct, frozen=True, kw_only=True, tag="step"):
    """What is done next.

    Attributes:
        what: For people, e.g. `llamacpp: long-answer, round 2`.
        share: Of the whole run that is behind it, 0 to 1; never falls.
    """

    what: str
    share: float


class BenchSampled(msgspec.Struct, frozen=True, kw_only=True, tag="sample"):
    """One request was measured.

    Attributes:
        round: From 0.
        ttft_ms: To the first piece of the answer.
        tokens_per_s: Answer tokens by the whole time; None = no answer.
        error: Why there is none.
    """

    contestant: str
    scenario: str
    round: int
    ttft_ms: float | None = None
    tokens_per_s: float | None = None
    error: str | None = None


class BenchDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """The run has ended and is kept."""

    bench_id: str
    is_complete: bool


class BenchFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """There is no result."""

    code: str
    message: str


BenchProgress = BenchStarted | BenchStep | BenchSampled
BenchEvent = BenchStarted | BenchStep | BenchSampled | BenchDone | BenchFailed
BENCH_END = (BenchDone, BenchFailed)
