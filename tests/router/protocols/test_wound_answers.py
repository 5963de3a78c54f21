"""What answers of all protocols say of a conversation that was wound; nothing is served."""

from collections.abc import Callable
from typing import Any, cast

import msgspec
import pytest
from msgspec import UNSET

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output
from backends.wire.prompts import ChatPrompt, PromptMessage
from backends.wire.request import SamplingParams, SequenceSpec
from registry.engines import Engine, EngineKind
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.protocols.anthropic.answer_schemas import AppliedEdits
from router.protocols.anthropic.encoding import AnthropicHead, AnthropicStream, message_of
from router.protocols.fields.carried import carried_context
from router.protocols.fields.context import wound_header
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.protocols.openai.answer import CompletionHead, completion_of
from router.protocols.openai.encoding import CompletionStream, StreamOptions
from router.protocols.responses.compaction import wind_items
from router.protocols.responses.conversation import RequestItems
from router.protocols.responses.encoding import ResponseEncoder
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.schemas import ResponseRequest
from router.requests.collected import WholeAnswer
from router.requests.context import ContextEvent, ContextFacts
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent
from router.requests.keeping import KeptRequest
from router.requests.register import AnswerEncoder
from router.requests.request import GenerationRequest
from router.status import WorkerRef
from router.status.contexts import WoundFacts
from tests.support.api_answers import check_answer, endpoint_of

SENT: list[PromptMessage] = [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]
SHOWN: list[PromptMessage] = [{"role": "user", "content": "a summary"}, {"role": "user", "content": "two"}]
WANTED = GenerationRequest(
    model_request=ModelRequest("m"),
    prompts=(ChatPrompt(SENT),),
    spec=SequenceSpec(sampling=SamplingParams(), max_tokens=None, stop=()),
)
WOUND = WoundFacts(turns=12, tokens_before=900, tokens_after=300, narrative_tokens=40, by="m", ms=12.5, left_out=False)
FACTS = ContextFacts(used=310, limit=1000, context_id="ctx_1", wound=WOUND)
TOLD = {
    "used": 310,
    "limit": 1000,
    "id": "ctx_1",
    "wound": {
        "turns": 12,
        "tokens_before": 900,
        "tokens_after": 300,
        "narrative_tokens": 40,
        "by": "m",
        "ms": 12.5,
        "left_out": False,
    },
}


class Served:
    """What encoders read of a generation whose conversation was wound."""

    choice = Choice(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), EngineReason.REQUEST)
    worker = WorkerRef(3, 4711)
    queue_ms = 2.0
    load_ms = 5.0
    request = WANTED
    context = FACTS
    kept = KeptRequest(
        request=msgspec.structs.replace(WANTED, prompts=(ChatPrompt(SHOWN),)),
        context_id="ctx_1",
        wound=WOUND,
        narrative="a summary",
    )


GENERATION = cast("Generation", Served())
END = SequenceEnd("stop", Usage(300, 0, 2), SequenceTimings(1.0, 12.0, 8.0))
EVENTS: list[list[GenerationEvent]] = [
    [ContextEvent(FACTS), ProgressEvent(0, 0, 300, 0)],
    [ProgressEvent(0, 300, 300, 0)],
    [OutputEvent(0, Output("Hm."), 1)],
    [OutputEvent(0, Output(), 0, END)],
]


def answered(path: str, encoder: AnswerEncoder) -> str:
    """Return an answer that has the document's types."""
    body = b"".join(encoder.encode(events) for events in EVENTS) + encoder.tail()
    media = "application/json" if encoder.media_type is None else encoder.media_type.decode()
    check_answer(endpoint_of("POST", path), 200, {"content-type": media}, body)
    return body.decode()


def named_events(stream: str) -> list[tuple[str | None, Any]]:
    """Return the events of a stream, each with its name."""
    found: list[tuple[str | None, Any]] = []
    for block in stream.split("\n\n")[:-1]:
        lines = dict(line.split(": ", 1) for line in block.split("\n"))
        if lines["data"] != "[DONE]":
            found.append((lines.get("event"), msgspec.json.decode(lines["data"])))
    return found


def test_the_header_of_a_whole_answer() -> None:
    assert wound_header(FACTS) == b"turns=12; before=900; after=300; id=ctx_1"
    left_out = msgspec.structs.replace(FACTS, wound=msgspec.structs.replace(WOUND, by=None, left_out=True))
    assert wound_header(left_out) == b"turns=12; before=900; after=300; id=ctx_1; left_out"
    assert wound_header(msgspec.structs.replace(FACTS, wound=None)) is None
    assert wound_header(None) is None


CHAT = CompletionHead(answer_id="a", created=7, model="m", is_chat=True)


def test_a_chat() -> None:
    whole = WholeAnswer(1, lambda outputs: completion_of(CHAT, GENERATION, outputs))
    assert msgspec.json.decode(answered("/v1/chat/completions", whole))["timings"]["context"] == TOLD
    stream = named_events(
        answered("/v1/chat/completions", CompletionStream(CHAT, GENERATION, StreamOptions(includes_usage=True)))
    )
    assert stream[0] == (
        "context_wound",
        {
            "id": "a",
            "object": "chat.completion.chunk",
            "created": 7,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": None},
                    "logprobs": None,
                    "finish_reason": None,
                }
            ],
            "usage": None,
            "context_wound": TOLD,
        },
    )
    assert [name for name, _ in stream[1:]] == [None] * (len(stream) - 1)
    roles = [choice["delta"].get("role") for _, chunk in stream for choice in chunk["choices"]]
    assert roles.count("assistant") == 1
    assert stream[-1][1]["timings"]["context"] == TOLD


def anthropic(*, is_stream: bool, tells_compaction: bool) -> AnswerEncoder:
    head = AnthropicHead(
        answer_id="a",
        model="m",
        max_tokens=9,
        tells_compaction=tells_compaction,
        applied=AppliedEdits([]) if tells_compaction else UNSET,
    )
    if is_stream:
        return AnthropicStream(head, GENERATION)
    return WholeAnswer(1, lambda outputs: message_of(head, outputs[0], GENERATION))


def test_a_message() -> None:
    whole = msgspec.json.decode(answered("/v1/messages", anthropic(is_stream=False, tells_compaction=False)))
    assert whole["mlxr"]["context"] == TOLD
    assert [block["type"] for block in whole["content"]] == ["text"]
    stream = named_events(answered("/v1/messages", anthropic(is_stream=True, tells_compaction=False)))
    assert [name for name, _ in stream[:2]] == ["message_start", "context_wound"]
    assert stream[1][1] == {"type": "context_wound", "context": TOLD}
    assert stream[-2][1]["mlxr"]["context"] == TOLD


def test_a_message_that_is_to_have_a_compaction_block() -> None:
    whole = msgspec.json.decode(answered("/v1/messages", anthropic(is_stream=False, tells_compaction=True)))
    block, text = whole["content"]
    assert (block["type"], block["content"], text["text"]) == ("compaction", "a summary", "Hm.")
    assert carried_context(block["encrypted_content"], "x").put_behind(SENT) == SHOWN
    assert whole["context_management"] == {"applied_edits": []}
    stream = [
        event for _, event in named_events(answered("/v1/messages", anthropic(is_stream=True, tells_compaction=True)))
    ]
    start, delta, stop = stream[2:5]
    assert (start["index"], start["content_block"]["type"], stop["index"]) == (0, "compaction", 0)
    assert delta["delta"] == {
        "type": "compaction_delta",
        **{key: block[key] for key in ("content", "encrypted_content")},
    }
    assert stream[5]["index"] == 1


@pytest.mark.parametrize(("path", "is_chat"), [("/api/chat", True), ("/api/generate", False)])
def test_ollamas_lines(path: str, *, is_chat: bool) -> None:
    head = OllamaHead(model="m", is_chat=is_chat, started_at=0.0)
    whole = WholeAnswer(1, lambda outputs: whole_line(head, GENERATION, outputs[0]))
    assert msgspec.json.decode(answered(path, whole))["mlxr"]["context"] == TOLD
    lines = [msgspec.json.decode(line) for line in answered(path, OllamaStream(head, GENERATION)).splitlines()]
    assert (lines[0]["done"], lines[0]["context_wound"]) == (False, TOLD)
    assert (lines[0]["message"]["content"] if is_chat else lines[0]["response"]) == ""
    assert lines[-1]["mlxr"]["context"] == TOLD


def head_of(history: list[dict[str, Any]] | None = None, **fields: Any) -> ResponseHead:
    request = msgspec.convert({"model": "m", "input": "two", **fields}, ResponseRequest)
    return ResponseHead(
        response_id="resp_1",
        created_at=7,
        model="m",
        request=request,
        items=RequestItems(history=history or [], own=[], root_id=None),
        wanted=WANTED,
        service_tier="default",
        is_stored=True,
    )


COMPACTION: dict[str, Any] = {"context_management": [{"type": "compaction"}]}


def response(**fields: Any) -> Callable[[], str]:
    encoder = ResponseEncoder(head_of(**fields), GENERATION, lambda _: None)
    return lambda: answered("/v1/responses", encoder)


def test_a_response() -> None:
    whole = msgspec.json.decode(response()())
    assert whole["timings"]["context"] == TOLD
    assert [item["type"] for item in whole["output"]] == ["message"], "what clients index is where it was"
    stream = named_events(response(stream=True)())
    assert [name for name, _ in stream[:3]] == ["response.created", *["response.in_progress"] * 2]
    assert ["context_wound" in event for _, event in stream[:3]] == [False, False, True]
    assert stream[2][1]["context_wound"] == TOLD
    assert [event["sequence_number"] for _, event in stream] == list(range(len(stream)))


def test_a_response_that_is_to_have_a_compaction_item() -> None:
    item, message = msgspec.json.decode(response(**COMPACTION)())["output"]
    assert (item["type"], item["context_id"], item["wound"], message["type"]) == (
        "compaction",
        "ctx_1",
        TOLD["wound"],
        "message",
    )
    assert carried_context(item["encrypted_content"], "x").put_behind(SENT) == SHOWN
    stream = named_events(response(stream=True, **COMPACTION)())
    (_, added), (_, done) = stream[3:5]
    assert (added["type"], done["type"]) == ("response.output_item.added", "response.output_item.done")
    assert added["item"] == done["item"] == item
    assert (added["output_index"], stream[5][1]["output_index"]) == (0, 1)


def test_what_is_kept_says_once_that_it_was_wound() -> None:
    (item,) = wind_items(head_of(), GENERATION)
    assert (item.context_id, item.id) == ("ctx_1", "cmp_1")
    assert not carried_context(item.encrypted_content, "x").messages, "the history has all of it"
    assert wind_items(head_of([msgspec.to_builtins(item)]), GENERATION) == []
    assert wind_items(head_of(**COMPACTION), GENERATION) == [], "its output has the item itself"
