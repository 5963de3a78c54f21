"""The OpenAI Python client's typed helpers, unmodified: parsing into models, event streams, tools."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.gateway_process import GatewayProcess

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
FOX: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Describe the fox."}]


class Animal(pydantic.BaseModel):
    """Bounded everywhere, so that a random model comes to an end."""

    kind: Literal["fox", "bear"]
    name: Annotated[str, pydantic.Field(max_length=6)]
    legs: Annotated[int, pydantic.Field(ge=0, le=99)]
    is_tame: bool


class Weather(pydantic.BaseModel):
    """Tell the weather."""

    town: Annotated[str, pydantic.Field(max_length=6)]
    unit: Literal["C", "F"]


@pytest.fixture
def client(tooled_gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{tooled_gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@ENGINES
@pytest.mark.parametrize("temperature", [0, 2])
def test_parse_gives_a_pydantic_object(client: openai.OpenAI, engine: str, temperature: float) -> None:
    answer = client.chat.completions.parse(
        model=f"tooled@{engine}",
        messages=FOX,
        response_format=Animal,
        temperature=temperature,
        seed=3,
        max_tokens=400,
        logit_bias={str(ord('"') - ord("!")): 3},
    )
    assert isinstance(answer.choices[0].message.parsed, Animal)
    assert answer.choices[0].finish_reason == "stop"


@ENGINES
def test_the_stream_helper_sees_deltas_and_the_parsed_end(client: openai.OpenAI, engine: str) -> None:
    with client.chat.completions.stream(
        model=f"tooled@{engine}", messages=FOX, response_format=Animal, temperature=1, seed=5, max_tokens=400
    ) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    assert isinstance(final.choices[0].message.parsed, Animal)
    deltas = [event.delta for event in events if event.type == "content.delta"]
    (done,) = [event for event in events if event.type == "content.done"]
    assert "".join(deltas) == done.content == final.choices[0].message.content


@ENGINES
def test_tools_are_parsed_into_their_models(client: openai.OpenAI, engine: str) -> None:
    answer = client.chat.completions.parse(
        model=f"tooled@{engine}",
        messages=FOX,
        tools=[openai.pydantic_function_tool(Weather)],
        tool_choice={"type": "function", "function": {"name": "Weather"}},
        parallel_tool_calls=False,
        temperature=1,
        seed=1,
        max_tokens=400,
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    (call,) = choice.message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Weather)


@ENGINES
def test_tool_calls_stream_in_fragments_and_their_results_go_back(client: openai.OpenAI, engine: str) -> None:
    """The loop that every agent runs: call, result, answer."""
    tools: list[Any] = [openai.pydantic_function_tool(Weather)]
    common: dict[str, Any] = {"model": f"tooled@{engine}", "tools": tools, "temperature": 1, "seed": 2}
    with client.chat.completions.stream(
        **common, messages=FOX, tool_choice="required", parallel_tool_calls=False, max_tokens=400
    ) as stream:
        events = list(stream)
        message = stream.get_final_completion().choices[0].message
    (done,) = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    fragments = [event.arguments_delta for event in events if event.type == "tool_calls.function.arguments.delta"]
    assert len(fragments) > 1
    assert "".join(fragments) == done.arguments
    (call,) = message.tool_calls or []
    turns: list[Any] = [
        *FOX,
        message,
        {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"degrees": 21})},
    ]
    answer = client.chat.completions.create(**common, messages=turns, max_tokens=20)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 20
