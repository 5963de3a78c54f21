"""Makes, copies and removes models while the server runs: blocking work in threads, one at a time for a name.

Not here: what a protocol asks for and how it is told (`router.protocols.ollama`).
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from registry.catalogue import Model
from registry.creating.models import create_from_files, create_from_model
from registry.creating.uploads import Upload, drop_upload, find_blob, note_blob
from registry.disk import make_folder, translate_os_errors
from registry.errors import ArtifactError
from registry.pull.folder import PARTIAL_NAME
from registry.removing.removal import remove_model
from registry.store import Registry
from registry.threads import in_thread, locked, with_registry
from router.errors import InvalidRequestError, RequestTooLargeError
from router.http.caller import current_caller
from router.models.permission import check_may_name

MAX_UPLOADS: Final = 4
"""At a time; others wait. One alone keeps a disk busy."""

_BUFFER_BYTES: Final = 1 << 20


class ModelMaking:
    """One per gateway."""

    def __init__(self, models_dir: Path, database: Path, *, max_upload_bytes: int) -> None:
        self._models_dir = models_dir
        self._database = database
        self._max_upload_bytes = max_upload_bytes
        self._upload_slots = asyncio.Semaphore(MAX_UPLOADS)

    async def create_from_model(self, name: str, source: str, changes: Mapping[str, Any] | None = None) -> Model:
        """Make a model of another; arguments and errors as of `registry.creating.models.create_from_model`.

        Raises:
            ModelNameNotAllowedError: The name is not for whoever asks.
        """
        async with self._naming(name):
            return await with_registry(
                self._database, lambda registry: create_from_model(registry, self._models_dir, name, source, changes)
            )

    async def create_from_files(
        self, name: str, files: Sequence[tuple[str, str]], changes: Mapping[str, Any] | None = None
    ) -> Model:
        """Make a model of uploads.

        Args:
            files: Name -> SHA-256 in hex.

        Raises:
            ModelNameNotAllowedError: The name is not for whoever asks.
            InvalidRequestError: A file was not uploaded.
            RegistryError: As of `registry.creating.models.create_from_files`.
        """
        async with self._naming(name):
            found: list[tuple[str, Path]] = []
            proved: dict[Path, str] = {}
            for file, sha256 in files:
                path = await self.find_blob(sha256)
                if path is None:
                    raise InvalidRequestError(
                        f"files: there is no blob sha256:{sha256}; upload it with POST /api/blobs/sha256:{sha256}.",
                        "files",
                    )
                found.append((file, path))
                proved[path] = sha256
            made = await with_registry(
                self._database,
                lambda registry: create_from_files(registry, self._models_dir, name, found, changes, sha256s=proved),
            )
            await in_thread(partial(self._keep_blobs, made, [sha256 for _, sha256 in files]))
            return made

    async def remove(self, name: str) -> None:
        """Remove a model, with the files that are mlxr's own; errors as of `registry.removing.removal.remove_model`."""
        async with self._naming(name):
            await with_registry(self._database, lambda registry: remove_model(registry, name))

    async def remove_alias(self, alias: str) -> None:
        """Take away a name of a model that keeps another.

        Raises:
            InvalidRequestError: It is the name that Ollama's own store has for the model.
            ModelNotFoundError: There is no such alias.
        """

        def run(registry: Registry) -> None:
            if registry.aliases.is_found(alias):
                raise InvalidRequestError(
                    f"{alias!r} is a name in Ollama's own store, which is only read here; remove it with Ollama.",
                    "model",
                )
            registry.aliases.remove(alias)

        await with_registry(self._database, run)

    async def name_of_new(self, candidates: tuple[str, ...]) -> str:
        """Return the name of what is made: that of what it replaces, or the last one; errors as of the registry.

        Raises:
            ModelNameNotAllowedError: It is not for whoever asks.
        """
        caller = current_caller()

        def run(registry: Registry) -> str:
            known = (name for name in candidates if registry.models.find_exactly(name) is not None)
            name = next(known, candidates[-1])
            check_may_name(registry, caller, name)
            return name

        return await with_registry(self._database, run)

    async def find_blob(self, sha256: str) -> Path | None:
        """Find a file with certain bytes; arguments and errors as of `registry.creating.uploads.find_blob`."""
        return await in_thread(partial(find_blob, self._database, sha256))

    async def take_upload(self, sha256: str, chunks: AsyncIterator[bytes], *, size_bytes: int | None) -> None:
        """Write a file as it comes. Memory does not grow with it.

        Args:
            sha256: What its bytes must have: 64 hex digits, checked.
            chunks: The bytes.
            size_bytes: As the client declares; None when it does not.

        Raises:
            RequestTooLargeError: It is larger than the limit.
            InvalidRequestError: The bytes have another checksum.
            PullDiskFullError: There is no room for it.
            PullStoreError: It cannot be written.
            RouterError: What `chunks` raises.
        """
        if size_bytes is not None and size_bytes > self._max_upload_bytes:
            raise RequestTooLargeError(self._max_upload_bytes)
        async with self._upload_slots:
            begin = partial(Upload.begin, self._models_dir, self._database, sha256, size_bytes=size_bytes)
            upload = await in_thread(begin)
            try:
                await self._write(upload, chunks)
                await in_thread(upload.finish)
            except ArtifactError as exc:
                raise InvalidRequestError(f"{exc}.", "digest") from exc
            finally:
                upload.close()

    async def _write(self, upload: Upload, chunks: AsyncIterator[bytes]) -> None:
        buffer = bytearray()
        num_bytes = 0
        async for chunk in chunks:
            num_bytes += len(chunk)
            if num_bytes > self._max_upload_bytes:
                raise RequestTooLargeError(self._max_upload_bytes)
            buffer += chunk
            if len(buffer) >= _BUFFER_BYTES:
                await in_thread(partial(upload.write, bytes(buffer)))
                buffer.clear()
        await in_thread(partial(upload.write, bytes(buffer)))

    def _keep_blobs(self, made: Model, digests: Sequence[str]) -> None:
        """Find the uploads under their places in the model from now on, and let go of their first names."""
        if len(digests) == 1 and len(made.artifacts) == 1:
            note_blob(self._database, digests[0], Path(made.artifacts[0].path))
            drop_upload(self._models_dir, self._database, digests[0])

    @asynccontextmanager
    async def _naming(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of a name that is for whoever asks, in this process and against others."""
        current_caller().check_may_name(name)
        folder = self._models_dir / PARTIAL_NAME
        with translate_os_errors(folder):
            make_folder(folder, self._models_dir)
        async with locked(folder / f"name-{hashlib.sha256(name.encode()).hexdigest()[:40]}.lock"):
            yield
