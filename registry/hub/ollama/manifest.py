"""What an Ollama registry says of one model: JSON of a stranger in, checked layers out. No network.

Source: ollama, `server/manifest.go` and `server/images.go` (the layout and the media types); the OCI image manifest.
"""

from typing import Final

import msgspec

from registry.errors import HubAnswerError, NothingToPullError
from registry.hub.answers import MAX_FILE_BYTES
from registry.hub.references import OllamaReference, is_sha256
from registry.places.ollama import ADAPTER_LAYER, MAX_LAYERS, MODEL_LAYER, PROJECTOR_LAYER, Layer

PARAMETERS_LAYER: Final = "application/vnd.ollama.image.params"
SYSTEM_LAYER: Final = "application/vnd.ollama.image.system"
MESSAGES_LAYER: Final = "application/vnd.ollama.image.messages"
LICENSE_LAYER: Final = "application/vnd.ollama.image.license"
_TEXTS: Final = frozenset({PARAMETERS_LAYER, SYSTEM_LAYER, MESSAGES_LAYER, LICENSE_LAYER})
_DIGEST_PREFIX: Final = "sha256:"


class _Document(msgspec.Struct, rename={"schema_version": "schemaVersion"}):
    layers: list[Layer]
    schema_version: int = 2


class RemoteManifest(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a registry.

    Attributes:
        texts: The small layers that are made settings: parameters, system prompt, messages, licences.
        projector: What makes rows of pictures for it; None = there is none.
    """

    model: Layer
    texts: tuple[Layer, ...] = ()
    projector: Layer | None = None


def sha256_of(layer: Layer) -> str:
    """Give the hex digits of a checked layer's digest."""
    return layer.digest.removeprefix(_DIGEST_PREFIX)


def read_remote_manifest(body: bytes, reference: OllamaReference) -> RemoteManifest:
    """Read a manifest; the caller has checked its size.

    Raises:
        HubAnswerError: It is malformed, or says what no registry may say.
        NothingToPullError: It has no weights in one GGUF file, or an adapter over them.
    """
    try:
        layers = msgspec.json.decode(body, type=_Document).layers
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise HubAnswerError(f"The registry's manifest of {reference.name} cannot be read: {str(exc)[:200]}.") from exc
    if len(layers) > MAX_LAYERS:
        raise HubAnswerError(f"{reference.name} has {len(layers)} layers; the limit is {MAX_LAYERS}.")
    for layer in layers:
        digest = layer.digest
        if not digest.startswith(_DIGEST_PREFIX) or not is_sha256(digest.removeprefix(_DIGEST_PREFIX)):
            raise HubAnswerError(f"{reference.name} has a layer with the digest {digest[:80]!a}; nothing is pulled.")
        if not 0 <= layer.size <= MAX_FILE_BYTES:
            raise HubAnswerError(f"{reference.name} has a layer of {layer.size} bytes, which cannot be.")
    kinds = [layer.media_type for layer in layers]
    return RemoteManifest(
        model=_weights(layers, kinds, reference),
        texts=tuple(layer for layer in layers if layer.media_type in _TEXTS),
        projector=next((layer for layer in layers if layer.media_type == PROJECTOR_LAYER), None),
    )


def _weights(layers: list[Layer], kinds: list[str], reference: OllamaReference) -> Layer:
    if ADAPTER_LAYER in kinds:
        raise NothingToPullError(
            f"{reference.name} is an adapter over another model; pull that one, and add the adapter's file to it."
        )
    found = [layer for layer in layers if layer.media_type == MODEL_LAYER]
    if len(found) == 1:
        return found[0]
    what = "no weights in a GGUF file" if not found else f"{len(found)} files of weights, not one"
    raise NothingToPullError(f"{reference.name} has {what}; there is nothing to run in it.")
