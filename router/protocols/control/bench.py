"""Routes of benchmarks: start one and follow it, end it, look at those of before."""

from typing import Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp

from registry.errors import BenchNotFoundError
from registry.store.benches import BenchHead
from router.bench.events import BenchEvent
from router.bench.figures.summary import BenchRun, summed_up
from router.bench.plan.contestants import contestants_of
from router.bench.plan.options import BenchOptions
from router.bench.plan.scenarios import chosen_scenarios
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.streaming import SSE
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter, Stream
from router.protocols.jobs import job_stream
from router.protocols.parts import AnyRequest, BenchesPart, ServerPart, ServingPart
from router.protocols.queries import number_in, page_limit

_MODEL: Final = Parameter(name="model", type=str, what="Only runs of this one.")

MAX_LIMIT: Final = 1000


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


@MLXR_API.post("/v1/mlxr/bench", body=BenchOptions, answers={}, stream=Stream(SSE, (BenchEvent,)))
async def start_bench(request: AnyRequest, serving: ServingPart, benches: BenchesPart, server: ServerPart) -> ASGIApp:
    """Measure; the answer is a stream of events."""
    options = await serving.read(request, BenchOptions)
    contestants_of(options.model, options.contestants, serving.models.get)
    chosen_scenarios(options)
    follower = benches.start(options, url=server.url)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.post("/v1/mlxr/bench/stop", BenchStopResponse)
async def stop_bench(benches: BenchesPart) -> ASGIApp:
    """End the benchmark that runs."""
    stopped = benches.running
    if not benches.stop():
        raise BenchNotFoundError("No benchmark runs on this server for a client.")
    return json_reply(BenchStopResponse(stopped=stopped))


@MLXR_API.get("/v1/mlxr/bench", BenchList, query=(_MODEL, page_limit(MAX_LIMIT)))
async def list_benches(request: AnyRequest, benches: BenchesPart) -> ASGIApp:
    """List benchmarks, newest first."""
    model = request.query_params.get("model")
    text = request.query_params.get("limit", "50")
    limit = number_in(text, 1, MAX_LIMIT)
    if limit is None:
        raise InvalidRequestError(f"limit: {text!r:.20} is no number from 1 to {MAX_LIMIT}", "limit")
    return json_reply(BenchList(benches=await benches.heads(model, limit), running=benches.running))


@MLXR_API.get("/v1/mlxr/bench/{bench_id:str}", BenchRun)
async def get_bench(bench_id: FromPath[str], benches: BenchesPart) -> ASGIApp:
    """Give one benchmark."""
    return json_reply(summed_up(await benches.record(bench_id)))


BENCH_ROUTES = (start_bench, stop_bench, list_benches, get_bench)
