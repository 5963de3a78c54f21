"""Routes of llama-server's introspection, and its names for routes that are others' too.

Whatever takes the model's vocabulary or template is asked of its worker.

Requests may name a `model`, unlike llama-server's. Source: llama.cpp, tools/server/README.md.
"""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from backends.wire.questions import ApplyTemplate, Describe, Description, Detokenize, Text, Tokenize, Tokens
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.headers import LOAD_HEADER
from router.protocols.choice import model_request_or_default
from router.protocols.control.routes import get_health
from router.protocols.endpoint import Parameter, also_at
from router.protocols.fields.ranges import ModelReference, TokenId
from router.protocols.llamaserver import answer_schemas as answers
from router.protocols.llamaserver.api import LLAMASERVER_API
from router.protocols.llamaserver.completions import ROUTES as COMPLETIONS
from router.protocols.llamaserver.props import props_of
from router.protocols.llamaserver.slots import ROUTES as SLOTS
from router.protocols.llamaserver.slots import engine_of, holder_of
from router.protocols.models import list_models
from router.protocols.openai.routes import PromptRequest, create_chat_completion, read_chat
from router.protocols.parts import AnyRequest, ServerPart, ServingPart
from router.protocols.queries import MODEL, model_in_query
from router.requests.headers import read_load_header

_AUTOLOAD: Final = Parameter(name="autoload", type=bool, what="false = refuse where the model is not loaded.")

_NO = frozenset({"false", "0", "no", "off"})

MAX_DETOKENIZED: Final = 262_144


class TokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /tokenize."""

    content: str
    add_special: bool = False
    parse_special: bool = True
    with_pieces: bool = False
    model: ModelReference | None = None


class DetokenizeRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Meta(max_length=MAX_DETOKENIZED)]
    model: ModelReference | None = None


@LLAMASERVER_API.post("/tokenize", answers.Tokenized, body=TokenizeRequest, use="generate", scope=Scope.INFERENCE)
async def tokenize(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """List a text's tokens."""
    body = await serving.read(request, TokenizeRequest)
    load = read_load_header(request.headers.get(LOAD_HEADER))
    model_request = model_request_or_default(serving, body.model, engine_of(request), load=load)
    question = Tokenize(body.content, body.add_special, body.parse_special, body.with_pieces)
    tokens = (await serving.ask_model(request, model_request, question, prompt_param="content")).answer
    assert isinstance(tokens, Tokens)
    if tokens.pieces is None:
        return json_reply(answers.Tokenized(tokens.token_ids))
    pairs = zip(tokens.token_ids, tokens.pieces, strict=True)
    return json_reply(answers.Tokenized([answers.TokenPiece(number, _text_or_bytes(piece)) for number, piece in pairs]))


@LLAMASERVER_API.post("/detokenize", answers.Detokenized, body=DetokenizeRequest, use="generate", scope=Scope.INFERENCE)
async def detokenize(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Write the text of tokens."""
    body = await serving.read(request, DetokenizeRequest)
    load = read_load_header(request.headers.get(LOAD_HEADER))
    model_request = model_request_or_default(serving, body.model, engine_of(request), load=load)
    text = (await serving.ask_model(request, model_request, Detokenize(body.tokens), prompt_param="tokens")).answer
    assert isinstance(text, Text)
    return json_reply(answers.Detokenized(text.text))


@LLAMASERVER_API.post(
    "/apply-template", answers.TemplateApplied, body=PromptRequest, use="generate", scope=Scope.INFERENCE
)
async def apply_template(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Write a conversation as the model's template does."""
    model_request, prompt = await read_chat(request, serving)
    text = (await serving.ask_model(request, model_request, ApplyTemplate(prompt), prompt_param="messages")).answer
    assert isinstance(text, Text)
    return json_reply(answers.TemplateApplied(text.text))


@LLAMASERVER_API.get("/props", answers.Props, query=(MODEL, _AUTOLOAD), use="generate", scope=Scope.INFERENCE)
async def get_props(request: AnyRequest, serving: ServingPart, server: ServerPart) -> ASGIApp:
    """Describe a model and the defaults of requests."""
    model = model_in_query(request.query_params)
    model_request = model_request_or_default(serving, model, engine_of(request))
    if request.query_params.get("autoload", "").lower() in _NO and holder_of(serving, model_request) is None:
        raise InvalidRequestError(
            f"the model '{model_request.label}' is not loaded; leave autoload out to load it", "autoload"
        )
    reply = await serving.ask_model(request, model_request, Describe(), prompt_param="model")
    assert isinstance(reply.answer, Description)
    defaults = serving.models.defaults_for(model_request.model)
    can_see = serving.models.can_see(serving.models.get(model_request.model))
    return json_reply(props_of(model_request.label, reply, reply.answer, defaults, server.version, can_see=can_see))


ROUTES: Final = (
    tokenize,
    detokenize,
    apply_template,
    get_props,
    *SLOTS,
    *COMPLETIONS,
    also_at(create_chat_completion, "/chat/completions", LLAMASERVER_API),
    also_at(list_models, "/models", LLAMASERVER_API),
    also_at(get_health, "/v1/health", LLAMASERVER_API),
)


def _text_or_bytes(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
