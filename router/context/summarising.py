"""Asks a model for a narrative: a generation like any other, by nobody's request.

It is listed among the running ones, as `context`, and ended by its id like them; it calls no tools and is held to
nothing. Not here: what is asked (`narrative.py`), and what is done where nobody can tell (`winding.py`).
"""

import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from backends.wire.prompts import ChatPrompt
from backends.wire.request import OutputSpec, Priority, SamplingParams, SequenceSpec, Tool, ToolUse
from router.config import Config
from router.models.model_request import ModelRequest
from router.requests.collected import CollectedOutput
from router.requests.generation import Generation, GenerationEvent, OutputEvent
from router.requests.leased import RequestFacts
from router.requests.register import RequestRegister, whole_answer
from router.requests.request import GenerationRequest
from router.workers.supervisor import Supervisor

PROTOCOL: Final = "context"
"""By which requests of a summariser are listed."""


class Summariser(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked, for whom.

    Attributes:
        name: What the model is called.
        is_own: Whether it is the conversation's own model, on the engine that has its cache.
        owner: Id of the key whose conversation it is; None = the server's owner's.
        session_id: Of the conversation, or None.
    """

    name: str
    model_request: ModelRequest
    is_own: bool
    owner: str | None
    session_id: str | None


class Said(msgspec.Struct, frozen=True):
    """What was answered.

    Attributes:
        num_tokens: Of the text.
        is_cut: Whether it ended at its limit.
        has_thought: Whether thoughts took of that.
    """

    text: str
    num_tokens: int
    is_cut: bool
    has_thought: bool


class Summarising:
    """Puts questions to summarisers.

    Args:
        config: Gives the one in force.
    """

    def __init__(self, supervisor: Supervisor, requests: RequestRegister, config: Callable[[], Config]) -> None:
        self._supervisor = supervisor
        self._requests = requests
        self._config = config

    async def said(self, asked: ChatPrompt, by: Summariser, *, max_tokens: int, priority: Priority) -> Said:
        """Return what a summariser answers; one that is cancelled gives everything back.

        Args:
            max_tokens: Of its answer.

        Raises:
            RouterError: It cannot be asked, did not answer in the time that requests have, or was ended.
            BackendError: The prompt, or the engine.
            RegistryError: The model is unknown.
        """
        output = await self._generated(asked, by, max_tokens, priority)
        end = output.end
        num_tokens = max(0, end.usage.num_output_tokens - end.usage.num_reasoning_tokens)
        return Said(
            output.text, num_tokens, is_cut=end.reason == "length", has_thought=bool(end.usage.num_reasoning_tokens)
        )

    async def warm(self, prompt: ChatPrompt, by: Summariser) -> None:
        """Have a prompt evaluated in the background, and nothing generated; errors as of `said`."""
        await self._generated(prompt, by, 0, Priority.BACKGROUND)

    async def _generated(
        self, prompt: ChatPrompt, by: Summariser, max_tokens: int, priority: Priority
    ) -> CollectedOutput:
        # Calls are parted from the text, so that a model that makes one instead has said nothing.
        tools = tuple(_tools_of(prompt))
        request = GenerationRequest(
            model_request=by.model_request,
            prompts=(prompt,),
            spec=SequenceSpec(
                SamplingParams(temperature=0.0),
                max_tokens,
                output=OutputSpec(tools=ToolUse(tools) if tools else None),
                priority=priority,
                session_id=by.session_id,
                min_room=max(1, max_tokens),
            ),
            owner=by.owner,
        )
        facts = RequestFacts(
            request_id=f"{PROTOCOL}-{secrets.token_hex(12)}", protocol=PROTOCOL, client=PROTOCOL, owner=by.owner
        )
        encoder = _Collecting()
        running = self._requests.start(facts, Generation(self._supervisor, request), encoder, self._config().limits)
        await whole_answer(running.follow())
        return encoder.output


class _Collecting:
    """An encoder that keeps what comes, and sends nothing."""

    media_type = None
    keep_alive = None

    def __init__(self) -> None:
        self.output = CollectedOutput()

    def forget(self) -> None:
        self.output = CollectedOutput()

    def encode(self, events: list[GenerationEvent]) -> bytes:
        for event in events:
            if isinstance(event, OutputEvent):
                self.output.add(event)
        return b""

    def tail(self) -> bytes:
        return b""


def _tools_of(prompt: ChatPrompt) -> list[Tool]:
    functions = [tool.get("function", {}) for tool in prompt.tools]
    return [Tool(each["name"], each.get("parameters") or {}) for each in functions if "name" in each]
