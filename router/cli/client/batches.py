"""The client's calls about batches, for the command line. Not here: the connection and its errors (`client.py`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import msgspec

from router.cli.client.base import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Client, answer_error

UPLOAD_TIMEOUT_S: Final = 600.0
FINAL_STATES: Final = frozenset({"completed", "failed", "expired", "cancelled"})


class LineCounts(msgspec.Struct, frozen=True):
    """Lines of a batch."""

    total: int
    completed: int
    failed: int


class BatchProblem(msgspec.Struct, frozen=True):
    """Why a batch failed."""

    code: str
    message: str
    line: int | None = None


class BatchErrors(msgspec.Struct, frozen=True):
    """All of that."""

    data: tuple[BatchProblem, ...] = ()


class BatchUsage(msgspec.Struct, frozen=True):
    """Tokens of all lines that were answered."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class BatchInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One batch, as `GET /v1/batches/ID` has it, as far as commands use it."""

    id: str
    endpoint: str
    status: str
    created_at: int
    request_counts: LineCounts
    usage: BatchUsage
    work_seconds: float
    errors: BatchErrors | None = None
    output_file_id: str | None = None
    error_file_id: str | None = None
    completed_at: int | None = None


class EndedLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that has ended, as `GET /v1/mlxr/batches/ID/ends` has it."""

    place: int
    line: int
    custom_id: str
    is_ok: bool
    duration_s: float
    result: dict[str, Any]


class _Page(msgspec.Struct, frozen=True):
    data: tuple[BatchInfo, ...]


class _Ends(msgspec.Struct, frozen=True):
    data: tuple[EndedLine, ...]


class _Uploaded(msgspec.Struct, frozen=True):
    id: str


class BatchClient(Client):
    """Talks to one running gateway about batches; errors of all calls are ClientError or a subclass."""

    def upload(self, path: Path) -> str:
        """Upload a file of requests; return its id.

        Raises:
            OSError: The file cannot be read.
        """
        timeout = httpx.Timeout(UPLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with path.open("rb") as file, self._foreign_errors():
            files = {"file": (path.name, file)}
            response = self._client().post("/v1/files", files=files, data={"purpose": "batch"}, timeout=timeout)
        if response.status_code != httpx.codes.OK:
            raise answer_error(response)
        return self._decode(response, _Uploaded).id

    def start(self, body: dict[str, Any]) -> BatchInfo:
        """Begin a batch with the body of `POST /v1/batches`."""
        return self._decode(self._request("POST", "/v1/batches", body), BatchInfo)

    def batches(self) -> tuple[BatchInfo, ...]:
        """Ask for the newest batches, at most 100."""
        return self.get("/v1/batches?limit=100", _Page).data

    def batch(self, batch_id: str) -> BatchInfo:
        """Ask for one batch."""
        return self.get(self._path(batch_id), BatchInfo)

    def document(self, path: str) -> dict[str, Any]:
        """Ask for a batch, or for the list (`path` = ""), as it stands in the answer."""
        where = "/v1/batches?limit=100" if not path else self._path(path)
        return self.get(where, dict[str, Any])

    def cancel(self, batch_id: str) -> BatchInfo:
        """Cancel one batch."""
        return self._decode(self._request("POST", f"{self._path(batch_id)}/cancel", {}), BatchInfo)

    def ends(self, batch_id: str, after: int) -> tuple[EndedLine, ...]:
        """Ask for the lines that have ended behind a place."""
        path = f"/v1/mlxr/batches/{quote(batch_id, safe='')}/ends?after={after}"
        return self.get(path, _Ends).data

    def content(self, file_id: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        path = f"/v1/files/{quote(file_id, safe='')}/content"
        timeout = httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        with self._foreign_errors(), self._client().stream("GET", path, timeout=timeout) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise answer_error(response)
            yield from response.iter_bytes()

    @staticmethod
    def _path(batch_id: str) -> str:
        return f"/v1/batches/{quote(batch_id, safe='')}"
