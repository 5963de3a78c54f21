"""Models over HTTP: list, describe, remove. Two protocols ask by one path: OpenAI's, and Anthropic's by its header.

A list has each model, and each of its adapters as a model of its own.

Source: OpenAI API reference, "The model object", "Delete a fine-tuned model"; `parent` names the model that an adapter
changes, as other servers do. Anthropic API reference, "List Models": pages of `limit` models, the newest first.
"""

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from registry.catalogue import Artifact, Model
from router.errors import ModelInUseError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.models.adapters import find_adapters
from router.models.targets import Purpose
from router.protocols.abilities import TEXT, Abilities, abilities_of
from router.protocols.anthropic.answer_schemas import ModelInfo, ModelPage
from router.protocols.endpoint import Parameter
from router.protocols.openai.answer_schemas import DeletedModel, ModelForm, ModelList, ModelObject
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.codex_models import codex_models
from router.protocols.parts import AnyRequest, MakingPart, ServingPart
from router.protocols.queries import limit_in

VERSION_HEADER: Final = "anthropic-version"
_OUTPUTS: Final[dict[str, Literal["embeddings", "scores"]]] = {"embedding": "embeddings", "rerank": "scores"}
"""What models give that write no text, by the first of their abilities."""
_VERSION: Final = Parameter(name=VERSION_HEADER, type=str, what="With it, whatever it says, Anthropic's shape.")
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 1000
_PAGE: Final = (
    Parameter(
        name="limit", type=Annotated[int, Meta(ge=1, le=MAX_PAGE)], what="Entries of the page, with anthropic-version."
    ),
    Parameter(name="after_id", type=str, what="Id of the model before the page, with anthropic-version."),
    Parameter(name="before_id", type=str, what="Id of the model behind the page, with anthropic-version."),
)


@OPENAI_API.get("/v1/models", ModelList, ModelPage, query=_PAGE, headers=(_VERSION,), scope=Scope.INFERENCE)
async def list_models(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """List the models, in Anthropic's shape for clients that send anthropic-version."""
    models = serving.models.list()
    if VERSION_HEADER in request.headers:
        return json_reply(
            model_page(models, request.query_params, lambda model: abilities_of(serving, model).context_length)
        )
    found = [(model, abilities_of(serving, model)) for model in models]
    data = [item for model, abilities in found for item in model_objects(model, abilities)]
    return json_reply(ModelList(data, codex_models(found)))


@OPENAI_API.get("/v1/models/{model_id:path}", ModelObject, ModelInfo, headers=(_VERSION,), scope=Scope.INFERENCE)
async def get_model(request: AnyRequest, model_id: FromPath[str], serving: ServingPart) -> ASGIApp:
    """Describe a model, perhaps with an adapter."""
    asked = serving.models.model_request(model_id.removeprefix("/"), purpose=Purpose.DESCRIBE)
    model, adapter = serving.models.get(asked.model), asked.adapter
    if VERSION_HEADER in request.headers:
        return json_reply(model_info(model, model.name, adapter, abilities_of(serving, model).context_length))
    shown = model_object(model, abilities_of(serving, model))
    return json_reply(shown if adapter is None else adapter_object(model, shown, adapter))


@OPENAI_API.delete("/v1/models/{model_id:path}", DeletedModel, scope=Scope.MODELS)
async def delete_model(model_id: FromPath[str], serving: ServingPart, making: MakingPart) -> ASGIApp:
    """Remove a model that is not loaded."""
    reference = model_id.removeprefix("/")
    name = (serving.models.get(reference) if "+" in reference else serving.models.named(reference)).name
    for worker in serving.supervisor.workers:
        if worker.target is not None and worker.target.model == name:
            raise ModelInUseError(name, str(worker.target.engine))
        if worker.target is not None and worker.loaded_draft == name:
            raise ModelInUseError(name, str(worker.target.engine), drafts_for=worker.target.model)
    await making.remove(name)
    serving.models.forget()
    return json_reply(DeletedModel(id=name, object="model", deleted=True))


def model_objects(model: Model, abilities: Abilities) -> list[ModelObject]:
    """Return a model and its adapters."""
    shown = model_object(model, abilities)
    return [shown, *(adapter_object(model, shown, name) for name in model.adapter_names)]


def model_object(model: Model, abilities: Abilities) -> ModelObject:
    """Return a model without its adapters."""
    return ModelObject(
        id=model.name,
        object="model",
        created=int(model.created_at),
        owned_by="mlxr",
        engines=[*model.engines, *(f"upstream:{name}" for name in abilities.upstreams)],
        forms=[_form(artifact) for artifact in model.artifacts if artifact.status == "ok"],
        context_length=abilities.context_length,
        max_context_length=abilities.trained_length,
        input_modalities=abilities.inputs,
        output_modalities=[_OUTPUTS.get(abilities.can[0], TEXT) if abilities.can else TEXT],
        capabilities=list(abilities.can),
        aliases=list(model.aliases),
        draft=model.settings.draft,
        tags=list(model.settings.tags or ()),
    )


def _form(artifact: Artifact) -> ModelForm:
    facts, quantization = artifact.facts, artifact.facts.quantization
    return ModelForm(
        engine=artifact.engine,
        quantization=None if quantization is None else quantization.label,
        bits_per_weight=None if quantization is None else quantization.bits_per_weight,
        weight_bytes=facts.weight_bytes or artifact.size_bytes,
    )


def adapter_object(model: Model, shown: ModelObject, name: str) -> ModelObject:
    """Return a model with one of its adapters over it.

    Args:
        shown: The model without it.

    Raises:
        AdapterNotFoundError: It has none of this name.
    """
    adapters = find_adapters(model, name)
    return msgspec.structs.replace(
        shown,
        id=f"{model.name}+{name}",
        parent=model.name,
        engines=[str(engine) for engine in model.engines if engine in adapters],
        forms=[form for form in shown.forms if form.engine in adapters],
        aliases=[f"{alias}+{name}" for alias in model.aliases],
    )


def model_page(
    models: Sequence[Model],
    query: Mapping[str, str],
    context_length_of: Callable[[Model], int | None] = lambda model: model.context_length,
) -> ModelPage:
    """Return the page of all models, by all their names, that a URL asks for by `limit`, and `after_id` or `before_id`.

    Args:
        context_length_of: Returns the one in force, tokens.

    Raises:
        InvalidRequestError: The limit is none.
    """
    items = [
        model_info(model, name, adapter, context_length)
        for model in sorted(models, key=lambda model: (-model.created_at, model.name))
        for context_length in (context_length_of(model),)
        for name in (model.name, *model.aliases)
        for adapter in (None, *model.adapter_names)
    ]
    ids = [item.id for item in items]
    limit = limit_in(query, most=MAX_PAGE, default=DEFAULT_PAGE)
    after, before = query.get("after_id"), query.get("before_id")
    if before is not None:
        end = ids.index(before) if before in ids else 0
        start = max(0, end - limit)
        page, has_more = items[start:end], start > 0
    else:
        start = 0 if after is None else (ids.index(after) + 1 if after in ids else len(ids))
        page, has_more = items[start : start + limit], start + limit < len(ids)
    return ModelPage(
        data=page,
        has_more=has_more,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


def model_info(model: Model, name: str, adapter: str | None = None, context_length: int | None = None) -> ModelInfo:
    """Return one model by one of its names, perhaps with an adapter over it."""
    name = name if adapter is None else f"{name}+{adapter}"
    return ModelInfo(
        id=name,
        type="model",
        display_name=name,
        created_at=dt.datetime.fromtimestamp(int(model.created_at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lifecycle="active",
        max_input_tokens=context_length,
        max_tokens=None,
    )


ROUTES: Final = (list_models, get_model, delete_model)
