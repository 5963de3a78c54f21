"""Requests of coding agents, as they were recorded: each is answered, and what is left out is named."""

import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front
from tests.support.recorded_requests import RecordedRequest, recorded_requests, restored

ENDS = ("event: response.completed", "event: message_stop", "data: [DONE]")
IGNORED = {"codex": "tools[].type=web_search"}


@pytest.mark.parametrize("recorded", list(recorded_requests()), ids=lambda recorded: recorded.name)
@with_front(llamacpp=FakeOptions(context_length=262_144, answer_tokens=6))
async def test_a_request_of_an_agent_is_answered(front: FakeFront, recorded: RecordedRequest) -> None:
    response = await front.client.request(
        recorded.method,
        recorded.path,
        json=restored(recorded.body) | {"model": "m"},
        headers=recorded.headers | {"x-mlxr-load": "context_length=262144"},
    )
    assert response.status_code == 200, response.text
    assert response.headers.get("x-mlxr-ignored") == IGNORED.get(recorded.client)
    assert not recorded.body.get("stream") or response.text.rstrip().split("\n\n")[-1].startswith(ENDS)
