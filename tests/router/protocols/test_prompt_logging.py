"""What of requests is in the log: their prompts where `logging.prompts` is true, and only then."""

import logging
from typing import Any

import msgspec
import pytest

from router.config import LoggingConfig
from router.protocols.serving import MAX_LOGGED_BYTES
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

SAID = "the fox said"
MESSAGES = [{"role": "user", "content": SAID}]
REQUESTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/completions": {"prompt": SAID},
    "/v1/responses": {"input": SAID},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 4},
    "/api/chat": {"messages": MESSAGES, "stream": False},
    "/api/generate": {"prompt": SAID, "stream": False},
}

with_prompts = msgspec.structs.replace(make_config(), logging=LoggingConfig(prompts=True))


async def ask_all(front: FakeFront) -> None:
    for path, body in REQUESTS.items():
        answer = await front.client.post(path, json={"model": "m", **body})
        assert answer.status_code == 200, (path, answer.text)


@with_front()
async def test_no_prompt_is_in_the_log_whatever_its_level(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "router")
    await ask_all(front)
    refused = await front.client.post("/v1/chat/completions", json={"model": "m", "messages": SAID})
    assert refused.status_code == 400
    assert caplog.records
    assert SAID not in caplog.text


@with_front(config=with_prompts)
async def test_each_prompt_is_in_the_log_where_that_is_wanted(
    front: FakeFront, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    await ask_all(front)
    asked = [record.getMessage() for record in caplog.records if record.getMessage().startswith("asked: ")]
    assert len(asked) == len(REQUESTS)
    assert all(SAID in line for line in asked)


@with_front(config=with_prompts)
async def test_a_prompt_is_one_line_and_bounded(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    raw = b'{"model": "m",\n"prompt": "\x1b[2J' + b"x" * MAX_LOGGED_BYTES + b'"}'
    await front.client.post("/v1/completions", content=raw)
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("asked: ")]
    assert "\n" not in line
    assert "\x1b" not in line
    assert MAX_LOGGED_BYTES < len(line) < MAX_LOGGED_BYTES + 100
