"""The checksums of known models, one artifact at a time, and what follows from them.

Equal bytes become one artifact; bytes that are not what the name of their file says make an artifact bad. Not here:
when to do it (the server does it in the background), and a single file's checksum (`sha256.py`).
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from registry.catalogue import FileHash
from registry.checksums.sha256 import HashingStoppedError, hash_file
from registry.errors import ArtifactError
from registry.files import size_and_time
from registry.store import Registry


class HashTask(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact whose bytes were not read yet.

    Attributes:
        left: Those without a computed checksum.
    """

    artifact_id: int
    files: tuple[str, ...]
    left: tuple[str, ...]
    left_bytes: int


class HashedArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a task.

    Attributes:
        sha256: Of the artifact; None when it could not be computed.
        merged: Paths of artifacts that had the same bytes and are copies now.
        problem: What is wrong, or None.
    """

    artifact_id: int
    sha256: str | None = None
    merged: tuple[str, ...] = ()
    problem: str | None = None


def pending_hashes(registry: Registry) -> tuple[HashTask, ...]:
    """List what is left to do: first what has the size of another and so may have its bytes, then small ones first."""
    artifacts = registry.artifacts.hashable()
    num_of_size = Counter(size_bytes for _, size_bytes, _ in artifacts)
    known = registry.files.hashes(file for _, _, files in artifacts for file in files)
    tasks = []
    for artifact_id, size_bytes, files in artifacts:
        left = tuple(file for file in files if not _is_computed(file, known.get(file)))
        if left:
            left_bytes = sum(map(_size, left))
            order = (num_of_size[size_bytes] == 1, left_bytes, artifact_id)
            task = HashTask(artifact_id=artifact_id, files=files, left=left, left_bytes=left_bytes)
            tasks.append((order, task))
    return tuple(task for _, task in sorted(tasks, key=lambda item: item[0]))


def hash_artifact(
    registry: Registry,
    task: HashTask,
    *,
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> HashedArtifact:
    """Compute the checksums of an artifact's files, record them, and act on what they say.

    Args:
        on_progress: Called with the number of bytes of each piece that was read.
        should_stop: Asked between pieces; files that were finished before are kept. A HashingStoppedError follows.
    """
    said = registry.files.hashes(task.left)
    for file in task.left:
        try:
            computed = hash_file(file, on_progress=on_progress, should_stop=should_stop)
        except HashingStoppedError:
            raise
        except ArtifactError as exc:
            return HashedArtifact(artifact_id=task.artifact_id, problem=exc.reason)
        problem = _contradiction(computed, said.get(file))
        if problem is not None:
            with registry.write():
                registry.files.put_hashes([computed])
                registry.artifacts.mark(task.artifact_id, "bad", problem)
            return HashedArtifact(artifact_id=task.artifact_id, problem=problem)
        registry.files.put_hashes([computed])
    return _conclude(registry, task)


def _conclude(registry: Registry, task: HashTask) -> HashedArtifact:
    """Give the artifact its checksum and bring it together with its equals."""
    sha256 = registry.files.sha256_of(task.files)
    if sha256 is None:
        return HashedArtifact(artifact_id=task.artifact_id, problem="its files changed meanwhile")
    with registry.write():
        registry.artifacts.set_sha256(task.artifact_id, sha256)
        merged = registry.copies.merge_equal(task.artifact_id)
    return HashedArtifact(artifact_id=task.artifact_id, sha256=sha256, merged=merged)


def _contradiction(computed: FileHash, said: FileHash | None) -> str | None:
    if said is None or said.is_computed or said.sha256 == computed.sha256:
        return None
    return (
        f"{Path(computed.path).name} is damaged: its bytes have the sha256 {computed.sha256}, its name says "
        f"{said.sha256}; get it again"
    )


def _is_computed(file: str, known: FileHash | None) -> bool:
    if known is None or not known.is_computed:
        return False
    try:
        return size_and_time([file]) == (known.size_bytes, known.mtime_ns)
    except OSError:
        return True  # Gone: nothing is left to hash.


def _size(file: str) -> int:
    try:
        return size_and_time([file])[0]
    except OSError:
        return 0
