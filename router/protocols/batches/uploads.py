"""A file that comes as a form: written to disk as it comes, with bounded memory.

Source: RFC 7578; OpenAI API reference, "Upload file". The form is taken apart by the library that Litestar has for it.
"""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from multipart import (  # type: ignore[import-untyped]
    MultipartError,
    MultipartSegment,
    PushMultipartParser,
    parse_options_header,
)

from registry.threads import in_thread
from router.errors import (
    InvalidRequestError,
    MissingFieldError,
    RequestTooLargeError,
    UnknownFieldError,
    UnsupportedMediaTypeError,
)
from router.http.body import body_chunks
from router.http.ignored import leave_out
from router.jobs.batches.files import FileWriter

MAX_FIELD_BYTES: Final = 4096
MAX_FIELDS: Final = 16
MAX_NAME_CHARS: Final = 256
_BUFFER_BYTES: Final = 1 << 20
_FIELDS: Final = ("purpose", "expires_after[anchor]", "expires_after[seconds]")


class FileForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of an upload, for the API's document; its fields are text."""

    file: Annotated[str, Meta(extra_json_schema={"format": "binary"}, description="The bytes.")]
    purpose: Literal["batch"]
    anchor: Literal["created_at"] | UnsetType = msgspec.field(default=UNSET, name="expires_after[anchor]")
    seconds: Annotated[str, Meta(pattern="^[0-9]{4,7}$")] | UnsetType = msgspec.field(
        default=UNSET, name="expires_after[seconds]"
    )


class Form(msgspec.Struct, frozen=True):
    """What came.

    Attributes:
        filename: As the client named it, without any folder.
        num_bytes: Of the file, which lies in the folder under its id.
    """

    filename: str
    num_bytes: int
    fields: dict[str, str]


async def take_form(request: Any, folder: Path, file_id: str, *, max_bytes: int) -> Form:
    """Read a form with one file.

    Args:
        request: Its body must not have been read yet.

    Raises:
        UnsupportedMediaTypeError: The body is no form.
        RequestTooLargeError: The file is too large.
        InvalidRequestError: The form is broken, lacks the file, or has an unknown field.
        StoreUnavailableError: The disk does not take it.
        ClientDisconnectedError: The client went away in the middle.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not boundary:
        raise UnsupportedMediaTypeError("Send the file as multipart/form-data, with the fields file and purpose.")
    writer = await in_thread(partial(FileWriter, folder, file_id))
    with writer:
        reader = _FormReader(writer, max_bytes)
        try:
            with PushMultipartParser(boundary, max_segment_count=MAX_FIELDS, strict=True) as parser:
                async for chunk in body_chunks(request.receive):
                    for event in parser.parse(chunk):
                        reader.take(event)
                    if len(reader.buffer) >= _BUFFER_BYTES:
                        await in_thread(reader.flush)
        except MultipartError as exc:
            raise InvalidRequestError(f"The form is not well formed: {exc}.", "file") from exc
        form = reader.form()
        await in_thread(reader.flush)
        await in_thread(writer.finish)
    return form


class _FormReader:
    """Takes the parts of a form."""

    def __init__(self, writer: FileWriter, max_bytes: int) -> None:
        self.buffer = bytearray()
        self._writer = writer
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._num_ignored_bytes = 0
        self._filename: str | None = None
        self._fields: dict[str, bytes] = {}
        self._name: str | None = None

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """Take over what the parser found."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is not None and self._name == "file":
            self._num_bytes += len(event)
            if self._num_bytes > self._max_bytes:
                raise RequestTooLargeError(self._max_bytes)
            self.buffer += event
        elif event is not None and self._name is not None:
            self._fields[self._name] += event
            if len(self._fields[self._name]) > MAX_FIELD_BYTES:
                raise InvalidRequestError(f"{self._name}: at most {MAX_FIELD_BYTES} bytes", self._name)
        elif event is not None:
            self._num_ignored_bytes += len(event)
            if self._num_ignored_bytes > MAX_FIELD_BYTES:
                raise InvalidRequestError(f"fields that are not known here: at most {MAX_FIELD_BYTES} bytes", "file")

    def flush(self) -> None:
        """Write what has come."""
        self._writer.write(bytes(self.buffer))
        self.buffer.clear()

    def form(self) -> Form:
        """Return what came."""
        if self._filename is None:
            raise MissingFieldError("The field 'file' is required.", "file")
        fields = {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}
        return Form(self._filename, self._num_bytes, fields)

    def _begin(self, segment: MultipartSegment) -> None:
        name = self._name = segment.name or ""
        if name in self._fields or (name == "file" and self._filename is not None):
            raise InvalidRequestError(f"{name}: it is there twice; send it once", name)
        if name == "file":
            # For people only: the bytes lie under an id of our own, whatever path the client names.
            bare = (segment.filename or "file").replace("\\", "/").rpartition("/")[2]
            self._filename = bare[:MAX_NAME_CHARS] or "file"
        elif name in _FIELDS:
            self._fields[name] = b""
        else:
            there_are = ", ".join(_FIELDS)
            problem = f"The field {name!r:.80} is not known here; there are file, {there_are}."
            leave_out(name, UnknownFieldError(problem, name))
            self._name = None
