"""Whether the files of artifacts are still what they were: every byte read again, every header parsed again.

What a file's checksum is compared with, first that is known: what the hub said when it was pulled, what was computed
here while size and time were the same, what its own name says. Not here: computing checksums for the first time in the
background (`hashing.py`), and mending (`mlxr models pull`, `rm`).
"""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from registry.catalogue import Artifact, FileHash, all_files, combined_sha256, file_version
from registry.checksums.sha256 import HashingStoppedError, hash_file, sha256_of_blob_name
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat, ModelFacts
from registry.files import open_regular, pread_exact, size_and_time
from registry.gguf.facts import facts_from_headers
from registry.gguf.header import read_header
from registry.gguf.projector import read_projector
from registry.mlx.folder import read_mlx_dir
from registry.store import Registry

_GIT_PIECE_BYTES = 4 << 20


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What came out for one artifact.

    Attributes:
        state: `ok`; `bad` (other bytes than recorded, or it does not parse); `missing`; `changed` (the files were
            replaced since the last scan, which will read them).
        problem: One sentence, None when it is ok.
        num_compared: Files whose checksum was compared with a known one; the others' were recorded for the next time.
    """

    model_name: str
    format: ArtifactFormat
    path: str
    state: Literal["ok", "bad", "missing", "changed"]
    problem: str | None = None
    num_bytes: int = 0
    num_compared: int = 0
    num_files: int = 0


def read_facts(artifact: Artifact) -> ModelFacts:
    """Read an artifact's facts from its files again; an ArtifactError says that they are no model any more."""
    if artifact.format is ArtifactFormat.MLX:
        return read_mlx_dir(artifact.path)
    facts = facts_from_headers([read_header(Path(file)) for file in artifact.files])
    vision = None if artifact.mmproj_path is None else read_projector(artifact.mmproj_path)
    return msgspec.structs.replace(facts, vision=vision)


def size_to_verify(artifacts: Iterable[Artifact]) -> int:
    """Add up what `verify` will read of some artifacts, bytes."""
    return sum(
        artifact.size_bytes + (artifact.vision.size_bytes if artifact.vision and artifact.mmproj_path else 0)
        for artifact in artifacts
        if artifact.status != "missing"
    )


def verify(
    registry: Registry,
    artifact: Artifact,
    *,
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Verified:
    """Read one artifact again, record what was found, and mark it when it is not what it should be.

    Args:
        on_progress: Called with the number of bytes of each piece.

    Raises:
        HashingStoppedError: `should_stop` said so; nothing is recorded.
    """
    base = Verified(
        model_name=artifact.model_name,
        format=artifact.format,
        path=artifact.path,
        state="ok",
        num_files=len(all_files(artifact)),
    )
    gone = next((file for file in all_files(artifact) if not Path(file).exists()), None)
    if gone is not None and gone == artifact.mmproj_path:  # the model itself is there
        problem = f"{gone} is gone; `mlxr models scan` goes on without it"
        return msgspec.structs.replace(base, state="changed", problem=problem)
    if gone is not None:
        reason = f"{gone} is gone"
        registry.artifacts.mark(artifact.id, "missing", reason)
        return msgspec.structs.replace(base, state="missing", problem=reason)
    if _looks_otherwise(artifact):
        problem = "its files were replaced or written to since the last scan; `mlxr models scan` reads them"
        return msgspec.structs.replace(base, state="changed", problem=problem)
    return _read_again(registry, artifact, base, partial(hash_file, on_progress=on_progress, should_stop=should_stop))


def _looks_otherwise(artifact: Artifact) -> bool:
    """Tell whether size or time of the files, or of the projector, are not those that were recorded."""
    now = size_and_time(artifact.files)
    vision, path = artifact.vision, artifact.mmproj_path
    if vision is None or path is None or not vision.version:
        return now != (artifact.size_bytes, artifact.mtime_ns)
    is_same_projector = file_version(*size_and_time([path])) == vision.version
    return now != (artifact.size_bytes, artifact.mtime_ns) or not is_same_projector


def _read_again(
    registry: Registry, artifact: Artifact, base: Verified, hash_one: Callable[[str], FileHash]
) -> Verified:
    known = _known_checksums(registry, artifact)
    computed: list[FileHash] = []
    problem: str | None = None
    try:
        for file in all_files(artifact):
            computed.append(hash_one(file))
            problem = problem or _contradiction(computed[-1], known.get(file))
        facts = read_facts(artifact)
        if problem is None and not _says_the_same(facts, artifact.facts):
            problem = "its header says other things than were recorded"
    except HashingStoppedError:
        raise
    except ArtifactError as exc:
        problem = problem or exc.reason
    num_bytes = sum(item.size_bytes for item in computed)
    num_compared = sum(item.path in known for item in computed)
    base = msgspec.structs.replace(base, num_bytes=num_bytes, num_compared=num_compared)
    if problem is not None:
        registry.artifacts.mark(artifact.id, "bad", problem)
        return msgspec.structs.replace(base, state="bad", problem=problem)
    with registry.write():
        registry.files.put_hashes(computed)
        checksum = combined_sha256(computed[: len(artifact.files)])
        if checksum is not None:
            registry.artifacts.set_sha256(artifact.id, checksum)
    return base


def _known_checksums(registry: Registry, artifact: Artifact) -> dict[str, str]:
    """Give what each file's checksum should be: `<64 hex>` of its bytes, or `git:<40 hex>` as git names them."""
    known: dict[str, str] = {}
    files = all_files(artifact)
    for file in files:
        named = sha256_of_blob_name(Path(file).resolve().name)
        if named is not None:
            known[file] = named
    for path, item in registry.files.hashes(files).items():
        if (item.size_bytes, item.mtime_ns) == size_and_time([path]):
            known[path] = item.sha256
    for file in files:
        kind, _, value = (registry.files.blob_at(file) or "").partition("-")
        if kind == "sha256":
            known[file] = value
        elif kind == "sha1":
            known[file] = f"git:{value}"
    return known


def _contradiction(computed: FileHash, known: str | None) -> str | None:
    """Compare a file's checksum with what it should be."""
    if known is None:
        return None
    found = _git_sha1(computed.path) if known.startswith("git:") else computed.sha256
    if found == known.removeprefix("git:"):
        return None
    return (
        f"{Path(computed.path).name} has other bytes than it should (checksum {found[:12]}…, not {known[-64:][:12]}…)"
    )


def _git_sha1(path: str) -> str:
    """Give the name that git has for a file's bytes. Source: git-hash-object(1): `blob SIZE`, a NUL, the bytes."""
    with open_regular(Path(path)) as (fd, info):
        digest = hashlib.sha1(b"blob %d\0" % info.st_size, usedforsecurity=False)
        for offset in range(0, info.st_size, _GIT_PIECE_BYTES):
            digest.update(pread_exact(fd, min(_GIT_PIECE_BYTES, info.st_size - offset), offset))
    return digest.hexdigest()


def _says_the_same(now: ModelFacts, before: ModelFacts) -> bool:
    """Compare facts; those that an older mlxr did not read are left out, and what was said of projectors beside it."""
    unread = {name: None for name in ("memory", "sampling", "vision") if getattr(before, name) is None}
    return msgspec.structs.replace(now, **unread, warnings=before.warnings) == before
