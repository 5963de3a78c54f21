"""Why a model would be served by one engine or the other, with the numbers: for people and for tools. No I/O."""

import msgspec

from registry.engines import EngineKind
from router.errors import InvalidRequestError
from router.models.adapters import find_adapters
from router.models.auto.decision import Expectation
from router.models.auto.speeds import BUCKET_LIMITS, EngineSpeeds, bucket_of
from router.models.directory import ModelDirectory
from router.models.engine_choice import usable_artifacts
from router.models.model_request import ModelRequest
from router.models.selectors.candidates import wanted_of
from router.models.size import USUAL_ANSWER_TOKENS, RequestSize
from router.models.targets import Choice
from router.protocols.answers import shared_fields

DEFAULT_PROMPT_TOKENS = 512
MAX_TOKENS = 10_000_000


class EngineExpectation(msgspec.Struct, frozen=True, kw_only=True):
    """One engine's part of the decision; every figure comes from the benchmark's history, null = not measured.

    Attributes:
        load_s: Until the model is loaded there, the other engine's unload included; 0 where it is loaded.
        measured_at: The newest of them, seconds since 1970.
        bench_ids: Runs of the benchmark they come from.
    """

    engine: str
    load_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    total_s: float | None = None
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None
    num_samples: int = 0
    measured_at: float | None = None
    bench_ids: tuple[str, ...] = ()


class JudgedModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a selector goes by, of one model.

    Attributes:
        why_not: Why it is not meant; null = it is.
        num_parameters: Of its smallest usable form; null = unknown.
        has_tools: Whether its template knows tools.
        decode_tokens_per_s: Of its fastest engine, as measured here; null = never.
        last_used_at: Seconds since 1970; null = never.
    """

    model: str
    why_not: str | None
    tags: tuple[str, ...]
    num_parameters: int | None
    sees: bool
    has_tools: bool
    is_loaded: bool
    decode_tokens_per_s: float | None
    last_used_at: float | None


class SelectorExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """Which model a selector means, and why.

    Attributes:
        why: The rule, and what puts the chosen model before the others.
        models: All there are, the chosen one first, then the others that are meant, in their order.
    """

    selector: str
    why: str
    models: tuple[JudgedModel, ...]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """The decision about one kind of request.

    Attributes:
        reason: The setting or the rule by which.
        is_auto: Whether `auto` decides, or a setting does; the numbers are those of `auto` in either case.
        resident: Engine on which it is loaded, or null.
        prompt_bucket: Prompt lengths that share their figures: `(above, up to]`, the last without an end.
        engines: The usable ones, the expected winner first.
        selection: How the model was chosen; null = it was named.
    """

    model: str
    engine: str
    reason: str
    why: str
    is_auto: bool
    resident: str | None
    prompt_tokens: int
    answer_tokens: int
    prompt_bucket: tuple[int, int | None]
    engines: tuple[EngineExpectation, ...]
    selection: SelectorExplanation | None = None


def request_size(prompt_tokens: str | None, answer_tokens: str | None) -> RequestSize:
    """Return the size that two texts name; None = the usual.

    Raises:
        InvalidRequestError: One is no number of tokens.
    """
    return RequestSize(
        _tokens(prompt_tokens, "prompt_tokens", DEFAULT_PROMPT_TOKENS),
        _tokens(answer_tokens, "answer_tokens", USUAL_ANSWER_TOKENS),
    )


def explain(models: ModelDirectory, model_request: ModelRequest, size: RequestSize) -> Explanation:
    """Return who would serve a request, and why.

    Args:
        models: With what `auto` has learned.
    """
    model_request = msgspec.structs.replace(model_request, size=size)
    choice = models.resolve(model_request)
    model = models.get(model_request.model)
    artifacts = usable_artifacts(model, model_request.purpose)
    if model_request.adapter is not None:
        having = find_adapters(model, model_request.adapter)
        artifacts = {engine: artifact for engine, artifact in artifacts.items() if engine in having}
    auto = models.auto
    assert auto is not None, "who explains has what auto learned"
    decision = auto.decide(model.name, artifacts, size)
    speeds = auto.speeds(model.name, artifacts)
    expected = {each.engine: each for each in decision.expectations}
    ordered = sorted(artifacts, key=lambda engine: (engine not in expected, _total(expected.get(engine)), engine))
    bucket = bucket_of(size.num_prompt_tokens)
    is_auto = choice.reason.value.startswith("auto")
    return Explanation(
        model=model.name,
        engine=str(choice.target.engine),
        reason=choice.reason.value,
        why=decision.why if is_auto else _not_auto(choice),
        is_auto=is_auto,
        resident=auto.resident_of(model.name).engine,
        prompt_tokens=size.num_prompt_tokens,
        answer_tokens=size.num_answer_tokens,
        prompt_bucket=((0, *BUCKET_LIMITS)[bucket], (*BUCKET_LIMITS, None)[bucket]),
        engines=tuple(_row(engine, speeds.get(engine), expected.get(engine), bucket) for engine in ordered),
        selection=_selection(models, model_request),
    )


def _selection(models: ModelDirectory, model_request: ModelRequest) -> SelectorExplanation | None:
    wanted = wanted_of(model_request)
    if wanted is None:
        return None
    found = models.selection(wanted)
    judged = [JudgedModel(why_not=each.why_not, **shared_fields(each.candidate, JudgedModel)) for each in found.judged]
    return SelectorExplanation(selector=wanted.selector, why=found.why, models=tuple(judged))


def _row(
    engine: EngineKind, speeds: EngineSpeeds | None, expected: Expectation | None, bucket: int
) -> EngineExpectation:
    figures = {"engine": engine, **shared_fields(speeds, EngineExpectation)}
    if speeds is not None:
        figures |= {"prefill_tokens_per_s": speeds.prefill[bucket], "decode_tokens_per_s": speeds.decode[bucket]}
    return EngineExpectation(**figures | shared_fields(expected, EngineExpectation))


def _total(expected: Expectation | None) -> float:
    return 0.0 if expected is None else expected.total_s


def _not_auto(choice: Choice) -> str:
    if choice.reason.is_fallback:
        return f"{choice.target.engine} serves in its place (engine_fallback of the config)"
    return f"the engine is set ({choice.reason.value}); `auto` would compare the figures below"


def _tokens(text: str | None, name: str, default: int) -> int:
    from router.protocols.queries import number_in  # noqa: PLC0415 - it brings the HTTP framework, and clients explain

    number = default if text is None else number_in(text, 1, MAX_TOKENS)
    if number is None:
        raise InvalidRequestError(f"{name}: {text!r:.40} is no number of tokens from 1 to {MAX_TOKENS}", name)
    return number
