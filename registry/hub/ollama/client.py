"""The questions that pulls ask an Ollama registry: a manifest, and the small layers beside the weights.

Only public models: what Ollama signs requests with is a key of its own, and no token of ours goes there. Not here: the
weights (`registry.pull`).
"""

import hashlib
from typing import TYPE_CHECKING, Final

from registry.errors import HubAnswerError, HubAuthError, HubNotFoundError
from registry.hub.addresses import short
from registry.hub.client import HubClient
from registry.hub.ollama.manifest import RemoteManifest, read_remote_manifest, sha256_of
from registry.hub.references import OllamaReference
from registry.hub.web import Web
from registry.places.ollama import MAX_MANIFEST_BYTES, Layer

if TYPE_CHECKING:
    import httpx

MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"


class OllamaWeb(Web):
    """Connections to an Ollama registry: the same rules, and its own words for a refusal."""

    def _refusal(self, response: "httpx.Response", url: str, *, is_redirected: bool) -> Exception:
        error = super()._refusal(response, url, is_redirected=is_redirected)
        if isinstance(error, HubAuthError):
            return HubAuthError(
                f"{short(url)} answered {response.status_code}: only public models can be pulled from an Ollama "
                "registry; check the name."
            )
        if isinstance(error, HubNotFoundError):
            return HubNotFoundError(
                f"pull model manifest: file does not exist ({short(url)} answered {response.status_code}): the "
                "registry has no such model or tag."
            )
        return error


class OllamaRegistry:
    """Asks one registry. Any method may raise a HubError.

    Args:
        client: On an `OllamaWeb` that has no token.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self.web = client.web

    def blob_url(self, reference: OllamaReference, layer: Layer) -> str:
        """Give the address of a layer."""
        return f"{self.web.endpoint}/v2/{reference.repository}/blobs/{layer.digest}"

    async def manifest(self, reference: OllamaReference) -> RemoteManifest:
        """Ask what a name means now.

        Raises:
            NothingToPullError: It has no weights that could be run.
        """
        url = f"{self.web.endpoint}/v2/{reference.repository}/manifests/{reference.tag}"
        body = await self._client.small(url, accept=MANIFEST_TYPE, limit_bytes=MAX_MANIFEST_BYTES)
        return read_remote_manifest(body, reference)

    async def layer(self, reference: OllamaReference, layer: Layer, *, limit_bytes: int) -> bytes:
        """Fetch a small layer; its bytes have the digest, or it is a HubAnswerError."""
        if layer.size > limit_bytes:
            raise HubAnswerError(f"{reference.name} has a {layer.media_type} of {layer.size} bytes; {limit_bytes} do.")
        body = await self._client.small(self.blob_url(reference, layer), accept="*/*", limit_bytes=limit_bytes)
        if len(body) != layer.size or hashlib.sha256(body).hexdigest() != sha256_of(layer):
            raise HubAnswerError(f"{reference.name}: the registry sent other bytes than its manifest says; try again.")
        return body
