"""Endpoints of files and batches, OpenAI's but for the last."""

from typing import Annotated, Final

from msgspec import Meta

from router.protocols.batches import answer_schemas as answers
from router.protocols.batches.routes import BatchRequest
from router.protocols.endpoints.base import AFTER, BINARY, FORM, ORDER, Answer, Body, Parameter, page_limit, row

_FILE: Final = "/v1/files/{file_id:str}"
_BATCH: Final = "/v1/batches/{batch_id:str}"
_FILES: Final = (AFTER, page_limit(10_000), ORDER, Parameter(name="purpose", type=str, what="Only files of this one."))
_PLACE: Final = Parameter(
    name="after", type=Annotated[int, Meta(ge=0, le=10**9 - 1)], what="Place of the end that the list begins behind."
)

BATCH_ENDPOINTS: Final = (
    row("openai", "POST", "/v1/files", "Take a file.", answers.FileObject, body=Body(answers.FileForm, FORM)),
    row("openai", "GET", "/v1/files", "List files.", answers.FileList, query=_FILES),
    row("openai", "GET", _FILE, "Describe a file.", answers.FileObject),
    row("openai", "GET", f"{_FILE}/content", "Send a file.", answers={200: Answer((bytes,), BINARY)}),
    row("openai", "DELETE", _FILE, "Delete a file that no running batch needs.", answers.DeletedFile),
    row("openai", "POST", "/v1/batches", "Begin a batch.", answers.BatchObject, body=BatchRequest),
    row("openai", "GET", "/v1/batches", "List batches.", answers.BatchList, query=(AFTER, page_limit(100))),
    row("openai", "GET", _BATCH, "Describe a batch.", answers.BatchObject),
    row("openai", "POST", f"{_BATCH}/cancel", "Let a batch come to its end early.", answers.BatchObject),
    row(
        "mlxr",
        "GET",
        "/v1/mlxr/batches/{batch_id:str}/ends",
        "List the lines of a batch that have ended.",
        answers.EndList,
        query=(_PLACE,),
    ),
)
