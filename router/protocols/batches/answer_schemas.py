"""Files and batches as Structs, for the API's document and for tests.

What is sent is made by `objects` and `routes`.

Source: OpenAI API reference, "The file object", "The batch object"; `failure_policy`, `token_budget` and `work_seconds`
are mlxr's own.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.jobs.batches.base import BatchStatus, FailurePolicy, Problem
from router.protocols.fields.json_types import JSONObject


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of them have in common."""


class FileForm(msgspec.Struct, frozen=True, kw_only=True):
    """The form of an upload; its fields are text."""

    file: Annotated[str, Meta(extra_json_schema={"format": "binary"}, description="The bytes.")]
    purpose: Literal["batch"]
    anchor: Literal["created_at"] | UnsetType = msgspec.field(default=UNSET, name="expires_after[anchor]")
    seconds: Annotated[str, Meta(pattern="^[0-9]{4,7}$")] | UnsetType = msgspec.field(
        default=UNSET, name="expires_after[seconds]"
    )


class FileObject(_Answer, frozen=True, kw_only=True):
    """A file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None


class FileList(_Answer, frozen=True, kw_only=True):
    """A page of files."""

    object: Literal["list"]
    data: list[FileObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(_Answer, frozen=True, kw_only=True):
    """A file that is gone."""

    id: str
    object: Literal["file"]
    deleted: Literal[True]


class BatchErrors(_Answer, frozen=True):
    """Why a batch failed."""

    object: Literal["list"]
    data: list[Problem]


class RequestCounts(_Answer, frozen=True):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class CachedTokens(_Answer, frozen=True):
    """Of the input's tokens."""

    cached_tokens: int


class ReasoningTokens(_Answer, frozen=True):
    """Of the output's tokens."""

    reasoning_tokens: int


class BatchUsage(_Answer, frozen=True, kw_only=True):
    """Tokens of all lines so far."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class BatchObject(_Answer, frozen=True, kw_only=True):
    """A batch."""

    id: str
    object: Literal["batch"]
    endpoint: str
    errors: BatchErrors | None
    input_file_id: str
    completion_window: str
    status: BatchStatus
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    request_counts: RequestCounts
    usage: BatchUsage
    metadata: dict[str, str] | None
    failure_policy: FailurePolicy
    token_budget: int | None
    work_seconds: float


class BatchList(_Answer, frozen=True, kw_only=True):
    """A page of batches."""

    object: Literal["list"]
    data: list[BatchObject]
    first_id: str | None
    last_id: str | None
    has_more: bool


class LineResponse(_Answer, frozen=True, kw_only=True):
    """What the endpoint answered: the body is of the endpoint's own shape, or an error."""

    status_code: int
    request_id: str | None
    body: JSONObject


class LineError(_Answer, frozen=True):
    """Why a line was not run."""

    code: str
    message: str


class LineResult(_Answer, frozen=True, kw_only=True):
    """A line of a file of results."""

    id: str
    custom_id: str
    response: LineResponse | None
    error: LineError | None


class EndedLine(_Answer, frozen=True, kw_only=True):
    """A line that has ended; `place` is what `after` goes on behind."""

    place: int
    line: int
    custom_id: str
    is_ok: bool
    duration_s: float
    result: LineResult


class EndList(_Answer, frozen=True):
    """The lines that have ended, in the order of their ends."""

    object: Literal["list"]
    data: list[EndedLine]
