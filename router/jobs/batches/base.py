"""What is known of a file, a batch and a line: plain data. Not here: how it is kept and shown (`store`, `objects`)."""

import enum
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from backends.wire.messages import Usage

ENDPOINTS: Final = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")


class BatchStatus(enum.StrEnum):
    """Where a batch stands. Source: OpenAI API reference, "The batch object"."""

    VALIDATING = "validating"
    FAILED = "failed"
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    EXPIRED = "expired"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing more happens to it."""
        return self in _FINAL


_FINAL: Final = frozenset(
    {BatchStatus.FAILED, BatchStatus.COMPLETED, BatchStatus.EXPIRED, BatchStatus.CANCELLED},
)


class FailurePolicy(enum.StrEnum):
    """What a line that fails means for the others."""

    CONTINUE_INDEPENDENT = "continue_independent"
    FAIL_FAST = "fail_fast"


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file; its bytes lie in the folder of batches under its id.

    Attributes:
        file_id: `file-…`.
        filename: As the client named it; for people only.
        purpose: `batch`, or `batch_output` of what mlxr wrote.
        created_at: Seconds since 1970.
        expires_at: When it goes; None = by the config's age alone.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
    """

    file_id: str
    filename: str
    purpose: str
    num_bytes: int
    created_at: float
    expires_at: float | None = None
    owner: str | None = None


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a batch cannot run, or did not run to its end.

    Attributes:
        line: In the input file, from 1; None = the file as a whole.
    """

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """A batch, but for its lines.

    Attributes:
        batch_id: `batch_…`.
        endpoint: The `url` of all its lines.
        created_at: Seconds since 1970; so all that end in `_at`, which are None until then.
        expires_at: When lines that have not ended are given up.
        failure_policy: What a line that fails means for the others.
        token_budget: Tokens after which no further line begins; None = no bound.
        output_age_s: How long its results are kept; None = by the config's age alone.
        goal: The final status that it is on the way to, once its lines have ended.
        output_file_id: The results of lines that were answered.
        owner: As of a file; its lines are asked for that key.
    """

    batch_id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    created_at: float
    expires_at: float
    failure_policy: FailurePolicy = FailurePolicy.CONTINUE_INDEPENDENT
    token_budget: int | None = None
    output_age_s: float | None = None
    metadata: dict[str, str] | None = None
    status: BatchStatus = BatchStatus.VALIDATING
    goal: BatchStatus = BatchStatus.COMPLETED
    problems: tuple[Problem, ...] = ()
    output_file_id: str | None = None
    error_file_id: str | None = None
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    expired_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    owner: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a batch's input.

    Attributes:
        number: In the file, from 1.
        offset: Of its first byte in the file.
        depends_on: Numbers of the lines that must have been answered before.
        is_ok: Whether it was answered; None = it has not ended.
    """

    number: int
    custom_id: str
    offset: int
    num_bytes: int
    depends_on: tuple[int, ...] = ()
    is_ok: bool | None = None


class LineEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a line ended.

    Attributes:
        result: Its line in a file of results, JSON.
        output: The text of its answer, for lines that depend on it.
        duration_s: From its start to its end; 0 = it never started.
    """

    number: int
    is_ok: bool
    result: bytes
    output: str = ""
    usage: Usage = Usage(0, 0, 0)
    duration_s: float = 0.0


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of a batch's lines, in sum."""

    num_total: int
    num_ok: int
    num_failed: int
    work_s: float
    usage: Usage


_ANY_OBJECT: Final = {
    "type": "object",
    "additionalProperties": {"title": "JSONValue", "description": "Any JSON value."},
}


class LineResponse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the endpoint answered: the body is of the endpoint's own shape, or an error.

    Attributes:
        ignored: Paths of what had no effect of the line's body; absent where there is none.
    """

    status_code: int
    request_id: str | None
    body: Annotated[msgspec.Raw, Meta(extra_json_schema=_ANY_OBJECT)]
    ignored: list[str] | UnsetType = UNSET


class LineError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a line was not run."""

    code: str
    message: str


class LineResult(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of a file of results. Source: OpenAI API reference, "The request output object"."""

    id: str
    custom_id: str
    response: LineResponse | None
    error: LineError | None


class EndedLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line that has ended; `place` is what `after` goes on behind."""

    place: int
    line: int
    custom_id: str
    is_ok: bool
    duration_s: float
    result: LineResult


def result_line(
    batch_id: str, line: Line, *, response: LineResponse | None = None, error: LineError | None = None
) -> bytes:
    """Return a line of a file of results."""
    request_id = f"batch_req_{batch_id.removeprefix('batch_')}_{line.number}"
    return msgspec.json.encode(LineResult(id=request_id, custom_id=line.custom_id, response=response, error=error))


def not_run(batch: Batch, line: Line, code: str, message: str) -> LineEnd:
    """Return the end of a line that never started, or was given up."""
    result = result_line(batch.batch_id, line, error=LineError(code, message))
    return LineEnd(number=line.number, is_ok=False, result=result)


def output_text(body: dict[str, Any]) -> str:
    """Return the text of an answer of any endpoint; "" where it has none."""
    if body.get("object") == "response":
        parts = (part for item in body["output"] if item["type"] == "message" for part in item["content"])
        return "".join(part["text"] for part in parts)
    choices = body.get("choices")
    if not choices:
        return ""
    message = choices[0].get("message")
    return (choices[0]["text"] if message is None else message["content"]) or ""
