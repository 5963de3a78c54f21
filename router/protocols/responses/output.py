"""The items of an answer as they grow, and the events that tell of it. Pure, but for fresh ids.

Streams and whole bodies come from the same items, so that they cannot differ.

Source: OpenAI API reference, "Streaming events" of the Responses API.
"""

from collections.abc import Callable
from typing import Any

from backends.wire.output import Output, PositionLogprobs, ToolCallDelta
from router.protocols.fields.logprobs import PositionLogprob, position_logprobs
from router.protocols.responses.items import Item, fresh_id, seal_reasoning

Emit = Callable[[str, dict[str, Any]], None]


class _OpenItem:
    """The item that is being written.

    Attributes:
        texts: The pieces of its text, or of its arguments.
        key: Of a call, its index in the answer; None for others.
    """

    def __init__(self, item: Item, key: int | None = None) -> None:
        self.item = item
        self.texts: list[str] = []
        self.key = key


class OutputItems:
    """Takes an answer's output and tells what becomes of its items: thinking, text and calls, in their order.

    Args:
        emit: Called with the type and the fields of every event.
        seals_reasoning: Whether thoughts are wanted as `encrypted_content` too.
    """

    def __init__(self, emit: Emit, *, has_logprobs: bool, seals_reasoning: bool) -> None:
        self._emit = emit
        self._has_logprobs = has_logprobs
        self._seals_reasoning = seals_reasoning
        self._open: _OpenItem | None = None
        self._logprobs: list[PositionLogprob] = []
        self._untold: list[PositionLogprobs] = []
        self.items: list[Item] = []

    def add(self, output: Output) -> None:
        """Take over what is new."""
        if output.reasoning:
            self._add_reasoning(output.reasoning)
        if self._has_logprobs and not output.reasoning and not output.tool_calls:
            self._untold += output.logprobs
        if output.text:
            self._add_text(output.text)
        for call in output.tool_calls:
            self._add_call(call)

    def finish(self, *, is_cut: bool) -> None:
        """End the last item; an answer without any has an empty text.

        Args:
            is_cut: Whether the answer was cut before it ended by itself.
        """
        if self._open is None and not self.items:
            self._open_message()
        self._close("incomplete" if is_cut else "completed")

    def so_far(self) -> list[Item]:
        """Return all items as they stand, for an answer that ends with an error."""
        if self._open is None:
            return list(self.items)
        return [*self.items, self._written(self._open, "incomplete")]

    @property
    def _place(self) -> dict[str, Any]:
        assert self._open is not None
        return {"item_id": self._open.item["id"], "output_index": len(self.items)}

    def _add_reasoning(self, text: str) -> None:
        if self._kind != "reasoning":
            self._begin({"id": fresh_id("rs"), "type": "reasoning", "summary": [], "content": []})
            part = {"type": "reasoning_text", "text": ""}
            self._emit("response.content_part.added", {**self._place, "content_index": 0, "part": part})
        self._push("response.reasoning_text.delta", text, {"content_index": 0})

    def _add_text(self, text: str) -> None:
        if self._kind != "message":
            self._open_message()
        self._push("response.output_text.delta", text, {"content_index": 0, "logprobs": self._new_logprobs()})

    def _add_call(self, call: ToolCallDelta) -> None:
        if self._open is None or self._open.key != call.index:
            item = {"id": fresh_id("fc"), "type": "function_call", "call_id": call.call_id, "name": call.name}
            self._begin({**item, "arguments": ""}, call.index)
        if call.arguments:
            self._push("response.function_call_arguments.delta", call.arguments, {})

    def _open_message(self) -> None:
        self._begin({"id": fresh_id("msg"), "type": "message", "role": "assistant", "content": []})
        part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        self._emit("response.content_part.added", {**self._place, "content_index": 0, "part": part})

    def _new_logprobs(self) -> list[PositionLogprob]:
        """Return those of the tokens that have brought text since the last time."""
        if not self._untold:
            return []
        entries, self._untold = position_logprobs(self._untold), []
        self._logprobs += entries
        return entries

    @property
    def _kind(self) -> str | None:
        return None if self._open is None else self._open.item["type"]

    def _begin(self, item: Item, key: int | None = None) -> None:
        if self._open is not None:
            self._close("completed")
        self._open = _OpenItem(item, key)
        self._emit(
            "response.output_item.added",
            {"output_index": len(self.items), "item": {**item, "status": "in_progress"}},
        )

    def _push(self, event: str, delta: str, fields: dict[str, Any]) -> None:
        assert self._open is not None
        self._open.texts.append(delta)
        self._emit(event, {**self._place, "delta": delta, **fields})

    def _close(self, status: str) -> None:
        if self._open is None:
            return
        place, kind = self._place, self._kind
        item = self._written(self._open, status)
        if kind == "function_call":
            told = {"name": item["name"], "arguments": item["arguments"]}
            self._emit("response.function_call_arguments.done", {**place, **told})
        else:
            self._close_part(place, item["content"][0] if item["content"] else {"type": "reasoning_text", "text": ""})
        self._emit("response.output_item.done", {"output_index": len(self.items), "item": item})
        self.items.append(item)
        self._open = None
        self._logprobs = []

    def _close_part(self, place: dict[str, Any], part: dict[str, Any]) -> None:
        told: dict[str, Any] = {**place, "content_index": 0, "text": part["text"]}
        if part["type"] == "output_text":
            self._emit("response.output_text.done", {**told, "logprobs": part["logprobs"]})
        else:
            self._emit("response.reasoning_text.done", told)
        self._emit("response.content_part.done", {**place, "content_index": 0, "part": part})

    def _written(self, written: _OpenItem, status: str) -> Item:
        text = "".join(written.texts)
        item = {**written.item, "status": status}
        match item["type"]:
            case "function_call":
                return {**item, "arguments": text}
            case "reasoning":
                sealed = {"encrypted_content": seal_reasoning(text)} if self._seals_reasoning else {}
                return {**item, "content": [{"type": "reasoning_text", "text": text}], **sealed}
            case _:
                self._new_logprobs()
                part = {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self._logprobs)}
                return {**item, "content": [part]}
