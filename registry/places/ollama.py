"""Ollama's store: which names it has, and which file each of them means. Nothing in it is changed here.

    manifests/HOST/NAMESPACE/MODEL/TAG      JSON: the layers, each with media type, digest and size
    blobs/sha256-HEX                        the layers themselves

Everything in a manifest is a stranger's: a digest must be 64 hex digits, so that it cannot lead out of `blobs`, and the
size must be that of the file. Not here: what a layer of weights turns out to be (`registry.scan.inspection`).

Source: ollama, `types/model/name.go` (the parts of a name), `server/manifest.go`, `server/layer.go` (the layout).
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from registry.errors import ArtifactError, InvalidModelNameError
from registry.files import read_small
from registry.names import check_model_name

MAX_MANIFEST_BYTES: Final = 256 << 10
"""Real ones have under 2 kB."""

MAX_MANIFESTS: Final = 20_000
MAX_LAYERS: Final = 64

MODEL_LAYER: Final = "application/vnd.ollama.image.model"
PROJECTOR_LAYER: Final = "application/vnd.ollama.image.projector"
ADAPTER_LAYER: Final = "application/vnd.ollama.image.adapter"

DEFAULT_NAMESPACE: Final = "library"

_DIGEST: Final = re.compile(r"sha256:(?P<hex>[0-9a-f]{64})", re.ASCII)
_PART: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII)
_HOST: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII)


class Layer(msgspec.Struct, frozen=True, rename={"media_type": "mediaType"}, kw_only=True):
    """One layer; unknown fields are left alone.

    Attributes:
        digest: `sha256:` and 64 hex digits, once `read_manifest` has checked it.
        size: In bytes.
    """

    media_type: str = ""
    digest: str = ""
    size: int = -1


class _Document(msgspec.Struct, frozen=True):
    layers: tuple[Layer, ...] = ()
    config: Layer | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """One name of the store.

    Attributes:
        name: `NAME:TAG` or `NAMESPACE/NAME:TAG`, lower case; a valid model name.
        origin: What stays the same when the tag is pulled anew.
        config: The layer beside the layers, if any.
    """

    path: Path
    name: str
    origin: str
    layers: tuple[Layer, ...]
    config: Layer | None

    def blob_names(self) -> frozenset[str]:
        """Give the names of all blobs that this name needs."""
        return frozenset(blob_name(layer) for layer in (*self.layers, *([self.config] if self.config else [])))

    def layers_of(self, media_type: str) -> tuple[Layer, ...]:
        """Give the layers of one media type."""
        return tuple(layer for layer in self.layers if layer.media_type == media_type)


def blob_name(layer: Layer) -> str:
    """Give the file name of a checked layer's blob."""
    return layer.digest.replace(":", "-")


def manifest_files(root: Path, folders: list[Path] | None = None) -> Iterator[Path]:
    """List the manifests' files, sorted by folder: regular files exactly four folders deep.

    Links to folders are not followed.
    """
    num_left = MAX_MANIFESTS
    pending = [(root / "manifests", 0)]
    while pending:
        folder, depth = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            continue  # An absent or unreadable folder has no names to offer.
        if folders is not None:
            folders.append(folder)
        for entry in found:
            if entry.name.startswith(".") or num_left == 0:
                continue
            num_left -= 1
            if depth == 3 and entry.is_file(follow_symlinks=False):  # noqa: PLR2004 - HOST/NAMESPACE/MODEL/TAG
                yield folder / entry.name
            elif depth < 3 and entry.is_dir(follow_symlinks=False):  # noqa: PLR2004
                pending.append((folder / entry.name, depth + 1))


def read_manifest(root: Path, path: Path) -> Manifest:
    """Read one manifest, of `manifest_files`.

    Raises:
        ArtifactError: bad_manifest: it is no manifest, or says what no store would. Or it cannot be read.
    """
    host, namespace, model, tag = path.relative_to(root / "manifests").parts
    name = f"{model}:{tag}" if namespace == DEFAULT_NAMESPACE else f"{namespace}/{model}:{tag}"
    try:
        is_name = _HOST.fullmatch(host) and all(_PART.fullmatch(part) for part in (namespace, model, tag))
        if not is_name:
            raise ArtifactError("bad_manifest", "its folders are no name of a model", path=path)
        check_model_name(name.lower())
        document = msgspec.json.decode(read_small(path, MAX_MANIFEST_BYTES), type=_Document)
    except InvalidModelNameError as exc:
        raise ArtifactError("bad_manifest", f"its name cannot be used here: {exc}", path=path) from exc
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise ArtifactError("bad_manifest", f"it is no manifest: {exc}", path=path) from exc
    layers = (*document.layers, *([document.config] if document.config else []))
    if len(layers) > MAX_LAYERS:
        raise ArtifactError("bad_manifest", f"it has {len(layers)} layers; the limit is {MAX_LAYERS}", path=path)
    for layer in layers:
        if _DIGEST.fullmatch(layer.digest) is None or layer.size < 0:
            raise ArtifactError("bad_manifest", f"a layer has the digest {layer.digest[:80]!r}", path=path)
    return Manifest(
        path=path,
        name=name.lower(),
        origin=f"ollama:{host}/{namespace}/{model}/{tag}",
        layers=document.layers,
        config=document.config,
    )


def stands_for(manifest: Manifest, blob_names: frozenset[str]) -> bool:
    """Tell whether a manifest's weights are among some blobs."""
    return any(blob_name(layer) in blob_names for layer in manifest.layers_of(MODEL_LAYER))


def blobs_in_use(root: Path) -> frozenset[str] | None:
    """Name the blobs that some manifest needs; None when one cannot be read, so that any blob may be in use."""
    names: set[str] = set()
    for path in manifest_files(root):
        try:
            names |= read_manifest(root, path).blob_names()
        except ArtifactError as exc:
            if exc.code == "not_found":
                continue
            return None
    return frozenset(names)


def model_layer(manifest: Manifest) -> Layer:
    """Give the only layer that has a model's weights.

    Raises:
        ArtifactError: no_weights, several_weights or has_adapter: the name means more or less than one file of weights.
    """
    found = manifest.layers_of(MODEL_LAYER)
    if not found:
        raise ArtifactError("no_weights", "it has no layer with a model in a form that mlxr reads", path=manifest.path)
    if len(found) > 1:
        raise ArtifactError("several_weights", f"it has {len(found)} layers of weights, not one", path=manifest.path)
    if manifest.layers_of(ADAPTER_LAYER):
        raise ArtifactError("has_adapter", "it is a model with an adapter laid over it", path=manifest.path)
    return found[0]
