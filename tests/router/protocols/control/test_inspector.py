"""The last requests, as they came and as the template writes them."""

import asyncio
import json
from typing import Any

import msgspec

from router.config.inspector import InspectorConfig
from router.http.caller import Caller, Scope, acting_for
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

LIST = "/v1/mlxr/requests/inspected"
KEEPS_TWO = msgspec.structs.replace(make_config(), inspector=InspectorConfig(num_requests=2, max_bytes=2000))


async def inspected(front: FakeFront, request_id: str) -> dict[str, Any]:
    answer = await front.client.get(f"/v1/mlxr/requests/{request_id}/inspect")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@with_front()
async def test_nothing_is_kept_by_default(front: FakeFront) -> None:
    request_id = (await front.chat()).json()["id"]
    assert (await front.client.get(LIST)).json() == {"num_kept": 0, "requests": []}
    assert (await front.client.get(f"/v1/mlxr/requests/{request_id}/inspect")).status_code == 404


@with_front(config=KEEPS_TWO)
async def test_a_request_is_shown_as_it_came_and_as_the_template_writes_it(front: FakeFront) -> None:
    body = b'{"model": "nick",  "messages": [{"role": "user", "content": "hi \\u00e4"}], "max_tokens": 3}'
    answer = (await front.client.post("/v1/chat/completions", content=body)).json()
    found = await inspected(front, answer["id"])
    assert found["body"] == body.decode()
    template = await front.client.post("/apply-template", content=body)
    assert found["prompts"] == [template.json()["prompt"]]
    assert (found["path"], found["protocol"], found["model"], found["engine"], found["status"]) == (
        *("/v1/chat/completions", "openai", "m", "llamacpp", 200),
    )
    assert found["num_prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert found["num_output_tokens"] == answer["usage"]["completion_tokens"]


@with_front(config=KEEPS_TWO)
async def test_the_last_ones_are_kept_also_those_that_were_refused(front: FakeFront) -> None:
    await front.complete()
    completed = await front.complete(prompt="once upon")
    refused = await front.chat(temperature=-1)
    assert refused.status_code == 400
    listed = (await front.client.get(LIST)).json()["requests"]
    assert [(each["status"], each["error"]) for each in listed] == [(400, "invalid_request"), (200, None)]
    assert listed[1]["id"] == completed.json()["id"]
    assert (await inspected(front, listed[1]["id"]))["prompts"] == ["once upon"]
    shown = await inspected(front, listed[0]["id"])
    assert json.loads(shown["body"])["temperature"] == -1
    assert (shown["prompts"], shown["why_no_prompts"]) == (None, "No model was asked by it.")


@with_front(config=KEEPS_TWO)
async def test_of_a_long_one_the_beginning_is_kept(front: FakeFront) -> None:
    answer = await front.chat(messages=[{"role": "user", "content": "x" * 3000}])
    (kept,) = (await front.client.get(LIST)).json()["requests"]
    shown = await inspected(front, kept["id"])
    assert (len(shown["body"]), shown["is_cut"], shown["prompts"]) == (2000, True, None)
    assert shown["num_bytes"] == len(answer.request.content)
    assert "inspector.max_bytes" in shown["why_no_prompts"]


@with_front(config=KEEPS_TWO)
async def test_one_whose_model_has_gone_is_not_loaded_for_a_look(front: FakeFront) -> None:
    request_id = (await front.chat()).json()["id"]
    await front.client.post("/v1/mlxr/models/stop", json={"model": "m"})
    shown = await inspected(front, request_id)
    assert (shown["prompts"], shown["why_no_prompts"]) == (None, "Its model is not loaded now; load it and look again.")
    assert front.fleet.state is None


@with_front(config=KEEPS_TWO)
async def test_what_runs_is_shown_and_what_is_kept_goes_when_that_is_switched_off(front: FakeFront) -> None:
    front.fleet.hold("decode")
    answering = asyncio.create_task(front.chat())
    running: dict[str, Any] = {}
    while running.get("engine") is None:
        running = next(iter((await front.client.get(LIST)).json()["requests"]), {})
    assert (running["status"], running["error"], running["model"]) == (None, None, "m")
    front.fleet.let_go("decode")  # a worker that is held in a step cannot say what its template writes
    await answering
    assert (await inspected(front, running["id"]))["prompts"] is not None
    (ended,) = (await front.client.get(LIST)).json()["requests"]
    assert (ended["id"], ended["status"]) == (running["id"], 200)
    front.fleet.current_config.take_over(make_config())
    assert (await front.client.get(LIST)).json() == {"num_kept": 0, "requests": []}
    assert not front.services.serving.inspector._kept


@with_front(config=KEEPS_TWO)
async def test_it_is_for_its_owner_and_administrators_alone(front: FakeFront) -> None:
    request_id = (await front.chat()).json()["id"]
    inspector = front.services.serving.inspector
    for scope, key_id, is_seen in ((Scope.ADMIN, "key_b", True), (Scope.MODELS, "key_b", False)):
        with acting_for(Caller(key_id=key_id, name="b", scope=scope)):
            assert (inspector.find(request_id) is not None) is is_seen
            assert bool(list(inspector)) is is_seen
