"""What one benchmark run measured, as it is kept: the samples themselves, and what they were taken from.

Figures that are computed from samples (medians, intervals, ratios) are not kept: they follow from these. Data only.
"""

from typing import Literal

import msgspec

ImageUse = Literal["new", "again"]
"""Of a request's picture: whether the contestant was shown it before in the round."""

TalkWay = Literal["wind", "truncated", "full"]
"""What a contestant is shown of a long talk: its older turns told again by the server, without its oldest turns, or all
of it."""

Recall = Literal["right", "outdated", "missing"]
"""What an answer says of a fact: its value, only one that it had before, or neither."""


class BenchSample(msgspec.Struct, frozen=True, kw_only=True):
    """One measured request, or one that failed.

    Attributes:
        round: Repeat, from 0; samples of one round belong together.
        started_s: When it was sent, seconds since the run began.
        num_parallel: Requests of the scenario that ran at the same time, this one included.
        num_prompt_tokens: As the server counted them; None = it did not say.
        num_cached_tokens: Those of them that it did not compute; None = it did not say.
        ttft_ms: From sending to the first piece of the answer, by the client's clock.
        total_ms: From sending to the end, by the client's clock.
        token_times_ms: When each piece of the answer came, since sending.
        prefill_ms: The server's own figure for the computed prompt tokens; None = it did not say.
        decode_ms: The server's own figure for the tokens after the first; None = it did not say.
        queue_ms: The server's own figure for waiting; None = it did not say.
        load_ms: The server's own figure for loading; None = it did not say.
        error: Why there is no answer; the figures are of no use then.
        image: Of its picture; None = it has none.
        num_image_tokens: Rows that stood for the picture; None = the server did not say.
        is_image_cached: Whether no row had to be made for it; None = the server did not say.
        encode_ms: The server's own figure for making its rows; None = it did not say, or none had to be made.
        least_threads: The fewest that it was computed with; None = the server did not say.
        num_drafted: Tokens that the server drafted; None = it did not say, or drafted none.
        num_accepted: Those of them that were right.
        num_drafted_by_model: Those of them that a draft model drafted.
        talk: What of a long talk it was asked with; None = it belongs to none.
        turn: Of the talk, from 0; None = it asks for a fact.
        recall: What it says of the fact; None = it was not asked for one.
        context_id: By which the server knows what it told again of the talk; None = it told nothing, or did not say.
        answer_digest: The same for equal answers only, of those that are held against each other; None = they are not.
        decisions: Of each question its options' probabilities, of yes or no that of yes; None = it is none.
    """

    contestant: int
    scenario: str
    round: int
    started_s: float
    num_parallel: int = 1
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int = 0
    ttft_ms: float | None = None
    total_ms: float | None = None
    token_times_ms: tuple[float, ...] = ()
    prefill_ms: float | None = None
    decode_ms: float | None = None
    queue_ms: float | None = None
    load_ms: float | None = None
    error: str | None = None
    image: ImageUse | None = None
    num_image_tokens: int | None = None
    is_image_cached: bool | None = None
    encode_ms: float | None = None
    num_drafted: int | None = None
    num_accepted: int | None = None
    num_drafted_by_model: int | None = None
    answer_digest: str | None = None
    least_threads: int | None = None
    talk: TalkWay | None = None
    turn: int | None = None
    recall: Recall | None = None
    context_id: str | None = None
    decisions: tuple[tuple[float, ...], ...] | None = None


class BenchLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One cold load or swap of a contestant, measured beside the scenarios.

    Attributes:
        is_swap: Whether another engine had to go first.
        load_ms: From the request to the loaded model, as the server says.
        first_token_ms: From the request to its first token, by the client's clock.
        unload_ms: What ending it took; None = it was not ended in the run.
        freed_bytes: Memory that came back then; None = not known.
    """

    contestant: int
    is_swap: bool = False
    load_ms: float | None = None
    first_token_ms: float | None = None
    unload_ms: float | None = None
    freed_bytes: int | None = None


class BenchQuality(msgspec.Struct, frozen=True, kw_only=True):
    """How good a contestant's model is on a fixed text, and how far its greedy answers agree with the first one's.

    Attributes:
        num_scored_tokens: Tokens of the fixed text that were scored; 0 = the server cannot say.
        mean_logprob: Natural logarithm, mean over them; None = not known.
        perplexity: exp(-mean_logprob); None = not known.
        num_compared_tokens: Greedy tokens that were held against the first contestant's; 0 for the first itself.
        num_equal_tokens: Those before the first divergence, summed over the prompts.
        first_divergence: Smallest token position at which an answer differs; None = none did.
    """

    num_scored_tokens: int = 0
    mean_logprob: float | None = None
    perplexity: float | None = None
    num_compared_tokens: int = 0
    num_equal_tokens: int = 0
    first_divergence: int | None = None


class BenchContestant(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        label: As the user named it, e.g. `llamacpp ctx=4096 kv=q8_0`.
        model: Name of the model, as its server has it.
        engine: `mlx`, `llamacpp`; None = a server by URL.
        url: Of a server that is not ours; without secrets. None = the own one.
        settings: What of the load was asked for, and of drafts (`speculation`), by name.
        artifact_path: Of its files; None = not known.
        artifact_sha256: Of its file or of its listing; None = not computed yet.
        artifact_version: Changes when the files do; None = not known.
        quantization: e.g. `Q4_K_M`, `4-bit group 64`; None = not known.
        bits_per_weight: None = not known.
        size_bytes: Of the weights; None = not known.
        context_length: It was loaded with; None = not known.
        draft: Name of the model that was loaded to draft for it; None = none was.
        num_threads: At most; None = not known.
        least_threads: The fewest that an answer was computed with; None = not known.
        are_threads_held: Whether the benchmark kept them from following the machine.
        peak_memory_bytes: Of the worker while it was measured; None = not known.
        energy_j: Of the whole machine while it was measured; None = the system does not tell.
        quality: None = not measured.
    """

    label: str
    model: str
    engine: str | None = None
    url: str | None = None
    settings: dict[str, str] = {}
    artifact_path: str | None = None
    artifact_sha256: str | None = None
    artifact_version: str | None = None
    quantization: str | None = None
    bits_per_weight: float | None = None
    size_bytes: int | None = None
    context_length: int | None = None
    draft: str | None = None
    num_threads: int | None = None
    least_threads: int | None = None
    are_threads_held: bool = False
    devices: tuple[str, ...] = ()
    engine_versions: dict[str, str] = {}
    features: str = ""
    peak_memory_bytes: int | None = None
    energy_j: float | None = None
    quality: BenchQuality | None = None


class BenchScenario(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work.

    Attributes:
        name: e.g. `short-chat`, `long-prompt-2k`.
        num_parallel: Requests at once.
        skipped: Why it was not run; None = it was.
    """

    name: str
    what: str
    num_parallel: int = 1
    max_tokens: int = 0
    skipped: str | None = None


class BenchMachine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured.

    Attributes:
        machine_id: The same for all runs on this machine; says nothing about who it belongs to.
        system: e.g. `Linux 6.1 x86_64`.
        cpu: Name of the processor; None = not known.
        memory_bytes: In all; None = not known.
    """

    machine_id: str
    system: str
    cpu: str | None = None
    num_cores: int | None = None
    memory_bytes: int | None = None


class BenchNotice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that makes the comparison void, unequal or doubtful.

    Attributes:
        code: Stable, e.g. `different_weights`, `busy_machine`, `cached_prompts`.
        scenario: Where; None = everywhere.
    """

    code: str
    message: str
    is_void: bool = False
    scenario: str | None = None


class BenchRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        bench_id: Short, unique, e.g. `b-1f3a9c`.
        model: Registry name of the first contestant's model.
        created_at: Seconds since 1970, when it began.
        seed: Of the order and of the statistics.
        is_complete: False = it was stopped, or its time box ended before all was measured.
        contestants: The first is what the others are compared with.
        scenarios: In the order in which they ran.
        notices: What is to be known of the comparison.
        source: `bench`, or `shadow` for repeated requests of users (no text of theirs is kept).
    """

    bench_id: str
    model: str
    created_at: float
    duration_s: float
    version: str
    seed: int
    repeats: int
    is_complete: bool
    machine: BenchMachine
    contestants: tuple[BenchContestant, ...]
    scenarios: tuple[BenchScenario, ...]
    samples: tuple[BenchSample, ...]
    loads: tuple[BenchLoad, ...] = ()
    notices: tuple[BenchNotice, ...] = ()
    source: str = "bench"
