"""Routes of batches, and of the files with their requests: create, look, list, cancel, read, delete.

One of mlxr's own tells what has ended of a batch so far. Source: OpenAI API reference, "Batch", "Files".
"""

import re
import secrets
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from registry.threads import in_thread
from router.config.background import MAX_KEPT_S
from router.errors import (
    BatchNotFoundError,
    FileInUseError,
    FileNotFoundHereError,
    InvalidRequestError,
    RequestTooLargeError,
    UnsupportedFieldError,
)
from router.http.asgi import json_reply
from router.http.caller import Scope, current_caller
from router.http.dialect import OPENAI
from router.http.streaming import EventStream
from router.jobs.batches.base import Batch, FailurePolicy, StoredFile
from router.jobs.batches.files import drop_file, read_part
from router.jobs.batches.runner import Batches
from router.protocols.batches.objects import BatchList, BatchObject, DeletedFile, EndList, FileList, FileObject
from router.protocols.batches.uploads import FileForm, Form, take_form
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import BINARY, FORM, Answer, Body, Parameter
from router.protocols.openai.api import OPENAI_API
from router.protocols.parts import AnyRequest, BatchesPart, ServingPart
from router.protocols.queries import (
    AFTER,
    ORDER,
    is_newest_first,
    known_parameters,
    limit_in,
    number_in,
    number_of,
    page_limit,
)

_MAX_PLACE: Final = 10**9 - 1
_PLACE: Final = Parameter(
    name="after", type=Annotated[int, Meta(ge=0, le=_MAX_PLACE)], what="Place of the end that the list begins behind."
)

MAX_WINDOW_S: Final = 30 * 86_400
MAX_METADATA: Final = 16
_WINDOW: Final = re.compile(r"([1-9][0-9]{0,6})([smhd])")
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_ENDS: Final = 1000

PURPOSES: Final = ("batch", "vision", "user_data")
MAX_LIMIT: Final = 10_000
_PURPOSE: Final = Parameter(name="purpose", type=str, what="Only files of this one.")
MIN_EXPIRY_S: Final = 3_600
MAX_EXPIRY_S: Final = 2_592_000
_CHUNK_BYTES: Final = 1 << 18
_OVERHEAD_BYTES: Final = 64 << 10


class ExpiresAfter(msgspec.Struct, forbid_unknown_fields=True):
    """When a file goes."""

    anchor: Literal["created_at"]
    seconds: Annotated[int, Meta(ge=3600, le=2_592_000)]


class BatchRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/batches; `failure_policy` and `token_budget` are mlxr's own."""

    input_file_id: Annotated[str, Meta(min_length=1, max_length=256)]
    endpoint: Literal["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"]
    completion_window: Annotated[str, Meta(max_length=16)]
    metadata: Annotated[dict[str, str], Meta(max_length=MAX_METADATA)] | None = None
    output_expires_after: ExpiresAfter | None = None
    failure_policy: Literal["continue_independent", "fail_fast"] | None = None
    token_budget: Annotated[int, Meta(ge=1, le=10**15)] | None = None


@OPENAI_API.post("/v1/batches", BatchObject, body=BatchRequest, scope=Scope.INFERENCE, is_private=True)
async def create_batch(request: AnyRequest, serving: ServingPart, batches: BatchesPart) -> ASGIApp:
    """Begin a batch."""
    body = await serving.read(request, BatchRequest)
    window_s = window_seconds(body.completion_window)
    file = await batches.store.call(lambda store: store.file(body.input_file_id))
    if file is None or not current_caller().may_see(file.owner):
        raise FileNotFoundHereError(body.input_file_id, "input_file_id")
    if file.purpose != "batch":
        raise InvalidRequestError(
            f"input_file_id: {file.file_id} has the purpose {file.purpose}; upload a file with purpose batch",
            "input_file_id",
        )
    now = time.time()
    batch = Batch(
        batch_id=f"batch_{secrets.token_hex(16)}",
        endpoint=body.endpoint,
        input_file_id=file.file_id,
        completion_window=body.completion_window,
        created_at=now,
        expires_at=now + window_s,
        failure_policy=FailurePolicy(body.failure_policy or FailurePolicy.CONTINUE_INDEPENDENT),
        token_budget=body.token_budget,
        output_age_s=None if body.output_expires_after is None else float(body.output_expires_after.seconds),
        metadata=body.metadata,
        owner=current_caller().key_id,
    )
    return json_reply(await _shown(batches, await batches.start(batch)))


@OPENAI_API.get("/v1/batches", BatchList, query=(AFTER, page_limit(100)), scope=Scope.INFERENCE, is_private=True)
async def list_batches(request: AnyRequest, batches: BatchesPart) -> ASGIApp:
    """List batches."""
    given = known_parameters(request, "after", "limit")
    limit = limit_in(given, most=100, default=20)
    found = await batches.store.call(lambda store: [(each, store.tally(each.batch_id)) for each in store.batches()])
    may_see = current_caller().may_see
    shown = [BatchObject.of(batch, tally) for batch, tally in found if may_see(batch.owner)]
    return json_reply(BatchList.of(shown, after=given.get("after"), limit=limit, missing="there is no batch {}"))


@OPENAI_API.get("/v1/batches/{batch_id:str}", BatchObject, scope=Scope.INFERENCE, is_private=True)
async def get_batch(batch_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Describe a batch."""
    return json_reply(await _shown(batches, await _found(batches, batch_id)))


@OPENAI_API.post("/v1/batches/{batch_id:str}/cancel", BatchObject, scope=Scope.INFERENCE, is_private=True)
async def cancel_batch(batch_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Let a batch come to its end early."""
    return json_reply(await _shown(batches, await batches.cancel(await _found(batches, batch_id))))


@MLXR_API.get("/v1/mlxr/batches/{batch_id:str}/ends", EndList, query=(_PLACE,), scope=Scope.INFERENCE, is_private=True)
async def list_ends(request: AnyRequest, batch_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """List the lines of a batch that have ended."""
    place = number_of(request.query_params, "after", least=0, most=_MAX_PLACE, default=0)
    batch = await _found(batches, batch_id)
    ends = await batches.store.call(lambda store: store.ended_after(batch.batch_id, place, _MAX_ENDS))
    return json_reply(EndList(ends))


def window_seconds(text: str) -> float:
    """Return a completion window in seconds: OpenAI's `24h`, or another number of s, m, h or d.

    Raises:
        InvalidRequestError: It is none.
    """
    match = _WINDOW.fullmatch(text)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 0 < seconds <= MAX_WINDOW_S:
        problem = f"completion_window: {text!r} is no time like 24h, 90m or 7d, up to 30d"
        raise InvalidRequestError(problem, "completion_window")
    return float(min(seconds, MAX_KEPT_S))


async def _found(batches: Batches, batch_id: str) -> Batch:
    batch = await batches.store.call(lambda store: store.batch(batch_id))
    if batch is None or not current_caller().may_see(batch.owner):
        raise BatchNotFoundError(batch_id)
    return batch


async def _shown(batches: Batches, batch: Batch) -> BatchObject:
    return BatchObject.of(batch, await batches.store.call(lambda store: store.tally(batch.batch_id)))


@OPENAI_API.post("/v1/files", FileObject, body=Body(FileForm, FORM), scope=Scope.INFERENCE, is_private=True)
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


@OPENAI_API.get(
    "/v1/files", FileList, query=(AFTER, page_limit(MAX_LIMIT), ORDER, _PURPOSE), scope=Scope.INFERENCE, is_private=True
)
async def list_files(request: AnyRequest, batches: BatchesPart) -> ASGIApp:
    """List files."""
    given = known_parameters(request, "after", "limit", "order", "purpose")
    newest_first, limit = is_newest_first(given), limit_in(given, most=MAX_LIMIT, default=MAX_LIMIT)
    may_see = current_caller().may_see
    files = [file for file in await batches.store.call(lambda store: store.files()) if may_see(file.owner)]
    shown = [FileObject.of(file) for file in files if given.get("purpose", file.purpose) == file.purpose]
    ordered = shown if newest_first else shown[::-1]
    return json_reply(FileList.of(ordered, after=given.get("after"), limit=limit, missing="there is no file {}"))


@OPENAI_API.get("/v1/files/{file_id:str}", FileObject, scope=Scope.INFERENCE, is_private=True)
async def get_file(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Describe a file."""
    return json_reply(FileObject.of(await _found_file(batches, file_id)))


@OPENAI_API.get(
    "/v1/files/{file_id:str}/content", answers={200: Answer((bytes,), BINARY)}, scope=Scope.INFERENCE, is_private=True
)
async def get_file_content(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Send a file."""
    file = await _found_file(batches, file_id)
    return EventStream(
        _content(batches.files_dir, file),
        dialect=OPENAI,
        media_type=b"application/octet-stream",
        headers=[(b"content-length", str(file.num_bytes).encode())],
    )


@OPENAI_API.delete("/v1/files/{file_id:str}", DeletedFile, scope=Scope.INFERENCE, is_private=True)
async def delete_file(file_id: FromPath[str], batches: BatchesPart) -> ASGIApp:
    """Delete a file that no running batch needs."""
    file = await _found_file(batches, file_id)
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
        owner=current_caller().key_id,
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


async def _found_file(batches: Batches, file_id: str) -> StoredFile:
    file = await batches.store.call(lambda store: store.file(file_id))
    if file is None or not current_caller().may_see(file.owner):
        raise FileNotFoundHereError(file_id, "file_id")
    return file


async def _content(folder: Path, file: StoredFile) -> AsyncGenerator[bytes, None]:
    for offset in range(0, file.num_bytes, _CHUNK_BYTES):
        num_bytes = min(_CHUNK_BYTES, file.num_bytes - offset)
        yield await in_thread(partial(read_part, folder, file.file_id, offset, num_bytes))


ROUTES: Final = (
    create_batch,
    list_batches,
    get_batch,
    cancel_batch,
    list_ends,
    upload_file,
    list_files,
    get_file,
    get_file_content,
    delete_file,
)
