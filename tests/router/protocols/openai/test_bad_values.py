"""Values that must never reach a model: each is a 400 that names its field, and no worker is even started."""

from typing import Any

import httpx
import pytest

from tests.support.fake_openai import FakeFront, with_front

# Raw JSON, because some of it cannot be made from Python values. (field, value, param if it is not the field)
BOTH: list[tuple[str, str] | tuple[str, str, str]] = [
    ("max_tokens", "-2"),
    ("max_tokens", "1000000000000"),
    ("max_tokens", "1.5"),
    ("max_tokens", '"5"'),
    ("max_tokens", "true"),
    ("temperature", "-5"),
    ("temperature", "-0.0001"),
    ("temperature", "5.0001"),
    ("temperature", "1e400"),
    ("temperature", "-1e400"),
    ("temperature", '"hot"'),
    ("temperature", "true"),
    ("temperature", "[]"),
    ("top_p", "-1"),
    ("top_p", "1.01"),
    ("top_k", "1099511627776"),
    ("top_k", "-2"),
    ("top_k", "2.5"),
    ("min_p", "-0.1"),
    ("min_p", "1.1"),
    ("typical_p", "0"),
    ("typical_p", "1.5"),
    ("frequency_penalty", "2.1"),
    ("frequency_penalty", "-2.1"),
    ("presence_penalty", "1e300"),
    ("presence_penalty", '"1"'),
    ("repetition_penalty", "-1"),
    ("repetition_penalty", "10.5"),
    ("repeat_last_n", "-2"),
    ("repeat_last_n", "1000001"),
    ("repetition_context_size", "1.5"),
    ("seed", "1.5"),
    ("seed", '"7"'),
    ("seed", "9223372036854775808"),
    ("seed", "true"),
    ("n", "0"),
    ("n", "-1"),
    ("n", "9"),
    ("n", "1000000"),
    ("n", "true"),
    ("n", "1.5"),
    ("logit_bias", '{"1000000000000": 1}'),
    ("logit_bias", '{"1": 101}'),
    ("logit_bias", '{"1": 1e400}', "logit_bias[...]"),
    ("logit_bias", '{"-1": 1}'),
    ("logit_bias", '"x"'),
    ("logit_bias", "[[1]]"),
    ("stop", "[" + ",".join(['"x"'] * 10_000) + "]"),
    ("stop", '"' + "x" * 257 + '"'),
    ("stop", "5"),
    ("stop", "[1]", "stop[0]"),
    ("stream", "0"),
    ("stream", '"true"'),
    ("stream_options", "true"),
    ("stream_options", '{"include_usage": 1}', "stream_options.include_usage"),
    ("ignore_eos", "1"),
    ("return_progress", '"yes"'),
    ("timings_per_token", "1"),
    ("response_format", '"json"'),
    ("response_format", '{"type": "yaml"}', "response_format.type"),
    ("grammar", "1"),
    ("regex", '""'),
    ("model", '""'),
    ("model", "5"),
    ("metadata", '{"a": 1}', "metadata[...]"),
    ("user", "5"),
]
CHAT_ONLY: list[tuple[str, str] | tuple[str, str, str]] = [
    ("messages", "[]"),
    ("messages", '"hi"'),
    ("messages", "null"),
    ("messages", '[{"role": "robot", "content": "x"}]', "messages[0].role"),
    ("messages", '[{"role": "user", "content": 5}]', "messages[0].content"),
    ("messages", '[{"content": "x"}]', "messages[0].role"),
    ("messages", "[5]", "messages[0]"),
    ("max_completion_tokens", "-5"),
    ("logprobs", "5"),
    ("top_logprobs", "21"),
    ("top_logprobs", "-1"),
    ("top_logprobs", "5"),
    ("reasoning_effort", '"extreme"'),
    ("enable_thinking", '"no"'),
    ("chat_template_kwargs", "[]"),
    ("chat_template_kwargs", '{"tools": []}', "chat_template_kwargs.tools"),
    ("reasoning_format", '"xml"'),
    ("tools", "{}"),
    ("tools", '[{"type": "function", "function": {"name": "a b"}}]', "tools[0].function.name"),
    ("tool_choice", '"required"'),
    ("tool_choice", "5"),
    ("parallel_tool_calls", "1"),
]
COMPLETIONS_ONLY: list[tuple[str, str] | tuple[str, str, str]] = [
    ("prompt", "[]"),
    ("prompt", "null"),
    ("prompt", "5"),
    ("prompt", "[-1]", "prompt[0]"),
    ("prompt", "[4294967296]", "prompt[0]"),
    ("prompt", '["a", 1]'),
    ("prompt", "[true]", "prompt[0]"),
    ("prompt", "[[1.5]]", "prompt[0][0]"),
    ("logprobs", "21"),
    ("logprobs", "-1"),
    ("logprobs", "true"),
    ("echo", "1"),
    ("prompt_logprobs", "21"),
    ("suffix", "5"),
    ("best_of", "2"),
    ("best_of", "1000000"),
]


def body_with(endpoint: str, field: str, value: str) -> bytes:
    plain = {"model": '"m"', "messages": '[{"role": "user", "content": "x"}]'}
    if endpoint == "completions":
        plain = {"model": '"m"', "prompt": '"x"'}
    members = {**plain, field: value}
    return ("{" + ",".join(f'"{name}": {text}' for name, text in members.items()) + "}").encode()


def check(response: httpx.Response, field: str, param: str) -> None:
    assert response.status_code == 400, (field, response.text)
    error: dict[str, Any] = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param, (field, error)
    assert field in error["message"], error
    assert len(error["message"]) < 500


@pytest.mark.parametrize(("endpoint", "cases"), [("chat", BOTH + CHAT_ONLY), ("completions", BOTH + COMPLETIONS_ONLY)])
@with_front()
async def test_every_bad_value_is_refused_with_the_name_of_its_field(
    front: FakeFront, *, endpoint: str, cases: list[tuple[str, ...]]
) -> None:
    assert len(cases) > 60
    path = "/v1/chat/completions" if endpoint == "chat" else "/v1/completions"
    for field, value, *param in cases:
        response = await front.client.post(path, content=body_with(endpoint, field, value))
        check(response, field, param[0] if param else field)
    assert (await front.client.get("/health")).json() == {"status": "ok", "resident": []}
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"temperature": 9}, "allowed: a number from 0 to 5; 0 is greedy."),
        ({"n": 9}, "allowed: a whole number from 1 to 8."),
        ({"top_p": 2}, "allowed: a number from 0 to 1; 0 = the most probable token."),
        ({"stop": 5}, "characters or a list of up to 16 texts of up to 256 characters"),
        ({"reasoning_effort": "max"}, "allowed: none, minimal, low, medium, high or xhigh."),
    ],
)
@with_front()
async def test_the_message_names_the_allowed_range(front: FakeFront, *, body: dict[str, Any], words: str) -> None:
    assert words in (await front.chat(**body)).json()["error"]["message"]


@pytest.mark.parametrize("header", ["yes", "2", "true, false"])
@with_front()
async def test_a_progress_header_that_is_neither_true_nor_false_is_refused(front: FakeFront, *, header: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    headers = {"X-Mlxr-Prefill-Progress": header}
    response = await front.client.post("/v1/chat/completions", json=body, headers=headers)
    check(response, "X-Mlxr-Prefill-Progress", "X-Mlxr-Prefill-Progress")
