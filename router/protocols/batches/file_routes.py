"""Routes of files: upload, list, describe, read, delete.

Source: OpenAI API reference, "Files".
"""

import secrets
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Final

from litestar.params import FromPath
from litestar.types import ASGIApp

from registry.threads import in_thread
from router.errors import (
    FileInUseError,
    FileNotFoundHereError,
    InvalidRequestError,
    RequestTooLargeError,
    UnsupportedFieldError,
)
from router.http.asgi import json_reply
from router.http.dialect import OPENAI
from router.http.streaming import EventStream
from router.jobs.batches.base import StoredFile
from router.jobs.batches.files import drop_file, read_part
from router.jobs.batches.runner import Batches
from router.protocols.batches.objects import DeletedFile, FileList, FileObject
from router.protocols.batches.uploads import FileForm, Form, take_form
from router.protocols.endpoint import BINARY, FORM, Answer, Body, Parameter
from router.protocols.openai.api import OPENAI_API
from router.protocols.parts import AnyRequest, BatchesPart, ServingPart
from router.protocols.queries import AFTER, ORDER, is_newest_first, known_parameters, limit_in, number_in, page_limit

_FILES: Final = (AFTER, page_limit(10_000), ORDER, Parameter(name="purpose", type=str, what="Only files of this one."))

PURPOSES: Final = ("batch",)
MAX_LIMIT: Final = 10_000
MIN_EXPIRY_S: Final = 3_600
MAX_EXPIRY_S: Final = 2_592_000
_CHUNK_BYTES: Final = 1 << 18
_OVERHEAD_BYTES: Final = 64 << 10


@OPENAI_API.post("/v1/files", FileObject, body=Body(FileForm, FORM))
async def upload_file(request: AnyRequest, serving: ServingPart, batches: BatchesPart) -> ASGIApp:
    """Take a file."""
    limits = serving.config.batches
    num_kept = sum(file.num_bytes for file in await batches.store.call(lambda store: store.files()))
    max_bytes = min(limits.max_file_bytes, limits.max_bytes - num_kept)
    if max_bytes <= 0:
        raise InvalidRequestError(
            "file: all files together take batches.max_bytes of the config already; delete some, or raise it", "file"
        )
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > max_bytes + _OVERHEAD_BYTES:
        raise RequestTooLargeError(max_bytes)
    file_id = f"file-{secrets.token_hex(16)}"
    form = await take_form(request, batches.files_dir, file_id, max_bytes=max_bytes)
    try:
        file = _file_of(form, file_id)
        await batches.store.call(lambda store: store.put_file(file))
    except BaseException:
        drop_file(batches.files_dir, file_id)
        raise
    return json_reply(FileObject.of(file))


@OPENAI_API.get("/v1/files", FileList, query=_FILES)
async def list_files(request: AnyRequest, batches: BatchesPart) -> ASGIApp:
    """List files."""
    given = known_parameters(request, "after", "limit", "order", "purpose")
    newest_first, limit = is_newest_first(given), limit_in(given, most=MAX_LIMIT, default=MAX_LIMIT)
    files = await batches.store.call(lambda store: store.files())
    shown = [FileObject.of(file) for file in files if given.get("purpose", file.purpose) == file.purpose]
    ordered = shown if newest_first else shown[::-1]
    return json_reply(FileList.of(ordered, after=given.get("after"), limit=limit, missing="there is no file {}"))


@OPENAI_API.get("/v1/files/{file_id:str}", FileObject)
async def get_file(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Describe a file."""
    return json_reply(FileObject.of(await _found(batches, file_id)))


@OPENAI_API.get("/v1/files/{file_id:str}/content", answers={200: Answer((bytes,), BINARY)})
async def get_file_content(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Send a file."""
    file = await _found(batches, file_id)
    return EventStream(
        _content(batches.files_dir, file),
        dialect=OPENAI,
        media_type=b"application/octet-stream",
        headers=[(b"content-length", str(file.num_bytes).encode())],
    )


@OPENAI_API.delete("/v1/files/{file_id:str}", DeletedFile)
async def delete_file(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Delete a file that no running batch needs."""
    file = await _found(batches, file_id)
    for batch in await batches.store.call(lambda store: store.unfinished()):
        if batch.input_file_id == file.file_id:
            raise FileInUseError(file.file_id, batch.batch_id)
    await batches.store.call(lambda store: store.delete_file(file.file_id))
    await in_thread(partial(drop_file, batches.files_dir, file.file_id))
    return json_reply(DeletedFile(id=file.file_id, object="file", deleted=True))


def _file_of(form: Form, file_id: str) -> StoredFile:
    purpose = form.fields.get("purpose")
    if purpose not in PURPOSES:
        known = " and ".join(PURPOSES)
        raise UnsupportedFieldError(f"purpose: {purpose!r:.40} is not supported; there is {known}", "purpose")
    now = time.time()
    return StoredFile(
        file_id=file_id,
        filename=form.filename,
        purpose=purpose,
        num_bytes=form.num_bytes,
        created_at=now,
        expires_at=_expiry(form.fields, now),
    )


def _expiry(fields: dict[str, str], now: float) -> float | None:
    text, anchor = fields.get("expires_after[seconds]"), fields.get("expires_after[anchor]")
    if text is None and anchor is None:
        return None
    if anchor != "created_at":
        raise InvalidRequestError("expires_after[anchor]: it must be created_at", "expires_after[anchor]")
    seconds = number_in(text or "", MIN_EXPIRY_S, MAX_EXPIRY_S)
    if seconds is None:
        problem = f"expires_after[seconds]: a whole number from {MIN_EXPIRY_S} to {MAX_EXPIRY_S}"
        raise InvalidRequestError(problem, "expires_after[seconds]")
    return now + seconds


async def _found(batches: Batches, file_id: str) -> StoredFile:
    file = await batches.store.call(lambda store: store.file(file_id))
    if file is None:
        raise FileNotFoundHereError(file_id, "file_id")
    return file


async def _content(folder: Path, file: StoredFile) -> AsyncGenerator[bytes, None]:
    for offset in range(0, file.num_bytes, _CHUNK_BYTES):
        num_bytes = min(_CHUNK_BYTES, file.num_bytes - offset)
        yield await in_thread(partial(read_part, folder, file.file_id, offset, num_bytes))


FILE_ROUTES = (upload_file, list_files, get_file, get_file_content, delete_file)
