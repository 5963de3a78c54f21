"""What makes a comparison void, unequal or doubtful, told in sentences. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from backends.machine.base import ThermalState
from registry.bench_record import BenchContestant, BenchNotice, BenchSample
from registry.engines import EngineKind
from router.bench.machine.watch import Stretch
from router.bench.plan.scenarios import Scenario

BUSY_SHARE: Final = 0.05
"""Share of all cores that others may take."""

MAX_CACHED_TOKENS: Final = 96
"""A chat template's own beginning may be found in a cache; a prompt must not."""

SWAP_BYTES: Final = 16 << 20
_GPU_WORDS: Final = ("metal", "gpu", "cuda", "vulkan", "rocm", "sycl")
_HOT: Final = frozenset({ThermalState.SERIOUS, ThermalState.CRITICAL})
_BITS_APART: Final = 0.02


def notices_of(
    contestants: Sequence[BenchContestant],
    samples: Sequence[BenchSample],
    scenarios: Sequence[Scenario],
    stretches: Sequence[Stretch],
    *,
    num_cores: int,
    is_text_scored_alike: bool = True,
) -> tuple[BenchNotice, ...]:
    """Return everything that is to be known of a comparison, what makes it void first.

    Args:
        contestants: As measured; the first is what the others are compared with.
        is_text_scored_alike: Whether all contestants cut the fixed text into the same tokens.
    """
    found = [
        *_offloads(contestants),
        *_failures(contestants, samples),
        *_cached(contestants, samples, scenarios),
        *_known_pictures(contestants, samples),
        *_differences(contestants),
        *_threads(contestants),
        *_machine(stretches, num_cores),
    ]
    if not is_text_scored_alike:
        message = "The contestants cut text into different tokens: rates per token and perplexities do not compare."
        found.append(BenchNotice(code="different_tokens", message=message))
    return tuple(sorted(found, key=lambda notice: not notice.is_void))


def _offloads(contestants: Sequence[BenchContestant]) -> Iterator[BenchNotice]:
    for one in contestants:
        if one.engine == EngineKind.LLAMACPP and any(
            word in device.lower() for device in one.devices for word in _GPU_WORDS
        ):
            where = ", ".join(one.devices)
            message = f"{one.label}: llamacpp did not compute on the CPU alone, but on {where}."
            yield BenchNotice(code="metal_offload", message=message, is_void=True)


def _failures(contestants: Sequence[BenchContestant], samples: Sequence[BenchSample]) -> Iterator[BenchNotice]:
    for index, one in enumerate(contestants):
        own = [sample for sample in samples if sample.contestant == index]
        errors = [sample.error for sample in own if sample.error is not None]
        if own and len(errors) == len(own):
            message = f"{one.label}: gave no answer at all: {errors[0]}"
            yield BenchNotice(code="no_answers", message=message, is_void=True)
        elif errors:
            message = f"{one.label}: {len(errors)} of {len(own)} requests failed, the first with: {errors[0]}"
            yield BenchNotice(code="failed_requests", message=message)


def _cached(
    contestants: Sequence[BenchContestant], samples: Sequence[BenchSample], scenarios: Sequence[Scenario]
) -> Iterator[BenchNotice]:
    for scenario in scenarios:
        if scenario.has_cached_prompts:
            continue
        for index, one in enumerate(contestants):
            own = [sample for sample in samples if (sample.contestant, sample.scenario) == (index, scenario.name)]
            meant_new = [sample for sample in own if sample.error is None and sample.image != "again"]
            hits = [sample.num_cached_tokens or 0 for sample in meant_new]
            num_hits = sum(hit > MAX_CACHED_TOKENS for hit in hits)
            if not num_hits:
                continue
            message = (
                f"{one.label}: {num_hits} of {len(hits)} prompts came from a cache in part, up to {max(hits)} tokens, "
                "which shortens the time to the first token."
            )
            yield BenchNotice(code="cached_prompts", message=message, scenario=scenario.name, is_void=True)


def _known_pictures(contestants: Sequence[BenchContestant], samples: Sequence[BenchSample]) -> Iterator[BenchNotice]:
    for index, one in enumerate(contestants):
        new = [sample for sample in samples if (sample.contestant, sample.image) == (index, "new")]
        known = [sample for sample in new if sample.is_image_cached]
        if known:
            message = f"{one.label}: {len(known)} of {len(new)} pictures that should have been new were not."
            yield BenchNotice(code="cached_pictures", message=message, scenario=known[0].scenario, is_void=True)


def _differences(contestants: Sequence[BenchContestant]) -> Iterator[BenchNotice]:
    first, *others = contestants
    for other in others:
        pair = f"{first.label} and {other.label}"
        if first.url is not None or other.url is not None:
            yield _foreign(first, other)
        if first.model != other.model and first.url is None and other.url is None:
            yield BenchNotice(code="different_models", message=f"{pair} are different models.")
        elif weights := _weights_apart(first, other):
            yield BenchNotice(code="different_weights", message=f"{pair} have not the same weights: {weights}.")
        if first.context_length and other.context_length and first.context_length != other.context_length:
            message = f"{pair} have contexts of {first.context_length:,} and {other.context_length:,} tokens."
            yield BenchNotice(code="different_context", message=message)
        if first.num_threads and other.num_threads and first.num_threads != other.num_threads:
            message = f"{pair} compute with {first.num_threads} and {other.num_threads} threads."
            yield BenchNotice(code="different_threads", message=message)


def _threads(contestants: Sequence[BenchContestant]) -> Iterator[BenchNotice]:
    for one in contestants:
        most, least = one.num_threads, one.least_threads
        if most is not None and least is not None and least < most:
            message = (
                f"{one.label}: computed with {least} to {most} threads, as other programs left cores; without "
                "threads=auto a benchmark holds them."
            )
            yield BenchNotice(code="moving_threads", message=message)


def _foreign(first: BenchContestant, other: BenchContestant) -> BenchNotice:
    label = other.label if other.url is not None else first.label
    message = (
        f"{label} is a server by its address: its weights, threads and settings are not known here, and only the "
        "client's clock counts."
    )
    return BenchNotice(code="foreign_server", message=message)


def _weights_apart(first: BenchContestant, other: BenchContestant) -> str | None:
    """Say how the weights differ; None = they are the same, or that is not known."""
    if first.artifact_path is None or other.artifact_path is None or first.artifact_path == other.artifact_path:
        return None
    if first.artifact_sha256 is not None and first.artifact_sha256 == other.artifact_sha256:
        return None
    first_bits, other_bits = first.bits_per_weight, other.bits_per_weight
    words = [f"{one.quantization or 'not known'}{_bits(one.bits_per_weight)}" for one in (first, other)]
    text = f"{words[0]} against {words[1]}"
    if first_bits and other_bits and abs(other_bits / first_bits - 1) > _BITS_APART:
        larger = max(first_bits, other_bits) / min(first_bits, other_bits)
        return f"{text}; the larger one has {larger:.2f} times as much to read for each token"
    return f"{text}; see the figures of quality"


def _bits(bits: float | None) -> str:
    return "" if bits is None else f" ({bits:.2f} bits per weight)"


def _machine(stretches: Sequence[Stretch], num_cores: int) -> Iterator[BenchNotice]:
    known = [stretch for stretch in stretches if stretch.others_cores is not None]
    duration_s = sum(stretch.duration_s for stretch in known)
    if known and duration_s:
        busy = sum((stretch.others_cores or 0.0) * stretch.duration_s for stretch in known) / duration_s
        if busy > BUSY_SHARE * num_cores:
            message = (
                f"Other programs kept {busy:.2f} of {num_cores} cores busy meanwhile; measure again when it is quiet."
            )
            yield BenchNotice(code="busy_machine", message=message)
    swapped_bytes = sum(stretch.swapped_bytes for stretch in stretches)
    if swapped_bytes > SWAP_BYTES:
        message = f"The machine swapped {swapped_bytes >> 20} MiB meanwhile: memory is short, and times say little."
        yield BenchNotice(code="swap_use", message=message)
    if any(stretch.num_throttled for stretch in stretches):
        message = "The processor was slowed down for heat meanwhile; let the machine cool, and measure again."
        yield BenchNotice(code="thermal_throttling", message=message)
    elif hot := [stretch.heat for stretch in stretches if stretch.heat in _HOT]:
        message = f"The machine was hot meanwhile (its heat: {hot[-1]}); let it cool, and measure again."
        yield BenchNotice(code="hot_machine", message=message)
    num_others = sum(stretch.num_other_requests for stretch in stretches)
    if num_others:
        message = f"The server had {num_others} requests of others meanwhile, which took part of its time."
        yield BenchNotice(code="other_requests", message=message)
