"""Names of models in an Ollama registry: `[NAMESPACE/]MODEL[:TAG]`. Pure.

Not here: whether there is such a model, and the names of models in the catalogue (`registry.names`).

Source: ollama, `types/model/name.go` (the parts of a name and their defaults).
"""

import re
from typing import Final

import msgspec

from registry.errors import InvalidModelNameError, InvalidReferenceError
from registry.names import check_model_name

DEFAULT_NAMESPACE: Final = "library"
DEFAULT_TAG: Final = "latest"
SCHEME: Final = "ollama://"

_HOSTS: Final = ("registry.ollama.ai/", "ollama.com/", "www.ollama.com/")
"""The public registry under its several names; another one is set in the config, not in a name."""

_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_MAX_PARTS: Final = 2


class OllamaReference(msgspec.Struct, frozen=True, kw_only=True, tag="ollama"):
    """A model of an Ollama registry. The parts are safe as names of folders and in addresses.

    Attributes:
        namespace: Who publishes it; `library` for Ollama's own.
        model: Without a tag, as typed.
        tag: As typed; `latest` without one.
    """

    namespace: str
    model: str
    tag: str

    @property
    def repository(self) -> str:
        """`NAMESPACE/MODEL`, as addresses have it."""
        return f"{self.namespace}/{self.model}"

    @property
    def name(self) -> str:
        """The model's name in the catalogue."""
        own = f"{self.model}:{self.tag}".lower()
        return own if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace.lower()}/{own}"


def parse_ollama_name(text: str) -> OllamaReference:
    """Take a name apart.

    Args:
        text: E.g. `smollm2:135m`, `user/model`, `ollama.com/library/qwen3:0.6b`.

    Raises:
        InvalidReferenceError: It is no such name.
    """
    shown = ascii(text[:80])
    named = text.removeprefix("https://")
    host = next((host for host in _HOSTS if named.lower().startswith(host)), "")
    path, colon, tag = named[len(host) :].partition(":")
    parts = path.split("/")
    if len(parts) > _MAX_PARTS:
        raise InvalidReferenceError(
            f"{shown} is no model of the Ollama registry: write [NAMESPACE/]MODEL[:TAG], or hf.co/ORG/REPO[:QUANT] for "
            "one of the hub. Another registry is set by hub.ollama_registry in the config."
        )
    namespace, model = parts if len(parts) == _MAX_PARTS else (DEFAULT_NAMESPACE, parts[0])
    reference = OllamaReference(namespace=namespace, model=model, tag=tag if colon else DEFAULT_TAG)
    parts = [reference.namespace, reference.model, reference.tag]
    if any(_PART.fullmatch(part) is None or ".." in part for part in parts):
        raise InvalidReferenceError(f"{shown} is no model's name; write [NAMESPACE/]MODEL[:TAG], e.g. smollm2:135m.")
    try:
        check_model_name(reference.name)
    except InvalidModelNameError as exc:
        raise InvalidReferenceError(f"{shown} cannot be used here: {exc}") from exc
    return reference
