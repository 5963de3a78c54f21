"""Routes that verify the files of models, as `mlxr models verify` does."""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import SSE
from router.jobs.verifications import VerificationEvent
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Stream
from router.protocols.jobs import job_stream
from router.protocols.parts import AnyRequest, ServingPart, VerificationsPart

_PATH: Final = "/v1/mlxr/models/verify"


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/verify; without a model, all of them."""

    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class VerifyCancelResponse(msgspec.Struct, frozen=True, kw_only=True):
    """How many verifications were stopped."""

    cancelled: int


@MLXR_API.post(
    _PATH,
    body=VerifyRequest,
    answers={},
    stream=Stream(SSE, (VerificationEvent,)),
    scope=Scope.MODELS,
    is_private=True,
)
async def verify_models(request: AnyRequest, serving: ServingPart, verifications: VerificationsPart) -> ASGIApp:
    """Read the files of models again and mark those that are damaged; the answer is a stream of events."""
    body = await serving.read(request, VerifyRequest)
    models = serving.models.list() if body.model is None else (serving.models.named(body.model),)
    return job_stream(verifications.start(models), keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.post(f"{_PATH}/cancel", VerifyCancelResponse, scope=Scope.MODELS, is_private=True)
async def cancel_verification(verifications: VerificationsPart) -> ASGIApp:
    """Stop verifying."""
    return json_reply(VerifyCancelResponse(cancelled=await verifications.cancel()))


VERIFY_ROUTES: Final = (verify_models, cancel_verification)
