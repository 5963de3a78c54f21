"""Builds a store as Ollama has it, sound and hostile alike."""

import hashlib
import json
from pathlib import Path
from typing import Any

HOST = "registry.ollama.ai"


def put_blob(store: Path, data: bytes) -> str:
    """Write a blob; give its digest."""
    name = hashlib.sha256(data).hexdigest()
    path = store / "blobs" / f"sha256-{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(data)
    return f"sha256:{name}"


def layer(store: Path, data: bytes, kind: str, **changes: Any) -> dict[str, Any]:
    digest = put_blob(store, data)
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": len(data)} | changes


def put_manifest(store: Path, name: str, layers: list[dict[str, Any]], *, namespace: str = "library") -> Path:
    model, _, tag = name.partition(":")
    path = store / "manifests" / HOST / namespace / model / tag
    path.parent.mkdir(parents=True, exist_ok=True)
    config = layer(store, f"config of {namespace}/{name}".encode(), "config")
    path.write_text(json.dumps({"schemaVersion": 2, "config": config, "layers": layers}))
    return path


def put_model(store: Path, name: str, data: bytes, *, namespace: str = "library", extra: bytes = b"") -> Path:
    """Write a name with weights and a template of its own."""
    layers = [layer(store, data, "model"), layer(store, extra or f"template of {name}".encode(), "template")]
    return put_manifest(store, name, layers, namespace=namespace)


def blob_path(store: Path, data: bytes) -> Path:
    return store / "blobs" / f"sha256-{hashlib.sha256(data).hexdigest()}"
