"""Files and batches as the API shows them; the command line decodes them too. Pure.

Source: OpenAI API reference, "The file object" and "The batch object"; `failure_policy`, `token_budget` and
`work_seconds` are mlxr's own.
"""

from typing import Literal, Self

from router.jobs.batches.base import Batch, BatchStatus, EndedLine, FailurePolicy, Problem, StoredFile, Tally
from router.protocols.answers import AnswerBody, CachedTokens, Deleted, Page, ReasoningTokens, shared_fields


class FileObject(AnswerBody, frozen=True, kw_only=True):
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

    @classmethod
    def of(cls, file: StoredFile) -> Self:
        """Return what is shown of a file."""
        return cls(
            id=file.file_id,
            object="file",
            bytes=file.num_bytes,
            created_at=int(file.created_at),
            expires_at=_seconds(file.expires_at),
            filename=file.filename,
            purpose=file.purpose,
            status="processed",
            status_details=None,
        )


class FileList(Page[FileObject], frozen=True):
    """A page of files."""


class DeletedFile(Deleted[Literal["file"]], frozen=True, kw_only=True):
    """A file that is gone."""


class BatchErrors(AnswerBody, frozen=True, tag_field="object", tag="list"):
    """Why a batch failed."""

    data: list[Problem]


class RequestCounts(AnswerBody, frozen=True):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchUsage(AnswerBody, frozen=True, kw_only=True):
    """Tokens of all lines so far."""

    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class BatchObject(AnswerBody, frozen=True, kw_only=True):
    """A batch; `work_seconds` is the sum of what its lines took."""

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

    @classmethod
    def of(cls, batch: Batch, tally: Tally) -> Self:
        """Return what is shown of a batch and of what has become of its lines."""
        usage = BatchUsage(
            input_tokens=tally.usage.num_prompt_tokens,
            input_tokens_details=CachedTokens(tally.usage.num_cached_tokens),
            output_tokens=tally.usage.num_output_tokens,
            output_tokens_details=ReasoningTokens(tally.usage.num_reasoning_tokens),
            total_tokens=tally.usage.num_tokens,
        )
        moments = {name: _seconds(getattr(batch, name)) for name in cls.__struct_fields__ if name.endswith("_at")}
        return cls(
            id=batch.batch_id,
            object="batch",
            errors=BatchErrors(list(batch.problems)) if batch.problems else None,
            request_counts=RequestCounts(tally.num_total, tally.num_ok, tally.num_failed),
            usage=usage,
            work_seconds=round(tally.work_s, 3),
            **shared_fields(batch, cls) | moments,
        )


class BatchList(Page[BatchObject], frozen=True):
    """A page of batches."""


class EndList(AnswerBody, frozen=True, tag_field="object", tag="list"):
    """The lines that have ended, in the order of their ends."""

    data: list[EndedLine]


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
