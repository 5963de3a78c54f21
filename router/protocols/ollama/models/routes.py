"""Routes of Ollama's API that manage models: copies, deletions and uploads here, the others in modules of their own."""

from typing import Final

from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import InvalidRequestError, UnsupportedMediaTypeError
from router.http.asgi import BytesResponse
from router.http.body import body_chunks
from router.protocols.endpoint import BINARY, Answer, Body
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.models.create import create_model
from router.protocols.ollama.models.listing import list_loaded, list_models
from router.protocols.ollama.models.pulls import pull_model, push_model
from router.protocols.ollama.models.recipe import digest_hex
from router.protocols.ollama.models.schemas import CopyRequest, DeleteRequest
from router.protocols.ollama.models.show import show_model
from router.protocols.ollama.names import alias_meant, model_named, model_of, names_to_make
from router.protocols.parts import AnyRequest, MakingPart, ServingPart


@OLLAMA_API.post("/api/copy", body=CopyRequest)
async def copy_model(request: AnyRequest, serving: ServingPart, making: MakingPart) -> ASGIApp:
    """Give a model a second name."""
    body = await serving.read(request, CopyRequest)
    names = names_to_make(model_of(body.destination, field="destination"))
    source = model_named(serving.models, model_of(body.source, field="source"))
    name = await making.name_of_new(names)
    if name != source.name:
        await making.create_from_model(name, source.name)
        serving.models.forget()
    return BytesResponse()


@OLLAMA_API.delete("/api/delete", body=DeleteRequest)
async def delete_model(request: AnyRequest, serving: ServingPart, making: MakingPart) -> ASGIApp:
    """Remove a model."""
    body = await serving.read(request, DeleteRequest)
    wanted = model_of(body.model, body.name)
    model = model_named(serving.models, wanted)
    alias = alias_meant(model, wanted)
    if alias is not None:
        await making.remove_alias(alias)
    else:
        await serving.supervisor.stop_model(model.name)
        await making.remove(model.name)
    serving.models.forget()
    return BytesResponse()


@OLLAMA_API.head("/api/blobs/{digest:str}", answers={200: Answer()})
async def has_blob(digest: FromPath[str], making: MakingPart) -> ASGIApp:
    """Tell whether there are such bytes."""
    try:
        sha256 = digest_hex(digest)
    except InvalidRequestError:
        return BytesResponse(status=400)
    is_there = await making.find_blob(sha256) is not None
    return BytesResponse(status=200 if is_there else 404)


@OLLAMA_API.post("/api/blobs/{digest:str}", body=Body(bytes, BINARY), answers={200: Answer(), 201: Answer()})
async def put_blob(request: AnyRequest, digest: FromPath[str], making: MakingPart) -> ASGIApp:
    """Take a file: 201, or 200 where it was there."""
    sha256 = digest_hex(digest)
    encoding = request.headers.get("content-encoding", "identity").lower()
    media_type = request.headers.get("content-type", "").lower()
    if encoding != "identity" or media_type.startswith("multipart/"):
        raise UnsupportedMediaTypeError("Send the bytes of the file as they are: no form, no compression.")
    if await making.find_blob(sha256) is not None:
        return BytesResponse()
    declared = request.headers.get("content-length")
    await making.take_upload(
        sha256, body_chunks(request.receive), size_bytes=None if declared is None else int(declared)
    )
    return BytesResponse(status=201)


MODEL_ROUTES: Final = (
    list_models,
    list_loaded,
    show_model,
    pull_model,
    push_model,
    create_model,
    has_blob,
    put_blob,
    copy_model,
    delete_model,
)
