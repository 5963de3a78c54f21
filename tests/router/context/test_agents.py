"""Sessions of coding agents, in the shapes of three of them, on their way through units, plans and chains."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from backends.wire.prompts import ChatPrompt, PromptMessage
from registry.engines import EngineKind
from router.context.chain import chain_of
from router.context.narrative import wound
from router.context.plan import Budget, WindPlan, plan_wind
from router.context.turns import units_of
from router.protocols.anthropic.messages import read_messages
from router.protocols.anthropic.schemas import Message, TextBlock
from router.protocols.openai.messages import template_messages
from router.protocols.openai.schemas import ChatMessage
from router.protocols.responses.items import read_items
from router.protocols.responses.request import conversation_messages
from router.protocols.responses.tools import read_tools
from tests.support.coding_agent import CodingAgent, broken_pairs

BUDGET = Budget(context_length=4096, system_tokens=400, frame_tokens=60, answer_room=1024)


def _chat(body: dict[str, Any]) -> list[PromptMessage]:
    return template_messages(msgspec.convert(body["messages"], list[ChatMessage]), EngineKind.LLAMACPP)


def _responses(body: dict[str, Any]) -> list[PromptMessage]:
    items: dict[str, Any] = dict(read_items(body["input"]))
    return conversation_messages(
        list(items.values()), body["instructions"], read_tools(body["tools"]), paths=list(items)
    )


def _anthropic(body: dict[str, Any]) -> list[PromptMessage]:
    system = msgspec.convert(body["system"], list[TextBlock])
    return read_messages(msgspec.convert(body["messages"], list[Message]), system).messages


SHAPES: dict[str, tuple[Callable[[CodingAgent, int], dict[str, Any]], Callable[[dict[str, Any]], list[PromptMessage]]]]
SHAPES = {
    "chat": (CodingAgent.chat, _chat),
    "responses": (CodingAgent.responses, _responses),
    "anthropic": (CodingAgent.anthropic, _anthropic),
}


def _prompt(shape: str, agent: CodingAgent, num_rounds: int) -> ChatPrompt:
    body_of, read = SHAPES[shape]
    return ChatPrompt(read(body_of(agent, num_rounds)))


def _sizes(prompt: ChatPrompt) -> list[int]:
    return [len(msgspec.json.encode(message.get("content") or "")) // 4 + 8 for message in prompt.messages]


@pytest.mark.parametrize("shape", SHAPES)
def test_each_request_of_a_session_begins_as_the_one_before(shape: str) -> None:
    agent = CodingAgent(1)
    before: tuple[bytes, ...] = ()
    for num_rounds in range(40):
        prompt = _prompt(shape, agent, num_rounds)
        chain = chain_of(prompt)
        assert chain[: len(before)] == before
        assert not broken_pairs(prompt.messages)
        before = chain


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(2))
def test_a_session_of_150_rounds_is_wound_again_and_again(shape: str, seed: int) -> None:
    """The longest told beginning takes its place in each third request, and is wound on where that is full."""
    agent = CodingAgent(seed)
    stored: dict[bytes, tuple[int, int | None]] = {}
    num_winds = 0
    for num_rounds in range(0, 150, 3):
        prompt = _prompt(shape, agent, num_rounds)
        chain, sizes = chain_of(prompt), _sizes(prompt)
        ends = [end for end in units_of(prompt.messages).told_ends if chain[end] in stored]
        begin, task = stored[chain[ends[-1]]] if ends else (0, None)
        units = units_of(prompt.messages, begin, task)
        earlier = 300 if ends else 0
        used = BUDGET.system_tokens + earlier + sum(sizes[at] for unit in units.units for at in unit.indexes)
        if used > 0.7 * BUDGET.context_length:
            plan = plan_wind(units, sizes, msgspec.structs.replace(BUDGET, earlier_tokens=earlier))
            assert isinstance(plan, WindPlan)
            assert plan.prompt_tokens <= BUDGET.target
            begin, task, num_winds = plan.told_end, plan.task, num_winds + 1
            stored[chain[begin]] = begin, task
        shown = wound(prompt, begin, task, "Told.").messages if begin else prompt.messages
        assert not broken_pairs(shown)
        wishes = [message for message in prompt.messages if message["role"] == "user"]
        assert wishes[-1] in shown, "what the agent works on is there to the byte"
    assert num_winds >= 8
