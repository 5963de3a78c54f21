"""What the encoders of all protocols write of thinking, text, calls and cuts, against the types of the API's document.

The fake engine does not think; so the outputs are given here, and nothing is served.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import FinishReason, Output, PositionLogprobs, TokenLogprob, ToolCallDelta
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from registry.engines import Engine, EngineKind
from router.errors import EngineCrashedError, QueueFullError, RequestCancelledError
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.protocols.anthropic.encoding import AnthropicHead, AnthropicStream, message_of
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.protocols.openai.answer import CompletionHead, completion_of
from router.protocols.openai.encoding import CompletionStream, StreamOptions
from router.protocols.responses.conversation import RequestItems
from router.protocols.responses.encoding import ResponseEncoder
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.schemas import ENCRYPTED_REASONING, LOGPROBS, ResponseRequest
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation, OutputEvent, ProgressEvent
from router.requests.register import AnswerEncoder
from router.requests.request import GenerationRequest
from router.status import WorkerRef
from tests.support.api_answers import check_answer, endpoint_of

OPENAI_OPTIONS = StreamOptions(includes_usage=True, has_progress=True, has_timings=True)
SAMPLING = SamplingParams(num_logprobs=1)
WANTED = GenerationRequest(
    model_request=ModelRequest("m"),
    prompts=(TextPrompt("p"),),
    spec=SequenceSpec(sampling=SAMPLING, max_tokens=None, stop=("!",)),
)
DRAWN = PositionLogprobs(TokenLogprob(5, b"x", -0.5), (TokenLogprob(6, b"\xff", float("-inf")),))
CALLS = (ToolCallDelta(0, "id0", "f", '{"a"'), ToolCallDelta(0, None, None, ":1}"), ToolCallDelta(1, "id1", "g", "{}"))
THOUGHT = Output(reasoning="hm", logprobs=(DRAWN,))
SAID = Output("text", logprobs=(DRAWN,))
CALLED = Output(tool_calls=CALLS)
CUT_CALL = Output(tool_calls=(ToolCallDelta(0, "id0", "f", '{"a": ["b'),))
OUTPUTS = {
    "thinking, text, calls": (THOUGHT, SAID, CALLED),
    "all in one": (Output("text", "hm", CALLS, (DRAWN,)),),
    "nothing": (Output(),),
    "only thoughts": (THOUGHT,),
    "a cut call": (SAID, CUT_CALL),
    "text behind calls": (CALLED, SAID),
}


class Served:
    """What encoders read of a generation."""

    choice = Choice(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), EngineReason.REQUEST)
    worker = WorkerRef(3, 4711)
    queue_ms = 2.0
    load_ms = 5.0
    context = None
    kept = None
    request = WANTED


GENERATION = cast("Generation", Served())


def openai(*, is_chat: bool, is_stream: bool) -> AnswerEncoder:
    head = CompletionHead(answer_id="a", created=7, model="m", is_chat=is_chat, service_tier="flex")
    if is_stream:
        return CompletionStream(head, GENERATION, OPENAI_OPTIONS)
    return WholeAnswer(1, lambda outputs: completion_of(head, GENERATION, outputs))


def anthropic(*, is_stream: bool, hides: bool = False) -> AnswerEncoder:
    head = AnthropicHead(answer_id="a", model="m", max_tokens=9, stop_sequences=("!",), hides_thinking=hides)
    if is_stream:
        return AnthropicStream(head, GENERATION)
    return WholeAnswer(1, lambda outputs: message_of(head, outputs[0], GENERATION))


def ollama(*, is_chat: bool, is_stream: bool) -> AnswerEncoder:
    head = OllamaHead(answer_id="a", model="m", is_chat=is_chat, started_at=0.0)
    if is_stream:
        return OllamaStream(head, GENERATION)
    return WholeAnswer(1, lambda outputs: whole_line(head, GENERATION, outputs[0]))


def response(*, is_stream: bool, **fields: Any) -> ResponseEncoder:
    body = {"model": "m", "input": "hi", "stream": is_stream, "include": [LOGPROBS, ENCRYPTED_REASONING], **fields}
    request = msgspec.convert(body, ResponseRequest)
    head = ResponseHead(
        response_id="r",
        created_at=7,
        model="m",
        request=request,
        items=RequestItems(history=[], own=[], root_id=None),
        wanted=WANTED,
        service_tier="default",
        is_stored=True,
    )
    return ResponseEncoder(head, GENERATION, lambda _: None)


ENCODERS: dict[str, tuple[str, Callable[[], AnswerEncoder]]] = {
    "chat": ("/v1/chat/completions", lambda: openai(is_chat=True, is_stream=False)),
    "chat stream": ("/v1/chat/completions", lambda: openai(is_chat=True, is_stream=True)),
    "text": ("/v1/completions", lambda: openai(is_chat=False, is_stream=False)),
    "text stream": ("/v1/completions", lambda: openai(is_chat=False, is_stream=True)),
    "message": ("/v1/messages", lambda: anthropic(is_stream=False)),
    "message stream": ("/v1/messages", lambda: anthropic(is_stream=True)),
    "message stream without thinking": ("/v1/messages", lambda: anthropic(is_stream=True, hides=True)),
    "Ollama's chat": ("/api/chat", lambda: ollama(is_chat=True, is_stream=False)),
    "Ollama's chat stream": ("/api/chat", lambda: ollama(is_chat=True, is_stream=True)),
    "Ollama's text": ("/api/generate", lambda: ollama(is_chat=False, is_stream=False)),
    "Ollama's text stream": ("/api/generate", lambda: ollama(is_chat=False, is_stream=True)),
    "response": ("/v1/responses", lambda: response(is_stream=False)),
    "response stream": ("/v1/responses", lambda: response(is_stream=True)),
}
ENDS: list[tuple[FinishReason, str | None]] = [("stop", None), ("stop", "!"), ("length", None), ("tool_calls", None)]


def check(path: str, encoder: AnswerEncoder, body: bytes) -> None:
    media = "application/json" if encoder.media_type is None else encoder.media_type.decode()
    check_answer(endpoint_of("POST", path), 200, {"content-type": media}, body)


@pytest.mark.parametrize("outputs", OUTPUTS.values(), ids=OUTPUTS.keys())
@pytest.mark.parametrize(("path", "make"), ENCODERS.values(), ids=ENCODERS.keys())
def test_whatever_models_write_is_of_the_documents_types(
    path: str, make: Callable[[], AnswerEncoder], outputs: tuple[Output, ...]
) -> None:
    for reason, stopped_by in ENDS:
        token_ids = [1, 2] if path == "/api/generate" else None
        end = SequenceEnd(reason, Usage(10, 4, 3, 1), SequenceTimings(1.0, 12.0, 8.0), stopped_by, token_ids)
        encoder = make()
        body = encoder.encode([ProgressEvent(0, 10, 4, 4)]) + encoder.encode([ProgressEvent(0, 10, 4, 8)])
        body += b"".join(encoder.encode([OutputEvent(0, output, 1, None)]) for output in outputs)
        body += encoder.encode([OutputEvent(0, Output(), 0, end)]) + encoder.tail()
        check(path, encoder, body)


@pytest.mark.parametrize("is_background", [True, False])
@pytest.mark.parametrize(
    "error", [QueueFullError(retry_after_s=1), RequestCancelledError(), EngineCrashedError("it died")], ids=str
)
def test_responses_that_fail_are_of_the_documents_types(error: Exception, *, is_background: bool) -> None:
    encoder = response(is_stream=True, background=is_background)
    body = encoder.queued() if is_background else b""
    body += encoder.encode([OutputEvent(0, THOUGHT, 1, None)]) + encoder.failed(error)
    check("/v1/responses", encoder, body)
