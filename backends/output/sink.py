"""What a parser has to put out and has not yet: text, reasoning and tool call fragments. It reads nothing."""

import re
import secrets
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from backends.output.source import MalformedError
from backends.wire.output import Output, ToolCallDelta

_MODEL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
"""Mistral's ids. Source: its chat templates: "Tool call IDs should be alphanumeric strings with length 9!"."""


class CallsDoneError(Exception):
    """The only call that was allowed is complete; never leaves this package."""


class Sink:
    """Collects output between two looks at it, and follows the call that is being written.

    Args:
        tools: JSON schema of the arguments by the names that make a call; all other names do not.
        is_parallel: Whether more than one call may come.
        said: What the client calls some of them by.

    Attributes:
        num_calls: Calls that have begun to come out.
        is_call_open: Whether the last one's arguments are not complete.
    """

    def __init__(
        self,
        tools: Mapping[str, Mapping[str, Any]],
        *,
        is_parallel: bool,
        said: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.tools = tools
        self._said = said
        self.is_parallel = is_parallel
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCallDelta] = []
        self._arguments: list[str] = []
        self._ids: set[str] = set()
        self.num_calls = 0
        self.is_call_open = False
        self._closing: Callable[[], str] | None = None

    def put_text(self, text: str) -> None:
        """Add content."""
        if text:
            self._text.append(text)

    def put_reasoning(self, text: str) -> None:
        """Add thinking."""
        if text:
            self._reasoning.append(text)

    def check_name(self, name: str) -> None:
        """Raise MalformedError unless `name` is one of the tools."""
        if name not in self.tools:
            raise MalformedError

    def begin_call(self, name: str, closing: Callable[[], str], *, model_id: str | None = None) -> None:
        """Put out the first fragment of a call; arguments follow.

        Args:
            closing: Returns what makes the arguments that were put out so far a JSON object.
            model_id: Id that the model gave; used if it has the form of one and is new.
        """
        self._merge_arguments()
        call_id = model_id if model_id and _MODEL_CALL_ID.fullmatch(model_id) else None
        if call_id is None or call_id in self._ids:
            call_id = f"call_{secrets.token_hex(12)}"
        self._ids.add(call_id)
        self._calls.append(ToolCallDelta(self.num_calls, call_id, self._said.get(name, name)))
        self.num_calls += 1
        self.is_call_open = True
        self._closing = closing

    def put_arguments(self, text: str) -> None:
        """Add to the open call's arguments."""
        assert self.is_call_open
        if text:
            self._arguments.append(text)

    def end_call(self) -> None:
        """Note that the arguments are complete.

        Raises:
            CallsDoneError: No other call is allowed.
        """
        self.is_call_open = False
        if not self.is_parallel:
            raise CallsDoneError

    def break_call(self) -> None:
        """Make the open call's arguments a JSON object: what follows in the text is not part of them."""
        assert self._closing is not None
        self.put_arguments(self._closing())
        self.is_call_open = False

    def take(self) -> Output:
        """Return what was collected since the last look."""
        self._merge_arguments()
        output = Output("".join(self._text), "".join(self._reasoning), tuple(self._calls))
        self._text.clear()
        self._reasoning.clear()
        self._calls.clear()
        return output

    def _merge_arguments(self) -> None:
        if self._arguments:
            self._calls.append(ToolCallDelta(self.num_calls - 1, arguments="".join(self._arguments)))
            self._arguments.clear()
