"""Routes of the inspector: the last requests as they came, and as the model's template writes them."""

from typing import Any, Final

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec.structs import replace

from backends.errors import BackendError
from backends.wire.prompts import ChatPrompt, ImagePart, Prompt, PromptMessage, TextPart, TextPrompt, TokenPrompt
from backends.wire.questions import ApplyTemplate, Detokenize, Question, Text
from router.errors import RequestNotFoundError, RouterError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.models.model_request import ModelRequest
from router.protocols.choice import resident_workers
from router.protocols.control.api import MLXR_API
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import RequestService
from router.requests.inspector import Inspected

_PICTURE: Final = "[picture]"
_NO_PROMPT: Final = "No model was asked by it."
_TOO_LONG: Final = "Its body is longer than inspector.max_bytes of the config."
_NOT_LOADED: Final = "Its model is not loaded now; load it and look again."
_MADE_OF_TOKENS: Final = "Its prompt is put together in the worker, and nowhere written."


class InspectedHead(msgspec.Struct, frozen=True, kw_only=True):
    """One request that is kept.

    Attributes:
        id: By which it is inspected, and found in the log: the answer's id, or the one that its client gave it.
        at: Seconds since 1970.
        protocol: Whose endpoint was asked.
        num_bytes: Of its body.
        status: Of its answer, or of the error that ended it; null while it runs.
        error: Code of that error, or null.
    """

    id: str
    at: float
    method: str
    path: str
    protocol: str | None
    client: str
    key: str
    model: str | None
    engine: str | None
    num_bytes: int
    status: int | None
    error: str | None
    num_prompt_tokens: int | None
    num_output_tokens: int | None


class InspectedList(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/requests/inspected, the newest first.

    Attributes:
        num_kept: How many are kept, as `inspector.num_requests` says; 0 = none are.
    """

    num_kept: int
    requests: tuple[InspectedHead, ...]


class InspectedRequest(InspectedHead, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/requests/ID/inspect.

    Attributes:
        body: As it came; bytes that are no UTF-8 are replaced.
        is_cut: Whether only its beginning is kept.
        prompts: As the model is shown them: what its template writes, or the text as it was sent; a picture is
            `[picture]`. null = see `why_no_prompts`.
    """

    body: str
    is_cut: bool
    prompts: tuple[str, ...] | None
    why_no_prompts: str | None


@MLXR_API.get("/v1/mlxr/requests/inspected", InspectedList, scope=Scope.INFERENCE, is_private=True)
async def list_inspected(serving: ServingPart) -> ASGIApp:
    """List the last requests that are kept to look at."""
    heads = tuple(InspectedHead(**_head(each)) for each in serving.inspector)
    return json_reply(InspectedList(num_kept=serving.config.inspector.num_requests, requests=heads))


@MLXR_API.get("/v1/mlxr/requests/{request_id:str}/inspect", InspectedRequest, scope=Scope.INFERENCE, is_private=True)
async def inspect_request(request: AnyRequest, request_id: FromPath[str], serving: ServingPart) -> ASGIApp:
    """Show a request as it came and as its model's template writes it."""
    kept = serving.inspector.find(request_id)
    if kept is None:
        raise RequestNotFoundError(request_id)
    await serving.read_raw(request)  # to its end: behind that stands whether the client is there
    prompts, why_not = await _prompts_of(request, serving, kept)
    return json_reply(
        InspectedRequest(
            **_head(kept),
            body=kept.body.decode("utf-8", "replace"),
            is_cut=kept.is_cut,
            prompts=prompts,
            why_no_prompts=why_not,
        )
    )


def _head(kept: Inspected) -> dict[str, Any]:
    exchange, account = kept.exchange, kept.account
    if account is None and exchange.account is not None:
        account = exchange.account()  # it runs
    return {
        "id": exchange.request_id,
        "at": kept.at,
        "method": exchange.method,
        "path": exchange.path,
        "protocol": exchange.protocol,
        "client": kept.client,
        "key": exchange.key,
        "model": exchange.model,
        "engine": None if account is None else account.engine,
        "num_bytes": kept.num_bytes,
        "status": exchange.outcome if kept.has_ended else None,
        "error": None if exchange.error is None else exchange.error.code,
        "num_prompt_tokens": None if account is None else account.num_prompt_tokens,
        "num_output_tokens": None if account is None else account.num_output_tokens,
    }


async def _prompts_of(
    request: AnyRequest, serving: RequestService, kept: Inspected
) -> tuple[tuple[str, ...] | None, str | None]:
    """Return what the model is shown, or why that cannot be said."""
    wanted = kept.wanted
    if wanted is None:
        return None, _TOO_LONG if kept.is_cut else _NO_PROMPT
    if not _is_loaded(serving, wanted.model_request):
        return None, _NOT_LOADED
    prompts = []
    for prompt in wanted.prompts:
        question = _question_about(prompt)
        if question is None:
            return None, _MADE_OF_TOKENS
        if isinstance(question, str):
            prompts.append(question)
            continue
        try:
            answer = (await serving.ask_model(request, wanted.model_request, question)).answer
        except (RouterError, BackendError) as exc:
            return None, str(exc)
        assert isinstance(answer, Text)
        prompts.append(answer.text)
    return tuple(prompts), None


def _is_loaded(serving: RequestService, asked: ModelRequest) -> bool:
    """Tell whether a look costs no load."""
    engine = None if asked.engine is None else asked.engine.engine
    targets = [worker.target for worker in resident_workers(serving) if worker.target is not None]
    return any(target.label == asked.label and engine in {None, target.engine} for target in targets)


def _question_about(prompt: Prompt) -> Question | str | None:
    """Return what a worker is asked for a prompt's text, or the text; None = there is none."""
    match prompt:
        case ChatPrompt():
            return ApplyTemplate(replace(prompt, messages=[_without_pictures(each) for each in prompt.messages]))
        case TextPrompt():
            return prompt.text
        case TokenPrompt():
            return Detokenize(prompt.token_ids)
        case _:
            return None


def _without_pictures(message: PromptMessage) -> PromptMessage:
    content = message["content"]
    if not isinstance(content, list) or not any(isinstance(part, ImagePart) for part in content):
        return message
    parts = [part if isinstance(part, TextPart) else TextPart(_PICTURE) for part in content]
    shown: PromptMessage = {**message, "content": "".join(part.text for part in parts)}
    return shown


INSPECTOR_ROUTES: Final = (list_inspected, inspect_request)
