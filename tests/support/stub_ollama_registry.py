"""An Ollama registry on loopback for tests: manifests and blobs in memory, with the faults of the stub hub."""

import asyncio
import hashlib
import json
import re
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from registry.hub.ollama.manifest import LICENSE_LAYER, MESSAGES_LAYER, PARAMETERS_LAYER, SYSTEM_LAYER
from registry.places.ollama import ADAPTER_LAYER, MODEL_LAYER, PROJECTOR_LAYER
from tests.support.hub_faults import Fault
from tests.support.stub_hub import StubHub

KINDS = {
    "model": MODEL_LAYER,
    "projector": PROJECTOR_LAYER,
    "adapter": ADAPTER_LAYER,
    "params": PARAMETERS_LAYER,
    "system": SYSTEM_LAYER,
    "messages": MESSAGES_LAYER,
    "license": LICENSE_LAYER,
    "template": "application/vnd.ollama.image.template",
}


class Published(NamedTuple):
    """A model of the registry: its layers in order, by kind."""

    layers: tuple[tuple[str, bytes], ...]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def published(weights: bytes, *, params: dict[str, Any] | None = None, **texts: str) -> Published:
    """A model as Ollama publishes them: weights, a Go template, and what else is given."""
    layers = [("model", weights), ("template", b"{{ if .System }}{{ .System }}{{ end }}{{ .Prompt }}")]
    if params is not None:
        layers.append(("params", json.dumps(params).encode()))
    layers += [(kind, text.encode()) for kind, text in texts.items()]
    return Published(tuple(layers))


class StubOllamaRegistry(StubHub):
    """Serves `models`: `NAMESPACE/MODEL:TAG` -> layers. Faults are scripted by name and the name of a kind of layer,
    or `manifest`."""

    def __init__(self, models: dict[str, Published] | None = None, *, bytes_per_s: float | None = None) -> None:
        super().__init__(bytes_per_s=bytes_per_s)
        self.models = models or {}

    def manifest(self, name: str) -> dict[str, Any]:
        layers = [
            {"mediaType": KINDS[kind], "digest": digest_of(data), "size": len(data)}
            for kind, data in self.models[name].layers
        ]
        config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": digest_of(b"{}"), "size": 2}
        return {"schemaVersion": 2, "config": config, "layers": layers}

    def blob_requests(self) -> list[str]:
        return [seen.path for seen in self.seen if "/blobs/" in seen.path]

    async def _answer(self, writer: asyncio.StreamWriter, origin: str, target: str, headers: dict[str, str]) -> bool:
        path = unquote(urlsplit(target).path)
        match = re.fullmatch(r"/v2/([^/]+/[^/]+)/(manifests|blobs)/([^/]+)", path)
        if path in self.api_answers or match is None:
            return await super()._answer(writer, origin, target, headers)
        repository, what, wanted = match.groups()
        if what == "manifests":
            return await self._manifest(writer, f"{repository}:{wanted}", path)
        for name, model in self.models.items():
            for kind, data in model.layers:
                if name.startswith(f"{repository}:") and digest_of(data) == wanted:
                    return await self._layer(writer, (name, kind), data, path, origin, headers)
        return await self._send(writer, 404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')

    async def _manifest(self, writer: asyncio.StreamWriter, name: str, path: str) -> bool:
        if name not in self.models:
            return await self._send(writer, 404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')
        plain = await self._plain_fault(writer, self._next_fault(name, "manifest"), path)
        if plain is not None:
            return plain
        return await self._send(writer, 200, json.dumps(self.manifest(name)).encode())

    async def _layer(
        self,
        writer: asyncio.StreamWriter,
        place: tuple[str, str],
        data: bytes,
        path: str,
        origin: str,
        headers: dict[str, str],
    ) -> bool:
        if self.is_redirecting and origin == "hub":
            return await self._send(writer, 307, b"", {"Location": f"{self.cdn_url}{path}?signed=1"})
        fault = self._next_fault(*place)
        if fault.kind == "redirect" and origin == "cdn":
            fault = Fault("none")
        plain = await self._plain_fault(writer, fault, path)
        return plain if plain is not None else await self._blob(writer, path, data, headers, fault)

    def _next_fault(self, name: str, what: str) -> Fault:
        script = self.faults[name, what]
        fault = script[0] if script else Fault("none")
        if script and not fault.is_forever:
            script.pop(0)
        return fault
