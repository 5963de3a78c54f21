"""HEAD and POST /api/blobs/sha256:HEX: files that clients hand over to make models of.

The body goes to disk as it comes. Not here: what is made of it (`management_create.py`).
"""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import ClientDisconnectedError, InvalidRequestError, UnsupportedMediaTypeError
from router.http.asgi import BytesResponse
from router.models.making import ModelMaking
from router.protocols.endpoint import BINARY, Answer, Body
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.models.recipe import digest_hex
from router.services import Services


@OLLAMA_API.head("/api/blobs/{digest:str}", answers={200: Answer()})
async def has_blob(digest: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Tell whether there are such bytes."""
    try:
        sha256 = digest_hex(digest)
    except InvalidRequestError:
        return BytesResponse(b"", status=400, headers=[])
    is_there = await making_of(services).find_blob(sha256) is not None
    return BytesResponse(b"", status=200 if is_there else 404, headers=[])


@OLLAMA_API.post("/api/blobs/{digest:str}", body=Body(bytes, BINARY), answers={200: Answer(), 201: Answer()})
async def put_blob(
    request: Request[Any, Any, Any], digest: FromPath[str], services: NamedDependency[Services]
) -> ASGIApp:
    """Take a file: 201, or 200 where it was there."""
    sha256 = digest_hex(digest)
    encoding = request.headers.get("content-encoding", "identity").lower()
    media_type = request.headers.get("content-type", "").lower()
    if encoding != "identity" or media_type.startswith("multipart/"):
        raise UnsupportedMediaTypeError("Send the bytes of the file as they are: no form, no compression.")
    making = making_of(services)
    if await making.find_blob(sha256) is not None:
        return BytesResponse(b"", status=200, headers=[])
    declared = request.headers.get("content-length")
    await making.take_upload(sha256, _chunks(request), size_bytes=None if declared is None else int(declared))
    return BytesResponse(b"", status=201, headers=[])


def making_of(services: Services) -> ModelMaking:
    """Give what makes models; every gateway has it."""
    assert services.making is not None
    return services.making


async def _chunks(request: Request[Any, Any, Any]) -> AsyncIterator[bytes]:
    while True:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnectedError
        yield message.get("body", b"")
        if not message.get("more_body", False):
            return
