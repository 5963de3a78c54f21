"""The client's calls about batches, for the command line. Not here: the connection and its errors (`base`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from router.cli.client.base import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, Client, answer_error
from router.jobs.batches.base import EndedLine
from router.protocols.batches.objects import BatchList, BatchObject, EndList, FileObject

UPLOAD_TIMEOUT_S: Final = 600.0


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
        return self._decode(response, FileObject).id

    def start(self, body: dict[str, Any]) -> BatchObject:
        """Begin a batch with the body of `POST /v1/batches`."""
        return self.post("/v1/batches", BatchObject, body)

    def batches(self) -> list[BatchObject]:
        """Ask for the newest batches, at most 100."""
        return self.get("/v1/batches?limit=100", BatchList).data

    def batch(self, batch_id: str) -> BatchObject:
        """Ask for one batch."""
        return self.get(self._path(batch_id), BatchObject)

    def document(self, path: str) -> dict[str, Any]:
        """Ask for a batch, or for the list (`path` = ""), as it stands in the answer."""
        where = "/v1/batches?limit=100" if not path else self._path(path)
        return self.get(where, dict[str, Any])

    def cancel(self, batch_id: str) -> BatchObject:
        """Cancel one batch."""
        return self.post(f"{self._path(batch_id)}/cancel", BatchObject, {})

    def ends(self, batch_id: str, after: int) -> list[EndedLine]:
        """Ask for the lines that have ended behind a place."""
        path = f"/v1/mlxr/batches/{quote(batch_id, safe='')}/ends?after={after}"
        return self.get(path, EndList).data

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
