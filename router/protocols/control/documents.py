"""Documents by themselves: read one for a request that is to come, and forget it again; mlxr's own API."""

from typing import Final

from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from backends.wire.prompts import TextPrompt
from backends.wire.questions import CountTokens, TokenCount
from router.documents.quoting import quoted_document
from router.documents.reader import Document
from router.errors import ContextLengthExceededError, DocumentError, FileNotFoundHereError, UnsupportedMediaTypeError
from router.http.asgi import json_reply
from router.http.caller import Scope, caller_of, current_caller
from router.http.streaming import until_disconnect
from router.models.model_request import ModelRequest
from router.protocols.control.api import MLXR_API
from router.protocols.documents.answer_schemas import DeletedDocument, DocumentObject
from router.protocols.endpoint import BINARY, Body, Parameter
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.queries import known_parameters, model_in_query
from router.protocols.serving import RequestService

_ALL: Final = "/v1/mlxr/documents"
_NAME: Final = Parameter(name="name", type=str, what="Of its file; what it ends with must agree with what it is.")
_MODEL: Final = Parameter(
    name="model", type=str, what="By whose tokens it is counted; the model is loaded for that where it is not."
)


@MLXR_API.post(
    _ALL, DocumentObject, body=Body(bytes, BINARY), query=(_NAME, _MODEL), scope=Scope.INFERENCE, is_private=True
)
async def read_document(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Read a document: the body is its file."""
    serving.admit(caller_of(request.scope))
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise UnsupportedMediaTypeError("Send the bytes of the file as the body, and ?name=report.pdf; no form.")
    given = known_parameters(request, "name", "model")
    reference = model_in_query(given)
    model_request = None if reference is None else serving.models.model_request(reference, None)
    if model_request is not None:
        serving.models.resolve(model_request)
    data = await serving.read_raw(request)
    reading = serving.documents.reader.read(given.get("name"), data, current_caller().key_id)
    document = await until_disconnect(request.receive, reading)
    num_tokens: int | UnsetType = UNSET
    context_length: int | UnsetType = UNSET
    if model_request is not None:
        num_tokens, context_length = await _counted(request, serving, model_request, document)
    return json_reply(
        DocumentObject(
            id=document.document_id,
            name=document.name,
            kind=document.kind,
            markdown=document.markdown,
            num_pages=document.num_pages,
            scanned_pages=list(document.scanned),
            num_chars=len(document.markdown),
            is_truncated=document.is_truncated,
            notes=list(document.notes),
            num_tokens=num_tokens,
            context_length=context_length,
        )
    )


@MLXR_API.delete(f"{_ALL}/{{document_id:str}}", DeletedDocument, scope=Scope.INFERENCE, is_private=True)
async def delete_document(document_id: FromPath[str], serving: ServingPart) -> ASGIApp:
    """Forget a document that was read."""
    if not serving.documents.reader.forget(document_id, current_caller().key_id):
        raise FileNotFoundHereError(document_id, "document_id")
    return json_reply(DeletedDocument(id=document_id, object="document", deleted=True))


async def _counted(
    request: AnyRequest, serving: RequestService, model_request: ModelRequest, document: Document
) -> tuple[int | UnsetType, int | UnsetType]:
    """Return the tokens of a document as a model would be shown it, and the model's context; UNSET = not to be told."""
    try:
        prompt = TextPrompt(quoted_document(document.name, document.shown_text()))
        reply = await serving.ask_model(request, model_request, CountTokens(prompt), prompt_param="document")
    except (ContextLengthExceededError, DocumentError):
        return UNSET, UNSET
    assert isinstance(reply.answer, TokenCount)
    return reply.answer.num_tokens, reply.model.context_length


DOCUMENT_ROUTES: Final = (read_document, delete_document)
