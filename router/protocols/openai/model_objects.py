"""Models as `GET /v1/models` lists them: each model, then each of its adapters as a model of its own. Pure.

Source: OpenAI API reference, "The model object"; `parent` names the model that an adapter changes, as other servers do.
"""

import msgspec

from registry.catalogue import Model
from router.models.adapters import find_adapters
from router.protocols.openai.answer_schemas import ModelObject


def model_objects(model: Model) -> list[ModelObject]:
    """Return a model and its adapters."""
    return [model_object(model), *(adapter_object(model, name) for name in model.adapter_names)]


def model_object(model: Model) -> ModelObject:
    """Return a model without its adapters."""
    return ModelObject(
        id=model.name,
        object="model",
        created=int(model.created_at),
        owned_by="mlxr",
        engines=list(model.engines),
        context_length=model.context_length,
        aliases=list(model.aliases),
    )


def adapter_object(model: Model, name: str) -> ModelObject:
    """Return a model with one of its adapters over it.

    Raises:
        AdapterNotFoundError: It has none of this name.
    """
    adapters = find_adapters(model, name)
    return msgspec.structs.replace(
        model_object(model),
        id=f"{model.name}+{name}",
        parent=model.name,
        engines=[engine for engine in model.engines if engine in adapters],
        aliases=[f"{alias}+{name}" for alias in model.aliases],
    )
