"""Requests of Ollama's API that manage models, and the lines of its answers. Unknown fields are refused.

Source: Ollama, api/types.go and docs/api.md. `name` is what `model` was called before, and still is by old clients.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from router.protocols.fields.json_types import JSONObject, Refused
from router.protocols.fields.support import refused

MAX_NAME_CHARS = 2_048
MAX_FILES = 1_000
MAX_TEXTS = 64

Name = Annotated[str, Meta(max_length=MAX_NAME_CHARS)]
Digest = Annotated[str, Meta(max_length=128)]
ParameterValue = str | int | float | bool | list[str] | None
"""Numbers may be written as texts; `stop` may be one text or several."""

Files = Annotated[dict[Annotated[str, Meta(max_length=512)], Digest], Meta(max_length=MAX_FILES)]


_NO_QUANTIZING = refused("models are not quantized here; pull or upload one in the quantization that you want.", "")
_BY_TEMPLATE = refused("the model's own chat template decides that here.", "")


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    model: Name | None = None
    name: Name | None = None


class PullRequest(_Named, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/pull."""

    insecure: Annotated[
        bool | None,
        refused("which registry is asked, and whether by http, is set by hub.ollama_registry in the config.", False),
    ] = None
    stream: bool | None = None
    username: str | None = None
    password: str | None = None


class PushRequest(_Named, frozen=True, kw_only=True):
    """Body of POST /api/push; nothing of it is used."""


class CreateMessage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A message of a preset conversation."""

    role: str
    content: str
    images: list[str] | None = None
    thinking: str | None = None
    tool_calls: list[Refused] | None = None


class RecipeParts(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is to have beside its weights, by a request or by a Modelfile.

    Attributes:
        adapters: Of a Modelfile, their numbers and paths.
    """

    adapters: Annotated[
        Files | None,
        refused(
            "an adapter is no part of another model here. Register it with `mlxr models adapter add BASE PATH`, and "
            "ask for BASE+ADAPTER.",
            {},
        ),
    ] = None
    template: str | None = None
    license: str | Annotated[list[str], Meta(max_length=MAX_TEXTS)] | None = None
    system: str | None = None
    parameters: JSONObject | None = None
    messages: Annotated[list[CreateMessage], Meta(max_length=MAX_TEXTS)] | None = None


class CreateRequest(RecipeParts, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from"}):
    """Body of POST /api/create; `modelfile` and `path` are those of old clients."""

    model: Name | None = None
    name: Name | None = None
    source: Name | None = None
    files: Files | None = None
    quantize: Annotated[str | None, _NO_QUANTIZING] = None
    quantization: Annotated[str | None, _NO_QUANTIZING] = None
    modelfile: str | None = None
    path: Annotated[str | None, refused("files on the server are not opened; send 'from' or 'files'.", "")] = None
    renderer: Annotated[str | None, _BY_TEMPLATE] = None
    parser: Annotated[str | None, _BY_TEMPLATE] = None
    stream: bool | None = None


class CopyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /api/copy."""

    source: Name
    destination: Name


class DeleteRequest(_Named, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of DELETE /api/delete."""


class StatusLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a pull or a creation; sizes in bytes."""

    status: str
    digest: str | None = None
    total: int | None = None
    completed: int | None = None
