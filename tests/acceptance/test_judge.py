"""What `make agents` takes for a pass, and what it keeps of requests."""

import json
from typing import Any

import pytest

from tests.acceptance.judge import Outcome, faults_of
from tests.acceptance.proxy import Exchange
from tests.acceptance.recording import fixture_of

CHAT = "/v1/chat/completions"
CALLS = {"role": "assistant", "tool_calls": [{"id": "c1", "function": {}}, {"id": "c2", "function": {}}]}
RESULTS = [{"role": "tool", "tool_call_id": "c1"}, {"role": "tool", "tool_call_id": "c2"}]


def exchange(api: str = CHAT, status: int = 200, answer: bytes = b"data: [DONE]\n\n", **body: Any) -> Exchange:
    sent = json.dumps({"stream": True} | body).encode()
    return Exchange("POST", api, {}, sent, status, bytearray(answer), is_whole=True)


def faults(
    *exchanges: Exchange, api: str = CHAT, exit_code: int | None = 0, content: bytes | None = b"w\n"
) -> list[str]:
    return faults_of(Outcome(exit_code, content, b"w\n", exchanges), api, 2)


def test_a_client_that_did_all_passes_by_each_api() -> None:
    assert faults(exchange(messages=[]), exchange(messages=[CALLS, *RESULTS])) == []
    blocks = [{"type": "tool_use", "id": "a"}, {"type": "tool_use", "id": "b"}]
    given = [{"type": "tool_result", "tool_use_id": "a"}, {"type": "tool_result", "tool_use_id": "b"}]
    talk = [{"role": "assistant", "content": blocks}, {"role": "user", "content": given}]
    ends = b"event: message_stop\n\n"
    messages = [exchange("/v1/messages?beta=true", answer=ends, messages=each) for each in ([], talk)]
    assert faults(*messages, api="/v1/messages") == []
    items = [
        {"type": "function_call", "call_id": "a"},
        {"type": "function_call_output", "call_id": "a"},
        {"type": "custom_tool_call", "call_id": "b"},
        {"type": "custom_tool_call_output", "call_id": "b"},
    ]
    ends = b"event: response.completed\n\n"
    assert (
        faults(*(exchange("/v1/responses", answer=ends, input=each) for each in ([], items)), api="/v1/responses") == []
    )


@pytest.mark.parametrize(
    ("exchanges", "rest", "says"),
    [
        ([exchange(messages=[CALLS, *RESULTS])], {}, "1 requests by"),
        ([exchange(), exchange(messages=[CALLS, RESULTS[0]])], {}, "calls without results: ['c2']"),
        ([exchange(), exchange()], {}, "0 calls of tools, not 2"),
        ([exchange(), exchange(status=400, messages=[CALLS, *RESULTS])], {}, "requests failed: ['POST /v1/chat/comp"),
        (
            [exchange(answer=b"data: {"), exchange(messages=[CALLS, *RESULTS])],
            {},
            "1 answers did not come to their end",
        ),
        ([exchange(), exchange(messages=[CALLS, *RESULTS])], {"exit_code": 3}, "it ended with exit code 3"),
        ([exchange(), exchange(messages=[CALLS, *RESULTS])], {"exit_code": None}, "it did not end in time"),
        ([exchange(), exchange(messages=[CALLS, *RESULTS])], {"content": b"w"}, "the file holds b'w', not b'w\\n'"),
        ([exchange(), exchange(messages=[CALLS, *RESULTS])], {"content": None}, "the file holds None"),
    ],
)
def test_what_is_missing_is_said(exchanges: list[Exchange], rest: dict[str, Any], says: str) -> None:
    [fault] = faults(*exchanges, **rest)
    assert fault.startswith(says)


def test_a_recorded_request_keeps_its_shape_and_nothing_of_a_person() -> None:
    sent = exchange(
        messages=[
            {"role": "system", "content": "You work in /home/ann. " * 9},
            {"role": "user", "content": "Read /home/ann/x"},
        ],
        prompt_cache_key="01a22e4d-a01f-7433-87a7-2f371e715757",
    )
    sent.headers = {"User-Agent": "x/1 (/home/ann)", "Authorization": "Bearer sk-mlxr-secret"}
    recorded = json.loads(fixture_of(sent, {"/home/ann": "/tmp/agent"}))
    assert recorded["headers"] == {"user-agent": "x/1 (/tmp/agent)"}
    assert recorded["body"] == {
        "stream": True,
        "messages": [
            {"role": "system", "content": "<207 characters>"},
            {"role": "user", "content": "Read /tmp/agent/x"},
        ],
        "prompt_cache_key": "00000000-0000-0000-0000-000000000000",
    }
