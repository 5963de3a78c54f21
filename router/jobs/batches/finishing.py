"""The files of results of a batch whose lines have all ended; in the store's thread.

Writing them again, after a crash in the middle, gives the same files under the same ids.
"""

from pathlib import Path

import msgspec

from router.jobs.batches.base import Batch, StoredFile
from router.jobs.batches.files import write_lines
from router.jobs.batches.store import BatchStore


def write_results(store: BatchStore, folder: Path, batch: Batch, now: float) -> Batch:
    """Write what there is to write, and keep the batch with its files in its final state.

    Args:
        now: Seconds since 1970.

    Raises:
        StoreUnavailableError: The disk does not take it.
    """
    output = _write(store, folder, batch, now, is_ok=True)
    errors = _write(store, folder, batch, now, is_ok=False)
    finished = msgspec.structs.replace(batch, output_file_id=output, error_file_id=errors)
    store.put_batch(finished)
    return finished


def _write(store: BatchStore, folder: Path, batch: Batch, now: float, *, is_ok: bool) -> str | None:
    kind = "output" if is_ok else "errors"
    file_id = f"file-{batch.batch_id.removeprefix('batch_')}{kind[0]}"
    num_bytes = write_lines(folder, file_id, store.results(batch.batch_id, is_ok=is_ok))
    if not num_bytes:
        return None
    expires_at = None if batch.output_age_s is None else now + batch.output_age_s
    store.put_file(
        StoredFile(
            file_id=file_id,
            filename=f"{batch.batch_id}_{kind}.jsonl",
            purpose="batch_output",
            num_bytes=num_bytes,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return file_id
