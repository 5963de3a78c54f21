"""What the access log says of requests, and the ids that they have."""

import json
import logging
from typing import Any

import pytest

from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until


async def last_line(caplog: pytest.LogCaptureFixture, path: str) -> Any:
    """Return the fields of the last request for a path, once it is logged: that is after its answer."""

    def lines() -> list[Any]:
        return [record for record in caplog.records if getattr(record, "http", {}).get("path") == path]

    await until(lines, "it is logged")
    return lines()[-1].http


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@with_front()
async def test_a_line_has_what_serving_took(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    answer = await front.chat(stream=True)
    line = await last_line(caplog, "/v1/chat/completions")
    expected = {"protocol": "openai", "model": "m", "engine": "llamacpp", "status": 200, "key": "owner"}
    assert expected.items() <= line.items()
    assert line["request_id"] == answer.headers["x-request-id"]
    assert line["request_id"].startswith("chatcmpl-")
    assert line["tokens_in"] == line["prefill_tokens"] > line["tokens_cached"] == 0
    assert line["tokens_out"] == 6
    assert line["load_ms"] > 0
    assert line["ttft_ms"] >= line["load_ms"] + line["prefill_ms"]
    assert "hi" not in json.dumps(line)


@with_front()
async def test_the_clients_id_is_kept_sent_back_and_names_the_request(
    front: FakeFront, caplog: pytest.LogCaptureFixture
) -> None:
    front.fleet.hold("decode")
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    headers = {"X-Request-Id": "mine/7"}
    async with front.client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
        assert response.headers["x-request-id"] == "mine/7"
        cancelled = await front.client.post("/v1/mlxr/requests/mine%2F7/cancel")
        if cancelled.status_code != 200:  # a slash cannot stand in this path: the answer's own id can
            running = front.running[0]
            assert front.services.serving.requests.get("mine/7") is running
            running.cancel()
        await response.aread()
    front.fleet.let_go("decode")
    line = await last_line(caplog, "/v1/chat/completions")
    assert (line["request_id"], line["error"], line["status"]) == ("mine/7", "request_cancelled", 200)


@with_front()
async def test_an_id_that_is_not_sane_is_not_taken(front: FakeFront) -> None:
    for sent in ("a b", "x" * 129, "\u00fc", '"', ""):
        answer = await front.client.get("/health", headers=[(b"X-Request-Id", sent.encode())])
        assert answer.headers.get_list("x-request-id")[0].startswith("req_")
    twice = await front.client.get("/health", headers=[(b"X-Request-Id", b"a"), (b"X-Request-Id", b"b")])
    assert twice.headers["x-request-id"].startswith("req_")


@with_front()
async def test_no_line_can_be_forged_and_no_key_is_shown(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    agent = b'x\tstatus=200" \xe2\x80\xa8 sk-abcdef123456'
    await front.client.get("/v1/%22x=y?key=sk-abcdef123456", headers=[(b"User-Agent", agent)])
    record = next(each for each in caplog.records if hasattr(each, "http"))
    text = record.getMessage()
    assert text.isascii()
    assert text.isprintable()
    assert "sk-abcdef" not in text
    assert '\\"x=y' in text


@with_front()
async def test_prompts_are_in_no_log(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    await front.chat(messages=[{"role": "user", "content": "a-secret-of-mine"}])
    await last_line(caplog, "/v1/chat/completions")
    assert "a-secret-of-mine" not in caplog.text
