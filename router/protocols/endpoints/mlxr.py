"""Endpoints of mlxr's own API."""

from typing import Annotated, Final

from msgspec import Meta

from router import status
from router.bench.events import BenchEvent
from router.bench.figures.summary import BenchRun
from router.bench.plan.wish import BenchWish
from router.http.error_schemas import OpenAIError
from router.jobs.conversions import ConversionEvent
from router.jobs.pull_events import ModelPullEvent, PullInfo, PullList
from router.protocols.control import answer_schemas as answers
from router.protocols.control import bench, conversions, pulls, schemas
from router.protocols.control.explain import MAX_TOKENS, Explanation
from router.protocols.endpoints.base import MODEL, SSE, Endpoint, Parameter, Stream, page_limit, row

_PULL: Final = "/v1/mlxr/models/pulls/{pull_id:str}"
_DOCUMENT: Final = "Describe the API: this document."
_Tokens = Annotated[int, Meta(ge=1, le=MAX_TOKENS)]
_EXPLAINED: Final = (
    Parameter(name="model", type=str, what="Its name.", is_required=True),
    Parameter(name="prompt_tokens", type=_Tokens, what="Of the request."),
    Parameter(name="answer_tokens", type=_Tokens, what="Expected of its answer."),
)

_STATUS: Final = (
    row("mlxr", "GET", "/health", "Answer at once, whatever the engines do.", status.Health),
    row("mlxr", "GET", "/schema", _DOCUMENT, answers.OpenAPIDocument),
    row("mlxr", "GET", "/schema/openapi.json", _DOCUMENT, answers.OpenAPIDocument),
    row("mlxr", "GET", "/v1/mlxr/status", "Tell what runs, waits, and was loaded.", status.Status),
    row("mlxr", "GET", "/v1/mlxr/capabilities", "Tell what is honoured.", answers.CapabilityReport, query=(MODEL,)),
    row("mlxr", "GET", "/v1/mlxr/requests", "List the requests that run or wait.", status.RequestList),
    row("mlxr", "POST", "/v1/mlxr/requests/{request_id:str}/cancel", "End a request.", status.CancelResponse),
    row(
        "mlxr",
        "GET",
        "/v1/mlxr/engine/explain",
        "Tell which engine would serve a request, and why.",
        Explanation,
        query=_EXPLAINED,
    ),
    row("mlxr", "POST", "/v1/mlxr/models/stop", "Unload a model.", status.StopResponse, body=schemas.StopRequest),
)
_PULLS: Final = (
    row(
        "mlxr",
        "POST",
        "/v1/mlxr/models/pull",
        "Pull a model; the answer is a stream of events.",
        body=pulls.PullRequest,
        answers={},
        stream=Stream(SSE, (ModelPullEvent, OpenAIError)),
    ),
    row("mlxr", "GET", "/v1/mlxr/models/pulls", "List all pulls, oldest first.", PullList),
    row("mlxr", "POST", f"{_PULL}/pause", "Stop a pull; what came is kept.", PullInfo),
    row("mlxr", "POST", f"{_PULL}/resume", "Go on with a pull.", PullInfo),
    row("mlxr", "POST", f"{_PULL}/cancel", "Stop a pull and throw away what came.", PullInfo),
)
_CONVERSIONS: Final = (
    row(
        "mlxr",
        "POST",
        "/v1/mlxr/models/convert",
        "Make the MLX form of a model; the answer is a stream of events.",
        body=conversions.ConvertRequest,
        answers={},
        stream=Stream(SSE, (ConversionEvent, OpenAIError)),
    ),
    row(
        "mlxr",
        "POST",
        "/v1/mlxr/models/convert/cancel",
        "Stop what is being made of a model.",
        conversions.ConvertCancelResponse,
        body=conversions.ConvertCancelRequest,
    ),
)
_BENCHES: Final = (
    row(
        "mlxr",
        "POST",
        "/v1/mlxr/bench",
        "Measure; the answer is a stream of events.",
        body=BenchWish,
        answers={},
        stream=Stream(SSE, (BenchEvent, OpenAIError)),
    ),
    row("mlxr", "POST", "/v1/mlxr/bench/stop", "End the benchmark that runs.", bench.BenchStopResponse),
    row(
        "mlxr",
        "GET",
        "/v1/mlxr/bench",
        "List benchmarks, newest first.",
        bench.BenchList,
        query=(Parameter(name="model", type=str, what="Only runs of this one."), page_limit(bench.MAX_LIMIT)),
    ),
    row("mlxr", "GET", "/v1/mlxr/bench/{bench_id:str}", "Give one benchmark.", BenchRun),
)

MLXR_ENDPOINTS: Final[tuple[Endpoint, ...]] = (*_STATUS, *_PULLS, *_CONVERSIONS, *_BENCHES)
