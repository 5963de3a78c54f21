"""Routes of conversions: start one and follow it, stop it."""

from typing import Annotated

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from router.http.asgi import json_reply
from router.http.streaming import SSE
from router.jobs.conversions import ConversionEvent
from router.jobs.convert.report import Bits, ConversionOptions, Dtype, GroupSize
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Stream
from router.protocols.jobs import job_stream
from router.protocols.parts import AnyRequest, ConversionsPart, ServingPart

ModelName = Annotated[str, Meta(min_length=1, max_length=128)]


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


@MLXR_API.post("/v1/mlxr/models/convert", body=ConvertRequest, answers={}, stream=Stream(SSE, (ConversionEvent,)))
async def convert_model(request: AnyRequest, serving: ServingPart, conversions: ConversionsPart) -> ASGIApp:
    """Make the MLX form of a model; the answer is a stream of events."""
    body = await serving.read(request, ConvertRequest)
    options = ConversionOptions(bits=body.bits, group_size=body.group_size, dtype=body.dtype, name=body.name)
    follower = await conversions.start(body.model, options, is_forced=body.force)
    return job_stream(follower, keepalive_s=serving.config.server.keepalive_s)


@MLXR_API.post("/v1/mlxr/models/convert/cancel", ConvertCancelResponse, body=ConvertCancelRequest)
async def cancel_conversion(request: AnyRequest, serving: ServingPart, conversions: ConversionsPart) -> ASGIApp:
    """Stop what is being made of a model."""
    body = await serving.read(request, ConvertCancelRequest)
    name = serving.models.get(body.model).name
    return json_reply(ConvertCancelResponse(model=name, cancelled=await conversions.cancel(name)))


CONVERSION_ROUTES = (convert_model, cancel_conversion)
