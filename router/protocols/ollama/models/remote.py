"""What Ollama's lists say of a model that only upstreams have, as they do of a model of Ollama's cloud. Pure.

Source: Ollama, api/types.go (`ListModelResponse.RemoteModel`, `RemoteHost`): a model without files of its own.
"""

import hashlib
from collections.abc import Sequence

from registry.catalogue import Model
from router.models.offers import Offer
from router.protocols.abilities import Abilities
from router.protocols.ollama.durations import timestamp
from router.protocols.ollama.models.answers import ListedModel, ShowResponse
from router.protocols.ollama.models.details import ModelDetails


def listed_remote(model: Model, name: str, offers: Sequence[Offer], abilities: Abilities) -> ListedModel:
    """Return the model's entry of GET /api/tags.

    Args:
        offers: Who has it, one at least.
    """
    first = offers[0]
    return ListedModel(
        name=name,
        model=name,
        modified_at=_time_of(model),
        size=0,
        digest=hashlib.sha256(f"{first.upstream}\n{first.model_id}".encode()).hexdigest(),
        details=_details(abilities),
        capabilities=list(abilities.can),
        remote_model=first.model_id,
        remote_host=f"upstream:{first.upstream}",
    )


def shown_remote(model: Model, offers: Sequence[Offer], abilities: Abilities) -> ShowResponse:
    """Return the answer of POST /api/show; arguments as of `listed_remote`."""
    first = offers[0]
    length = {} if abilities.context_length is None else {"remote.context_length": abilities.context_length}
    return ShowResponse(
        modelfile=f"# of the upstream '{first.upstream}', where it is called {first.model_id}\nFROM {model.name}\n",
        details=_details(abilities),
        model_info={"general.architecture": "remote", **length},
        capabilities=list(abilities.can),
        modified_at=_time_of(model),
        remote_model=first.model_id,
        remote_host=f"upstream:{first.upstream}",
    )


def _details(abilities: Abilities) -> ModelDetails:
    return ModelDetails(
        parent_model="",
        format="",
        family="",
        families=[],
        parameter_size="",
        quantization_level="unknown",
        context_length=abilities.context_length,
    )


def _time_of(model: Model) -> str:
    return timestamp(round(model.created_at * 1e9))
