"""Golden sequences: which events come, in which order, with what in them."""

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
from router.protocols.responses.answer_schemas import MessageItem, OutputTextContent
from router.protocols.responses.conversation import RequestItems
from router.protocols.responses.encoding import ResponseEncoder
from router.protocols.responses.event_schemas import StreamEvent
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.items import read_items
from router.protocols.responses.schemas import ENCRYPTED_REASONING, LOGPROBS, ResponseRequest
from router.protocols.responses.tools import read_tools
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent
from router.requests.request import GenerationRequest
from router.status import WorkerRef

Event = dict[str, Any]
WANTED = GenerationRequest(
    model_request=ModelRequest("m"),
    prompts=(TextPrompt("p"),),
    spec=SequenceSpec(sampling=SamplingParams(), max_tokens=None, stop=()),
)


def end(reason: FinishReason = "stop") -> SequenceEnd:
    return SequenceEnd(reason, Usage(10, 4, 3, 1), SequenceTimings(1.0, 12.0, 8.0))


class Written:
    """An encoder and what it has told."""

    def __init__(self, **fields: Any) -> None:
        request = msgspec.convert({"model": "m", "input": "hi", "stream": True} | fields, ResponseRequest)
        self.kept: list[Any] = []
        head = ResponseHead(
            response_id="resp_1",
            created_at=7,
            model="m",
            request=request,
            items=RequestItems(history=[], own=[], root_id=None),
            wanted=WANTED,
            service_tier=None,
            is_stored=True,
            tools=read_tools(request.tools),
        )
        self.encoder = ResponseEncoder(
            head, _served(), lambda body: self.kept.append(msgspec.to_builtins(body)), clock=lambda: 9.5
        )

    def events(self, *outputs: Output, reason: FinishReason = "stop") -> list[Event]:
        chunks = [self.encoder.encode([OutputEvent(0, output, 1)]) for output in outputs]
        chunks.append(self.encoder.encode([OutputEvent(0, Output(), 0, end(reason))]))
        return decoded(b"".join([*chunks, self.encoder.tail()]))


def _served() -> Generation:
    class Served:
        choice = Choice(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), EngineReason.REQUEST)
        worker = WorkerRef(3, 4711)
        queue_ms = 2.0
        load_ms = 5.0
        context = None
        kept = None
        request = WANTED

    return cast("Generation", Served())


def decoded(chunks: bytes) -> list[Event]:
    blocks = chunks.decode().split("\n\n")
    assert blocks.pop() == ""
    events = []
    for block in blocks:
        name, _, data = block.partition("\n")
        event = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        msgspec.json.decode(data.removeprefix("data: "), type=StreamEvent)
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def names(events: list[Event]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_a_text() -> None:
    written = Written()
    events = written.events(Output("He"), Output("y"))
    assert names(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    added = events[2]["item"]
    assert added == {"id": added["id"], "type": "message", "role": "assistant", "content": [], "status": "in_progress"}
    place = {"item_id": added["id"], "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "text": "Hey", "annotations": [], "logprobs": []}
    head = {"type": "response.output_text.delta", "sequence_number": 4, **place}
    assert events[4] == {**head, "delta": "He", "logprobs": []}
    assert events[6] == {
        **head,
        "type": "response.output_text.done",
        "sequence_number": 6,
        "text": "Hey",
        "logprobs": [],
    }
    assert events[7]["part"] == part
    assert events[8]["item"] == {**added, "content": [part], "status": "completed"}
    final = events[9]["response"]
    assert final["output"] == [events[8]["item"]]
    assert (final["status"], final["completed_at"], final["created_at"]) == ("completed", 9, 7)
    assert final["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 6},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 13,
    }
    assert written.kept == [final]


def test_the_rest_of_a_call_comes_before_the_text_behind_it() -> None:
    begun = Output(tool_calls=(ToolCallDelta(0, "call_a", "f", "{"),))
    ended = Output("so", tool_calls=(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "call_b", "g", "{}")))
    output = Written().events(begun, ended)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["function_call", "message", "function_call"]
    assert [item.get("arguments") for item in output] == ["{}", None, "{}"]
    assert output[1]["content"][0]["text"] == "so"


def test_thoughts_then_a_text_then_two_calls() -> None:
    events = Written().events(
        Output(reasoning="hm"),
        Output(reasoning="m"),
        Output("Look"),
        Output(tool_calls=(ToolCallDelta(0, "call_a", "f", ""), ToolCallDelta(0, arguments='{"x":'))),
        Output(tool_calls=(ToolCallDelta(0, arguments="1}"), ToolCallDelta(1, "call_b", "g", "{}"))),
        reason="tool_calls",
    )
    assert names(events)[2:] == [
        "output_item.added",
        "content_part.added",
        "reasoning_text.delta",
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["reasoning", "message", "function_call", "function_call"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "hmm"}]
    assert output[0]["summary"] == []
    assert [item.get("arguments") for item in output[2:]] == ['{"x":1}', "{}"]
    assert [(item["call_id"], item["name"]) for item in output[2:]] == [("call_a", "f"), ("call_b", "g")]
    indices = [event["output_index"] for event in events if "output_index" in event]
    assert indices == sorted(indices)
    assert events[18]["arguments"] == '{"x":1}'


def test_an_answer_that_was_cut_is_incomplete() -> None:
    events = Written().events(Output("Hel"), reason="length")
    assert names(events)[-1] == "incomplete"
    final = events[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert final["completed_at"] is None
    assert final["output"][0]["status"] == "incomplete"


def test_an_answer_without_anything_is_an_empty_text() -> None:
    final = Written().events()[-1]["response"]
    assert final["output"][0]["content"][0]["text"] == ""
    assert final["status"] == "completed"


def test_a_whole_body_is_the_streams_last_object_but_for_ids() -> None:
    outputs = (Output(reasoning="hm"), Output("Hey"), Output(tool_calls=(ToolCallDelta(0, "c", "f", "{}"),)))
    streamed = Written().events(*outputs)[-1]["response"]
    written = Written(stream=None)
    assert written.encoder.media_type is None
    for output in outputs:
        assert written.encoder.encode([OutputEvent(0, output, 1)]) == b""
    assert written.encoder.encode([OutputEvent(0, Output(), 0, end())]) == b""
    whole = msgspec.json.decode(written.encoder.tail())
    assert written.kept == [whole]
    for body in (streamed, whole):
        for item in body["output"]:
            del item["id"]
    assert whole == streamed


def test_a_stream_begins_when_the_prompt_is_taken_in() -> None:
    encoder = Written().encoder
    assert names(decoded(encoder.encode([ProgressEvent(0, 0, 10, 0)]))) == ["created", "in_progress"]
    assert encoder.encode([ProgressEvent(0, 10, 10, 0)]) == b""


def test_progress_and_timings_are_told_to_those_who_ask() -> None:
    written = Written(return_progress=True, timings_per_token=True)
    told: list[GenerationEvent] = [
        ProgressEvent(0, 0, 10, 0),
        ProgressEvent(0, 6, 10, 4),
        OutputEvent(0, Output("Hey"), 1),
    ]
    chunks = [written.encoder.encode([event]) for event in told]
    chunks.append(written.encoder.encode([OutputEvent(0, Output(), 0, end())]))
    events = decoded(b"".join([*chunks, written.encoder.tail()]))
    assert names(events)[:5] == ["created", *["in_progress"] * 4]
    figures = [event["prompt_progress"] for event in events if "prompt_progress" in event]
    assert [(each["total"], each["cache"], each["processed"]) for each in figures] == [
        (10, 4, 4),
        (10, 4, 6),
        (10, 4, 10),
    ]
    (delta,) = [event for event in events if event["type"] == "response.output_text.delta"]
    assert delta["timings"]["predicted_n"] == 1
    assert events[-1]["timings"] == events[-1]["response"]["timings"]
    plain = Written().events(Output("Hey"))
    assert [event for event in plain if "timings" in event or "prompt_progress" in event] == []


def logprob(piece: bytes, number: float) -> PositionLogprobs:
    return PositionLogprobs(TokenLogprob(1, piece, number), (TokenLogprob(1, piece, number),))


def test_log_probabilities_are_those_of_the_text_alone() -> None:
    events = Written(include=[LOGPROBS], top_logprobs=1).events(
        Output(reasoning="hm", logprobs=(logprob(b"hm", -1.0),)),
        Output(logprobs=(logprob(b"\xe2", -2.0),)),
        Output("€", logprobs=(logprob(b"\x82\xac", -3.0),)),
        Output("!", logprobs=(logprob(b"!", -4.0),)),
    )
    told = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [[entry["logprob"] for entry in entries] for entries in told] == [[-2.0, -3.0], [-4.0]]
    (part,) = events[-1]["response"]["output"][1]["content"]
    assert [entry["logprob"] for entry in part["logprobs"]] == [-2.0, -3.0, -4.0]
    assert part["logprobs"][2]["top_logprobs"] == [{"token": "!", "logprob": -4.0, "bytes": [33]}]


def test_encoded_thoughts_come_back_as_they_were() -> None:
    final = Written(include=[ENCRYPTED_REASONING]).events(Output(reasoning="hm €"), Output("x"))[-1]["response"]
    sent = {key: final["output"][0][key] for key in ("id", "type", "summary", "encrypted_content")}
    (item,) = read_items([sent]).values()
    assert isinstance(item, dict)
    assert item["content"] == [{"type": "reasoning_text", "text": "hm €"}]
    assert item["id"] == sent["id"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EngineCrashedError("gone"), "server_error"),
        (QueueFullError(retry_after_s=3), "rate_limit_exceeded"),
        (RequestCancelledError(), "invalid_prompt"),
    ],
)
def test_an_error_in_a_stream_is_a_failed_response_with_what_was_written(error: Exception, code: str) -> None:
    written = Written()
    begun = written.encoder.encode([OutputEvent(0, Output("He"), 1)])
    events = decoded(begun + written.encoder.failed(error))
    assert names(events)[-1] == "failed"
    final = events[-1]["response"]
    assert (final["status"], final["error"]["code"]) == ("failed", code)
    assert str(error) in final["error"]["message"]
    assert final["output"][0]["content"][0]["text"] == "He"
    assert final["output"][0]["status"] == "incomplete"
    assert written.kept == [final]


def test_a_background_response_is_queued_first_and_can_be_cancelled() -> None:
    written = Written(background=True)
    assert written.encoder.live_body.status == "queued"
    begun = written.encoder.queued() + written.encoder.encode([OutputEvent(0, Output("He"), 1)])
    live = written.encoder.live_body
    (item,) = live.output
    assert live.status == "in_progress"
    assert isinstance(item, MessageItem)
    (part,) = item.content
    assert isinstance(part, OutputTextContent)
    assert part.text == "He"
    events = decoded(begun + written.encoder.failed(RequestCancelledError()))
    assert names(events)[:3] == ["created", "queued", "in_progress"]
    assert (events[-1]["response"]["status"], events[-1]["response"]["error"]) == ("cancelled", None)


def test_an_answer_without_an_end_is_an_error() -> None:
    with pytest.raises(EngineCrashedError):
        Written().encoder.tail()
