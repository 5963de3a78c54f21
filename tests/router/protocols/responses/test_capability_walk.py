"""The table's rows of responses, tried over HTTP: every "no" is a 400 that names the field, every "yes" is served."""

from typing import Any

import pytest

from registry.engines import EngineKind
from router.protocols.control.capabilities import field_capabilities
from router.protocols.fields.support import Support
from tests.support.fake_openai import FakeFront, with_front
from tests.support.response_samples import HONOURED, MODEL_DEPENDENT, PATH, PLAIN, REFUSED, REFUSED_PARTS

Body = dict[str, Any]

ROWS = [
    (row, row.engines[EngineKind.LLAMACPP])
    for row in field_capabilities([EngineKind.LLAMACPP])
    if "responses" in row.endpoints
]
"""Fields, and what becomes of them on the engine that serves here."""


async def ask(front: FakeFront, sample: Body) -> Any:
    return await front.client.post(PATH, json={"model": "m"} | PLAIN | sample)


@with_front()
async def test_every_no_is_a_400_that_names_the_field_before_any_model_is_touched(front: FakeFront) -> None:
    not_honoured = (Support.NEUTRAL_ONLY, Support.REFUSED)
    cases = [REFUSED[row.name] for row, support in ROWS if support in not_honoured]
    assert len(cases) == len(REFUSED)
    for sample, param in [*cases, *REFUSED_PARTS.values()]:
        for stream in (False, True):
            response = await ask(front, {"stream": stream} | sample)
            error = response.json()["error"]
            assert (response.status_code, error["code"]) == (400, "unsupported_parameter"), (param, error)
            assert error["param"] == param
            assert param in error["message"]
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}


@with_front()
async def test_every_neutral_value_is_accepted(front: FakeFront) -> None:
    for row, support in ROWS:
        if support is Support.HONOURED:
            continue
        for value in row.neutral:
            field, _, inner = row.name.partition(".")
            sample = {field: {inner: value} if inner else value}
            if field == "stream_options":
                sample = {"stream": True, field: {inner: bool(value)}}
            response = await ask(front, sample)
            assert response.status_code == 200, (row.name, value, response.text)


@with_front()
async def test_every_yes_is_served_or_refused_for_the_models_sake(front: FakeFront) -> None:
    for name, sample in HONOURED.items():
        response = await ask(front, sample)
        if name in MODEL_DEPENDENT and response.status_code == 400:
            assert response.json()["error"]["code"] == "unsupported_parameter", (name, response.text)
            continue
        assert response.status_code == 200, (name, response.text)
        assert "response.failed" not in response.text, (name, response.text)


BAD_VALUES: list[tuple[Body, str | None]] = [
    ({"input": None}, "input"),
    ({"input": []}, "input"),
    ({"input": 7}, "input"),
    ({"input": [7]}, "input[0]"),
    ({"input": [{}]}, "input[0].id"),
    ({"input": [{"role": "user"}]}, "input[0].content"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
    ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "user", "content": [{"type": "input_text", "text": 1}]}]}, "input[0].content[0].text"),
    ({"input": [{"role": "user", "content": [{"type": [], "text": "x"}]}]}, "input[0].content[0].type"),
    ({"input": [{"type": ["message"], "content": "x"}]}, "input[0].type"),
    ({"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]}, "input[0].call_id"),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input"),
    ({"input": [{"type": "reasoning", "id": "r", "encrypted_content": "mlxr1.\ud83d"}]}, None),
    ({"input": [{"type": "reasoning", "encrypted_content": "mlxr1.%%"}]}, "input[0].encrypted_content"),
    ({"input": [{"type": "reasoning", "encrypted_content": "mlxr1./w=="}]}, "input[0].encrypted_content"),
    ({"input": [{"type": "item_reference", "id": "nobody"}]}, "input[0].id"),
    ({"input": [{"id": "nobody"}]}, "input[0].id"),
    ({"previous_response_id": "resp_nobody"}, "previous_response_id"),
    ({"previous_response_id": ""}, "previous_response_id"),
    ({"tools": [{}]}, "tools[0].type"),
    ({"tools": [{"type": "function"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "a b"}]}, "tools[0].name"),
    ({"tools": [{"type": "function", "name": "f"}] * 2}, "tools[1].name"),
    ({"tools": [{"type": "function", "name": "f", "parameters": {"type": "array"}}]}, "tools[0].parameters.type"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "f"}}, "tool_choice.name"),
    ({"tool_choice": {"type": "function"}}, "tool_choice"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}}, "tool_choice.tools"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [3]}}, "tool_choice"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
    ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"truncation": "middle"}, "truncation"),
    ({"top_logprobs": 3}, "top_logprobs"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"stream_options": {}}, "stream_options"),
    ({"background": True, "store": False}, "store"),
    ({"temperature": 6}, "temperature"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
]


@with_front()
async def test_bad_values_are_400s_that_name_the_field(front: FakeFront) -> None:
    for sample, param in BAD_VALUES:
        try:
            response = await ask(front, sample)
        except UnicodeEncodeError:
            continue  # what the client itself refuses to send
        assert response.status_code == 400, (sample, response.text)
        error = response.json()["error"]
        assert error["param"] == param, (sample, error)
        assert error["message"]
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?stream=maybe", "stream"),
        ("?stream=true", "stream"),
        ("?starting_after=1", "starting_after"),
        ("?stream=true&starting_after=x", "starting_after"),
        ("?include=all", "include"),
        ("?include_obfuscation=true", "include_obfuscation"),
        ("/input_items?limit=0", "limit"),
        ("/input_items?limit=101", "limit"),
        ("/input_items?limit=-1", "limit"),
        ("/input_items?order=up", "order"),
        ("/input_items?after=nobody", "after"),
    ],
)
@with_front()
async def test_bad_parameters_of_a_look_are_400s_that_name_them(front: FakeFront, *, query: str, param: str) -> None:
    response_id = (await ask(front, {})).json()["id"]
    response = await front.client.get(f"{PATH}/{response_id}{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
