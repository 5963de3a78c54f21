"""Routes of Ollama's API that manage models: creation, copies, deletions and uploads here, the others beside it.

A model is made of another or of uploads, with settings; that is told in Ollama's lines. Not here: what such a request
means (`recipe`), and the making (`router.models.making`).
"""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp

from registry.catalogue import Model
from registry.errors import ModelNotFoundError
from registry.threads import in_thread
from router.errors import InvalidRequestError, UnsupportedMediaTypeError
from router.http.asgi import BytesResponse
from router.http.body import body_chunks
from router.http.caller import Scope
from router.http.streaming import NDJSON
from router.jobs.pulls import PullAccess
from router.models.directory import ModelDirectory
from router.models.making import ModelMaking
from router.protocols.endpoint import BINARY, Answer, Body, Stream
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.models.listing import list_loaded, list_models, show_model
from router.protocols.ollama.models.pulls import (
    SUCCESS,
    WRITING_MANIFEST,
    lines_reply,
    pull_lines,
    pull_model,
    push_model,
)
from router.protocols.ollama.models.recipe import Recipe, digest_hex, recipe_of
from router.protocols.ollama.models.schemas import CopyRequest, CreateRequest, DeleteRequest, StatusLine
from router.protocols.ollama.names import alias_meant, model_named, model_of, names_to_make, pull_name_of
from router.protocols.parts import AnyRequest, MakingPart, PullsPart, ServingPart

_LAYERS: Final = ("template", "system", "messages", "license")
"""Settings that are layers of their own in Ollama; all others are the parameters' layer together."""


@OLLAMA_API.post(
    "/api/create", StatusLine, body=CreateRequest, stream=Stream(NDJSON, (StatusLine,)), scope=Scope.MODELS
)
async def create_model(request: AnyRequest, serving: ServingPart, making: MakingPart, pulls: PullsPart) -> ASGIApp:
    """Make a model."""
    body = await serving.read(request, CreateRequest)
    names = names_to_make(model_of(body.model, body.name))
    recipe = await in_thread(lambda: recipe_of(body))  # a template takes a while to compile
    lines = _creation(serving.models, making, pulls, names, recipe)
    return await lines_reply(request, lines, is_stream=body.stream is not False)


@OLLAMA_API.post("/api/copy", body=CopyRequest, scope=Scope.MODELS)
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


@OLLAMA_API.delete("/api/delete", body=DeleteRequest, scope=Scope.MODELS)
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


@OLLAMA_API.head("/api/blobs/{digest:str}", answers={200: Answer()}, scope=Scope.MODELS)
async def has_blob(digest: FromPath[str], making: MakingPart) -> ASGIApp:
    """Tell whether there are such bytes."""
    try:
        sha256 = digest_hex(digest)
    except InvalidRequestError:
        return BytesResponse(status=400)
    is_there = await making.find_blob(sha256) is not None
    return BytesResponse(status=200 if is_there else 404)


@OLLAMA_API.post(
    "/api/blobs/{digest:str}", body=Body(bytes, BINARY), answers={200: Answer(), 201: Answer()}, scope=Scope.MODELS
)
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


async def _creation(
    models: ModelDirectory, making: ModelMaking, pulls: PullAccess, names: tuple[str, ...], recipe: Recipe
) -> AsyncGenerator[StatusLine, None]:
    name = await making.name_of_new(names)
    if recipe.source is None:
        made = await making.create_from_files(name, recipe.files, recipe.settings)
        yield StatusLine(status="parsing GGUF")
    else:
        async with aclosing(_fetch_source(models, pulls, recipe.source)) as lines:
            async for line in lines:
                yield line
        source = model_named(models, recipe.source).name
        made = await making.create_from_model(name, source, recipe.settings)
    models.forget()
    for line in _layer_lines(made, recipe):
        yield line
    yield WRITING_MANIFEST
    yield SUCCESS


async def _fetch_source(models: ModelDirectory, pulls: PullAccess, source: str) -> AsyncGenerator[StatusLine, None]:
    """Pull the source when it is not there, as Ollama does."""
    try:
        model_named(models, source)
    except ModelNotFoundError:
        async with aclosing(pull_lines(pulls, pull_name_of(source))) as lines:
            async for line in lines:
                if line not in {SUCCESS, WRITING_MANIFEST}:
                    yield line
        models.forget()


def _layer_lines(made: Model, recipe: Recipe) -> Iterator[StatusLine]:
    for artifact in made.artifacts:
        if artifact.sha256 is not None:
            yield StatusLine(status=f"using existing layer sha256:{artifact.sha256}")
    parts: dict[str, Any] = {name: recipe.settings[name] for name in _LAYERS if name in recipe.settings}
    parameters = {name: value for name, value in recipe.settings.items() if name not in _LAYERS}
    if parameters:
        parts["parameters"] = parameters
    for part in parts.values():
        digest = hashlib.sha256(msgspec.json.encode(part)).hexdigest()
        yield StatusLine(status=f"creating new layer sha256:{digest}")


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
