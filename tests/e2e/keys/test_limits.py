"""What a key may use, and what it used."""

import json
from typing import Any

from tests.support.gateway_process import run_cli
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import wait_until


def test_a_keys_priority_goes_before_what_a_request_says(server: KeyedServer) -> None:
    secret = server.make("slow", "--priority", "background")
    with server.client() as client:
        answer = client.post(
            "/v1/chat/completions",
            json={"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "service_tier": "default"},
            headers={"Authorization": f"Bearer {secret}", "X-Mlxr-Priority": "interactive"},
        )
    assert answer.json()["service_tier"] == "flex"


def test_a_key_has_its_limits_and_what_it_used_is_shown(server: KeyedServer) -> None:
    secret = server.make("limited", "--rate", "2")
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with server.client() as client:
        client.headers["x-api-key"] = secret
        answers = [client.post("/v1/chat/completions", json=body) for _ in range(3)]
        shape = client.post("/v1/messages", json=body)
        assert client.get("/v1/models").status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["1", "0", "0"]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 30
    assert answers[2].json()["error"]["code"] == "rate_limit_exceeded"
    assert shape.json()["error"]["type"] == "rate_limit_error"
    used = answers[0].json()["usage"], answers[1].json()["usage"]

    def row() -> Any:
        rows = json.loads(run_cli(server.home, "keys", "usage", "--json").stdout)
        keys = json.loads(run_cli(server.home, "keys", "list", "--json").stdout)
        (key_id,) = [key["id"] for key in keys if key["name"] == "limited"]
        return next((each for each in rows if each["key_id"] == key_id), None)

    wait_until(row, "what was used is written")
    found = row()
    assert (found["num_requests"], found["num_refused"]) == (2, 2)
    assert found["num_prompt_tokens"] == sum(each["prompt_tokens"] for each in used)
    assert found["num_answer_tokens"] == sum(each["completion_tokens"] for each in used)
