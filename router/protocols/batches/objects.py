"""Files and batches as the API shows them. Pure.

Source: OpenAI API reference, "The file object" and "The batch object".
"""

from typing import Any

import msgspec

from router.jobs.batches.base import Batch, StoredFile, Tally


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return the object of a file."""
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": file.num_bytes,
        "created_at": int(file.created_at),
        "expires_at": _seconds(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def batch_object(batch: Batch, tally: Tally) -> dict[str, Any]:
    """Return the object of a batch.

    Args:
        tally: Of its lines. `work_seconds`, the sum of what they took, is mlxr's own, like policy and budget.
    """
    errors = None
    if batch.problems:
        errors = {"object": "list", "data": [msgspec.to_builtins(problem) for problem in batch.problems]}
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": errors,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status.value,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_at),
        "in_progress_at": _seconds(batch.in_progress_at),
        "expires_at": int(batch.expires_at),
        "finalizing_at": _seconds(batch.finalizing_at),
        "completed_at": _seconds(batch.completed_at),
        "failed_at": _seconds(batch.failed_at),
        "expired_at": _seconds(batch.expired_at),
        "cancelling_at": _seconds(batch.cancelling_at),
        "cancelled_at": _seconds(batch.cancelled_at),
        "request_counts": {"total": tally.num_total, "completed": tally.num_ok, "failed": tally.num_failed},
        "usage": {
            "input_tokens": tally.num_input_tokens,
            "input_tokens_details": {"cached_tokens": tally.num_cached_tokens},
            "output_tokens": tally.num_output_tokens,
            "output_tokens_details": {"reasoning_tokens": tally.num_reasoning_tokens},
            "total_tokens": tally.num_input_tokens + tally.num_output_tokens,
        },
        "metadata": batch.metadata,
        "failure_policy": batch.failure_policy.value,
        "token_budget": batch.token_budget,
        "work_seconds": round(tally.work_s, 3),
    }


def page_of(items: list[dict[str, Any]], *, after: str | None, limit: int) -> dict[str, Any] | None:
    """Return a page of a list of objects, or None when there is no object to begin after.

    Args:
        items: All, in their order.
        after: Id of the object before the first one; None = from the beginning.
    """
    begin = 0
    if after is not None:
        begin = next((index + 1 for index, item in enumerate(items) if item["id"] == after), -1)
        if begin < 0:
            return None
    page = items[begin : begin + limit]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": begin + limit < len(items),
    }


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
