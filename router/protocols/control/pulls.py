"""Routes of pulls: start one and follow it, list them, pause, resume and cancel them."""

from typing import Annotated

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from registry.engines import PullEngines
from registry.errors import PullNotFoundError
from registry.hub.references import MAX_REFERENCE_CHARS
from registry.pull import PullOptions
from registry.pull.events import PullEvent
from registry.pull_record import PullInfo
from router.http.asgi import json_reply
from router.http.streaming import SSE
from router.jobs.pulls import PullList
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Stream
from router.protocols.jobs import job_stream
from router.protocols.parts import AnyRequest, PullsPart, ServingPart
from router.protocols.queries import number_in

MAX_PULL_ID = 10**15 - 1


class PullRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/pull.

    Attributes:
        reference: What to pull; no path on this machine.
        engine: The engine or engines that it is for; None takes what the repository has.
        name: Of the model that gets it; None derives it.
    """

    reference: Annotated[str, Meta(min_length=1, max_length=MAX_REFERENCE_CHARS)]
    engine: PullEngines | None = None
    vision: bool = False
    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = None


@MLXR_API.post("/v1/mlxr/models/pull", body=PullRequest, answers={}, stream=Stream(SSE, (PullEvent,)))
async def pull_model(request: AnyRequest, serving: ServingPart, pulls: PullsPart) -> ASGIApp:
    """Pull a model; the answer is a stream of events."""
    body = await serving.read(request, PullRequest)
    options = PullOptions(engine=body.engine, vision=body.vision, name=body.name)
    follower = await pulls.get().start(body.reference, options)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.get("/v1/mlxr/models/pulls", PullList)
async def list_pulls(pulls: PullsPart) -> ASGIApp:
    """List all pulls, oldest first."""
    return json_reply(PullList(await pulls.get().list_pulls()))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/pause", PullInfo)
async def pause_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Stop a pull; what came is kept."""
    return json_reply(await pulls.get().pause(_number(pull_id)))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/resume", PullInfo)
async def resume_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Go on with a pull."""
    owner, number = pulls.get(), _number(pull_id)
    await (await owner.resume(number)).aclose()
    return json_reply(await owner.get(number))


@MLXR_API.post("/v1/mlxr/models/pulls/{pull_id:str}/cancel", PullInfo)
async def cancel_pull(pull_id: FromPath[str], pulls: PullsPart) -> ASGIApp:
    """Stop a pull and throw away what came."""
    return json_reply(await pulls.get().cancel(_number(pull_id)))


def _number(text: str) -> int:
    number = number_in(text, 0, MAX_PULL_ID)
    if number is None:
        raise PullNotFoundError(f"There is no pull {text[:40]!a}; GET /v1/mlxr/models/pulls lists those there are.")
    return number


PULL_ROUTES = (pull_model, list_pulls, pause_pull, resume_pull, cancel_pull)
