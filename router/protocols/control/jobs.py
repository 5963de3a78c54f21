"""Routes of pulls, conversions and benchmarks: start one and follow it, stop it, list those that there are."""

from typing import Annotated, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from registry.engines import PullEngines
from registry.errors import BenchNotFoundError, PullNotFoundError
from registry.hub.references import MAX_REFERENCE_CHARS
from registry.pull import PullOptions
from registry.pull.events import PullEvent
from registry.pull_record import PullInfo
from registry.store.benches import BenchHead
from router.bench.events import BenchEvent
from router.bench.figures.summary import BenchRun, summed_up
from router.bench.plan.contestants import contestants_of
from router.bench.plan.options import BenchOptions
from router.bench.plan.scenarios import chosen_scenarios, unseen_scenarios
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import SSE
from router.jobs.conversions import ConversionEvent
from router.jobs.convert.report import Bits, ConversionOptions, Dtype, GroupSize
from router.jobs.pulls import PullList
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter, Stream
from router.protocols.jobs import job_stream
from router.protocols.parts import AnyRequest, BenchesPart, ConversionsPart, PullsPart, ServerPart, ServingPart
from router.protocols.queries import limit_in, number_in, page_limit

MAX_PULL_ID: Final = 10**15 - 1
MAX_LIMIT: Final = 1000
_DEFAULT_LIMIT: Final = 50
_MODEL: Final = Parameter(name="model", type=str, what="Only runs of this one.")

ModelName = Annotated[str, Meta(min_length=1, max_length=128)]


class PullRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/pull.

    Attributes:
        reference: What to pull; no path on this machine.
        engine: The engine or engines that it is for; None takes what the repository has.
        vision: Whether a GGUF model's vision projector must come, or must not; None = it comes where there is one.
        name: Of the model that gets it; None derives it.
    """

    reference: Annotated[str, Meta(min_length=1, max_length=MAX_REFERENCE_CHARS)]
    engine: PullEngines | None = None
    vision: bool | None = None
    name: ModelName | None = None


@MLXR_API.post(
    "/v1/mlxr/models/pull", body=PullRequest, answers={}, stream=Stream(SSE, (PullEvent,)), scope=Scope.MODELS
)
async def pull_model(request: AnyRequest, serving: ServingPart, pulls: PullsPart) -> ASGIApp:
    """Pull a model; the answer is a stream of events."""
    body = await serving.read(request, PullRequest)
    options = PullOptions(engine=body.engine, vision=body.vision, name=body.name)
    follower = await pulls.get().start(body.reference, options)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.get("/v1/mlxr/models/pulls", PullList, scope=Scope.MODELS)
async def list_pulls(pulls: PullsPart) -> ASGIApp:
    """List all pulls, oldest first."""
    return json_reply(PullList(await pulls.get().list_pulls()))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/pause", PullInfo, scope=Scope.MODELS)
async def pause_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Stop a pull; what came is kept."""
    return json_reply(await pulls.get().pause(_number(pull_id)))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/resume", PullInfo, scope=Scope.MODELS)
async def resume_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Go on with a pull."""
    owner, number = pulls.get(), _number(pull_id)
    await (await owner.resume(number)).aclose()
    return json_reply(await owner.get(number))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/cancel", PullInfo, scope=Scope.MODELS)
async def cancel_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Stop a pull and throw away what came."""
    return json_reply(await pulls.get().cancel(_number(pull_id)))


def _number(text: str) -> int:
    number = number_in(text, 0, MAX_PULL_ID)
    if number is None:
        raise PullNotFoundError(f"There is no pull {text[:40]!a}; GET /v1/mlxr/models/pulls lists those there are.")
    return number


class ConvertRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/convert.

    Attributes:
        bits: Of the quantized weights; None = floats.
        dtype: Of what is not quantized; None = what the machine computes with best.
        name: Of the model that gets the result; None = as the command line chooses.
        force: Keep a result that the comparison speaks against.
    """

    model: ModelName
    bits: Bits | None = 4
    group_size: GroupSize = 64
    dtype: Dtype | None = None
    name: ModelName | None = None
    force: bool = False


class ConvertCancelRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/convert/cancel."""

    model: ModelName


class ConvertCancelResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Its answer."""

    model: str
    cancelled: int


@MLXR_API.post(
    "/v1/mlxr/models/convert",
    body=ConvertRequest,
    answers={},
    stream=Stream(SSE, (ConversionEvent,)),
    scope=Scope.MODELS,
)
async def convert_model(request: AnyRequest, serving: ServingPart, conversions: ConversionsPart) -> ASGIApp:
    """Make the MLX form of a model; the answer is a stream of events."""
    body = await serving.read(request, ConvertRequest)
    options = ConversionOptions(bits=body.bits, group_size=body.group_size, dtype=body.dtype, name=body.name)
    follower = await conversions.start(serving.models.get(body.model).name, options, is_forced=body.force)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.post("/v1/mlxr/models/convert/cancel", ConvertCancelResponse, body=ConvertCancelRequest, scope=Scope.MODELS)
async def cancel_conversion(request: AnyRequest, serving: ServingPart, conversions: ConversionsPart) -> ASGIApp:
    """Stop what is being made of a model."""
    body = await serving.read(request, ConvertCancelRequest)
    name = serving.models.named(body.model).name
    return json_reply(ConvertCancelResponse(model=name, cancelled=await conversions.cancel(name)))


class BenchList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/bench.

    Attributes:
        benches: Newest first.
        running: Id of the one that this server runs for a client, or null.
    """

    benches: tuple[BenchHead, ...]
    running: str | None


class BenchStopResponse(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of POST /v1/mlxr/bench/stop; `stopped` is null when the run had not told its id yet."""

    stopped: str | None


@MLXR_API.post("/v1/mlxr/bench", body=BenchOptions, answers={}, stream=Stream(SSE, (BenchEvent,)), scope=Scope.MODELS)
async def start_bench(request: AnyRequest, serving: ServingPart, benches: BenchesPart, server: ServerPart) -> ASGIApp:
    """Measure; the answer is a stream of events."""
    options = await serving.read(request, BenchOptions)
    contestants = contestants_of(options.model, options.contestants, serving.models.get)
    unseen_scenarios(chosen_scenarios(options), contestants)
    follower = benches.start(options, server=server)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.post("/v1/mlxr/bench/stop", BenchStopResponse, scope=Scope.MODELS)
async def stop_bench(benches: BenchesPart) -> ASGIApp:
    """End the benchmark that runs."""
    stopped = benches.running
    if not benches.stop():
        raise BenchNotFoundError("No benchmark runs on this server for a client.")
    return json_reply(BenchStopResponse(stopped=stopped))


@MLXR_API.get("/v1/mlxr/bench", BenchList, query=(_MODEL, page_limit(MAX_LIMIT)), scope=Scope.MODELS)
async def list_benches(request: AnyRequest, benches: BenchesPart) -> ASGIApp:
    """List benchmarks, newest first."""
    model = request.query_params.get("model")
    limit = limit_in(request.query_params, most=MAX_LIMIT, default=_DEFAULT_LIMIT)
    return json_reply(BenchList(benches=await benches.heads(model, limit), running=benches.running))


@MLXR_API.get("/v1/mlxr/bench/{bench_id:str}", BenchRun, scope=Scope.MODELS)
async def get_bench(bench_id: FromPath[str], benches: BenchesPart) -> ASGIApp:
    """Give one benchmark."""
    return json_reply(summed_up(await benches.record(bench_id)))


JOB_ROUTES: Final = (
    pull_model,
    list_pulls,
    pause_pull,
    resume_pull,
    cancel_pull,
    convert_model,
    cancel_conversion,
    start_bench,
    stop_bench,
    list_benches,
    get_bench,
)
