"""What Ollama's lists and descriptions of models look like.

Source: Ollama, api/types.go (`ListModelResponse`, `ShowResponse`).
"""

import msgspec

from router.protocols.fields.json_types import JSONObject
from router.protocols.ollama.models.details import ModelDetails


class ListedModel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model of `/api/tags`; one without files here says who has it."""

    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: ModelDetails
    capabilities: list[str]
    remote_model: str = ""
    remote_host: str = ""


class ShownMessage(msgspec.Struct, frozen=True):
    """One message of a model's preset conversation."""

    role: str
    content: str


class ShowResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer; texts that there are none of are left out."""

    license: str = ""
    modelfile: str
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: ModelDetails
    messages: list[ShownMessage] = []
    model_info: JSONObject
    projector_info: JSONObject = {}
    capabilities: list[str]
    modified_at: str
    remote_model: str = ""
    remote_host: str = ""
