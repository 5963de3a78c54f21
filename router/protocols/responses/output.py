"""The items of an answer as they grow, and the events that tell of it. Pure, but for fresh ids.

Streams and whole bodies come from the same items, so that they cannot differ.

Source: OpenAI API reference, "Streaming events" of the Responses API.
"""

from collections.abc import Callable
from typing import Any, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from backends.wire.output import Output, PositionLogprobs, ToolCallDelta
from router.protocols.answers import sse_event
from router.protocols.fields.logprobs import PositionLogprob, position_logprobs
from router.protocols.openai.answer_schemas import Timings
from router.protocols.responses import answer_schemas as answers
from router.protocols.responses import event_schemas
from router.protocols.responses.answer_schemas import ItemStatus, OutputItem
from router.protocols.responses.custom_input import CustomInput
from router.protocols.responses.event_schemas import StreamEvent
from router.protocols.responses.items import encoded_reasoning, fresh_id
from router.protocols.responses.tools import ClientTools


class EventWriter:
    """Encodes the events of one stream.

    Args:
        is_on: False = nobody wants any.

    Attributes:
        number: Of the next one, from 0.
    """

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._chunks: list[bytes] = []
        self.number = 0

    def write(self, event: StreamEvent) -> None:
        """Add the next event."""
        if self._is_on:
            self._chunks.append(sse_event(event, str(event.__struct_config__.tag)))
            self.number += 1

    def taken(self) -> bytes:
        """Return what was added since the last time."""
        chunks, self._chunks = b"".join(self._chunks), []
        return chunks


class _Place(TypedDict):
    sequence_number: int
    item_id: str
    output_index: int


class OutputItems:
    """Takes an answer's output and tells what becomes of its items: thinking, text and calls, in their order.

    Args:
        tools: By whose names calls are told.
        timings: Returns those that texts are to have with them.
        encodes_reasoning: Whether thoughts are wanted as `encrypted_content` too.

    Attributes:
        items: Those that are complete.
    """

    def __init__(
        self,
        events: EventWriter,
        tools: ClientTools,
        *,
        has_logprobs: bool,
        encodes_reasoning: bool,
        timings: Callable[[], Timings | UnsetType] = lambda: UNSET,
    ) -> None:
        self._events = events
        self._tools = tools
        self._timings = timings
        self._has_logprobs = has_logprobs
        self._encodes_reasoning = encodes_reasoning
        self._open: OutputItem | None = None
        self._call_index: int | None = None
        self._custom = CustomInput()
        self._texts: list[str] = []
        self._logprobs: list[PositionLogprob] = []
        self._untold: list[PositionLogprobs] = []
        self.items: list[OutputItem] = []

    def add(self, output: Output) -> None:
        """Take over what is new; the rest of a call that is open comes before what is behind it."""
        open_call = self._call_index
        for call in output.tool_calls:
            if call.index == open_call:
                self._add_call(call)
        if output.reasoning:
            self._add_reasoning(output.reasoning)
        if self._has_logprobs and not output.reasoning and not output.tool_calls:
            self._untold += output.logprobs
        if output.text:
            self._add_text(output.text)
        for call in output.tool_calls:
            if call.index != open_call:
                self._add_call(call)

    def add_whole(self, item: OutputItem) -> None:
        """Take over an item that is complete at once."""
        self._begin(item)
        self._close("completed")

    def finish(self, *, is_cut: bool) -> None:
        """End the last item; an answer without any has an empty text.

        Args:
            is_cut: Whether the answer was cut before it ended by itself.
        """
        if self._open is None and all(isinstance(item, answers.CompactionItem) for item in self.items):
            self._open_message()
        self._close("incomplete" if is_cut else "completed")

    def so_far(self, status: ItemStatus = "incomplete") -> list[OutputItem]:
        """Return all items as they stand; by default for an answer that ends with an error.

        Args:
            status: Of the open one.
        """
        if self._open is None:
            return list(self.items)
        return [*self.items, self._written(self._open, status)]

    @property
    def _place(self) -> _Place:
        """The fields of an event that say of what it tells: of the open item."""
        assert self._open is not None
        return {"sequence_number": self._events.number, "item_id": self._open.id, "output_index": len(self.items)}

    def _add_reasoning(self, text: str) -> None:
        if not isinstance(self._open, answers.ReasoningItem):
            self._begin(answers.ReasoningItem(id=fresh_id("rs"), summary=[], content=[], status="in_progress"))
            self._events.write(
                event_schemas.ContentPartAdded(**self._place, content_index=0, part=answers.ReasoningContent(""))
            )
        self._texts.append(text)
        self._events.write(event_schemas.ReasoningTextDelta(**self._place, delta=text, content_index=0))

    def _add_text(self, text: str) -> None:
        if not isinstance(self._open, answers.MessageItem):
            self._open_message()
        self._texts.append(text)
        self._events.write(
            event_schemas.OutputTextDelta(
                **self._place, delta=text, content_index=0, logprobs=self._new_logprobs(), timings=self._timings()
            )
        )

    def _add_call(self, call: ToolCallDelta) -> None:
        if self._call_index != call.index:
            self._begin(self._new_call(call.call_id or "", call.name or ""))
            self._call_index, self._custom = call.index, CustomInput()
        if not call.arguments:
            return
        if isinstance(self._open, answers.CustomCallItem):
            self._add_custom_input(self._custom.add(call.arguments))
        else:
            self._texts.append(call.arguments)
            self._events.write(event_schemas.ArgumentsDelta(**self._place, delta=call.arguments))

    def _new_call(self, call_id: str, name: str) -> answers.FunctionCallItem | answers.CustomCallItem:
        tool = self._tools.called(name)
        place: dict[str, Any] = {
            "call_id": call_id,
            "name": name if tool is None else tool.name,
            "namespace": UNSET if tool is None or tool.namespace is None else tool.namespace,
            "status": "in_progress",
        }
        if tool is None or not tool.is_custom:
            return answers.FunctionCallItem(id=fresh_id("fc"), arguments="", **place)
        return answers.CustomCallItem(id=fresh_id("ctc"), input="", **place)

    def _add_custom_input(self, text: str) -> None:
        if text:
            self._events.write(event_schemas.CustomInputDelta(**self._place, delta=text))

    def _open_message(self) -> None:
        self._begin(answers.MessageItem(id=fresh_id("msg"), role="assistant", content=[], status="in_progress"))
        part = answers.OutputTextContent(text="", annotations=[], logprobs=[])
        self._events.write(event_schemas.ContentPartAdded(**self._place, content_index=0, part=part))

    def _new_logprobs(self) -> list[PositionLogprob]:
        """Return those of the tokens that have brought text since the last time."""
        if not self._untold:
            return []
        entries, self._untold = position_logprobs(self._untold), []
        self._logprobs += entries
        return entries

    def _begin(self, item: OutputItem) -> None:
        self._close("completed")
        self._open = item
        number, index = self._events.number, len(self.items)
        self._events.write(event_schemas.OutputItemAdded(sequence_number=number, output_index=index, item=item))

    def _close(self, status: ItemStatus) -> None:
        if self._open is None:
            return
        write = self._events.write
        if isinstance(self._open, answers.CustomCallItem):
            self._add_custom_input(self._custom.finish())
        match item := self._written(self._open, status):
            case answers.FunctionCallItem(name=name, arguments=arguments):
                write(event_schemas.ArgumentsDone(**self._place, name=name, arguments=arguments))
            case answers.CustomCallItem(input=text):
                write(event_schemas.CustomInputDone(**self._place, input=text))
            case answers.ReasoningItem(content=[part]):
                write(event_schemas.ReasoningTextDone(**self._place, content_index=0, text=part.text))
                write(event_schemas.ContentPartDone(**self._place, content_index=0, part=part))
            case answers.MessageItem(content=[answers.OutputTextContent() as part]):
                write(
                    event_schemas.OutputTextDone(
                        **self._place, content_index=0, text=part.text, logprobs=list(self._logprobs)
                    )
                )
                write(event_schemas.ContentPartDone(**self._place, content_index=0, part=part))
        write(
            event_schemas.OutputItemDone(sequence_number=self._events.number, output_index=len(self.items), item=item)
        )
        self.items.append(item)
        self._open = self._call_index = None
        self._texts, self._logprobs = [], []

    def _written(self, item: OutputItem, status: ItemStatus) -> OutputItem:
        """Return the open item with what has been written of it."""
        text = "".join(self._texts)
        match item:
            case answers.FunctionCallItem():
                return msgspec.structs.replace(item, arguments=text, status=status)
            case answers.CustomCallItem():
                return msgspec.structs.replace(item, input=self._custom.text, status=status)
            case answers.ReasoningItem():
                encoded = encoded_reasoning(text) if self._encodes_reasoning else UNSET
                part = answers.ReasoningContent(text)
                return msgspec.structs.replace(item, content=[part], status=status, encrypted_content=encoded)
            case answers.MessageItem():
                if status != "in_progress":  # else they are still to be told
                    self._new_logprobs()
                said = answers.OutputTextContent(text=text, annotations=[], logprobs=list(self._logprobs))
                return msgspec.structs.replace(item, content=[said], status=status)
            case answers.CompactionItem():
                return item
