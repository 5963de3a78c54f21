"""The questions that pulls ask an Ollama registry: a manifest, and the small layers beside the weights.

Only public models: what Ollama signs requests with is a key of its own, and no token of ours goes there. Not here: the
weights (`registry.pull`).
"""

import hashlib
from typing import Final

from registry.errors import HubAnswerError
from registry.hub.client import HubClient
from registry.hub.ollama.manifest import RemoteManifest, read_remote_manifest, sha256_of
from registry.hub.ollama.names import OllamaReference
from registry.places.ollama import MAX_MANIFEST_BYTES, Layer

MANIFEST_TYPE: Final = "application/vnd.docker.distribution.manifest.v2+json"


class OllamaRegistry:
    """Asks one registry.

    Args:
        client: On a `registry.hub.ollama_web.OllamaWeb` that has no token.
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
        """Fetch a small layer.

        Returns:
            Its bytes, which have the digest.

        Raises:
            HubAnswerError: They have another digest or size.
            HubError: Or another subclass.
        """
        if layer.size > limit_bytes:
            raise HubAnswerError(f"{reference.name} has a {layer.media_type} of {layer.size} bytes; {limit_bytes} do.")
        body = await self._client.small(self.blob_url(reference, layer), accept="*/*", limit_bytes=limit_bytes)
        if len(body) != layer.size or hashlib.sha256(body).hexdigest() != sha256_of(layer):
            raise HubAnswerError(f"{reference.name}: the registry sent other bytes than its manifest says; try again.")
        return body
