"""POST /v1/chat/completions/input_tokens: how many tokens a chat would put in, without generating anything.

Source: llama.cpp, tools/server/README.md, and OpenAI API reference, "Get input token counts", for the answer's shape.
"""

from litestar.types import ASGIApp

from backends.wire.prompts import ChatPrompt
from router.http.asgi import json_reply
from router.http.headers import ENGINE_HEADER, LOAD_HEADER
from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.fields.ranges import ModelReference
from router.protocols.fields.support import decode_body
from router.protocols.openai.answer_schemas import InputTokens
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.request import generation_for
from router.protocols.openai.schemas import ChatRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import RequestService
from router.requests.headers import RequestHeaders, read_engine_header, read_load_header


class PromptRequest(ChatRequest, kw_only=True, forbid_unknown_fields=True):
    """A chat that is not to be answered: its model may be left out where only one can be meant."""

    model: ModelReference | None = None  # type: ignore[assignment]


@OPENAI_API.post("/v1/chat/completions/input_tokens", InputTokens, body=PromptRequest, use="generate")
async def count_input_tokens(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Count a conversation's tokens."""
    model_request, prompt = await read_chat(request, serving)
    return json_reply(InputTokens(await serving.count_tokens(request, model_request, prompt)))


async def read_chat(request: AnyRequest, serving: RequestService) -> tuple[ModelRequest, ChatPrompt]:
    """Read the body of a chat that is not to be answered, by the same rules as one that is."""
    body = decode_body(await serving.read_raw(request), PromptRequest)
    load = read_load_header(request.headers.get(LOAD_HEADER))
    model_request = model_request_or_default(
        serving, body.model, read_engine_header(request.headers.get(ENGINE_HEADER)), Purpose.GENERATE, load
    )
    prompt = generation_for(body, chosen_model(serving, model_request), RequestHeaders()).prompts[0]
    assert isinstance(prompt, ChatPrompt)
    return model_request, prompt
