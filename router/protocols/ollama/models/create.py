"""POST /api/create: a model out of another or out of uploads, with settings, told in Ollama's lines.

Not here: what the request means (`recipe`), and the making (`router.models.making`).
"""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp

from registry.catalogue import Model
from registry.errors import ModelNotFoundError
from registry.threads import in_thread
from router.http.streaming import NDJSON
from router.jobs.pulls import PullAccess
from router.models.directory import ModelDirectory
from router.models.making import ModelMaking
from router.protocols.endpoint import Stream
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.models.lines import PULLING_MANIFEST, SUCCESS, WRITING_MANIFEST
from router.protocols.ollama.models.pulls import lines_reply, pull_lines
from router.protocols.ollama.models.recipe import Recipe, recipe_of
from router.protocols.ollama.models.schemas import CreateRequest, StatusLine
from router.protocols.ollama.names import model_named, model_of, names_to_make, pull_name_of
from router.protocols.parts import AnyRequest, MakingPart, PullsPart, ServingPart

_LAYERS: Final = ("template", "system", "messages", "license")
"""Settings that are layers of their own in Ollama; all others are the parameters' layer together."""


@OLLAMA_API.post("/api/create", StatusLine, body=CreateRequest, stream=Stream(NDJSON, (StatusLine,)))
async def create_model(request: AnyRequest, serving: ServingPart, making: MakingPart, pulls: PullsPart) -> ASGIApp:
    """Make a model."""
    body = await serving.read(request, CreateRequest)
    names = names_to_make(model_of(body.model, body.name))
    recipe = await in_thread(lambda: recipe_of(body))  # a template takes a while to compile
    lines = _creation(serving.models, making, pulls, names, recipe)
    return await lines_reply(request, lines, is_stream=body.stream is not False)


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
        yield PULLING_MANIFEST
        async with aclosing(pull_lines(pulls, pull_name_of(source))) as lines:
            async for line in lines:
                if line not in {PULLING_MANIFEST, SUCCESS, WRITING_MANIFEST}:
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
