"""What is told of conversations that the server keeps goes with them; of those it does not keep, by its own id."""

from typing import Any

import httpx
import msgspec

from backends.fake.engine import FakeOptions
from router.config import ContextConfig
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

LIMIT = 4000
TELLING = FakeOptions(context_length=LIMIT, answers=(("Summarize", "They spoke of walruses."), ("", "I see.")))
WINDING = msgspec.structs.replace(make_config(context_length=LIMIT), context=ContextConfig(mode="wind", wind_at=1.0))
CHAPTER = "Then came a chapter about walruses. " * 15
"""An eighth of the context."""
ALL = "/v1/mlxr/contexts"


async def respond(front: FakeFront, said: Any, **body: Any) -> dict[str, Any]:
    plain = {"model": "m", "input": said, "max_output_tokens": 40, "temperature": 0}
    answer = await front.client.post("/v1/responses", json=plain | body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def context(front: FakeFront, context_id: str) -> httpx.Response:
    return await front.client.get(f"{ALL}/{context_id}")


@with_front(llamacpp=TELLING, config=WINDING)
async def test_what_was_told_of_a_stored_chain_goes_with_any_response_of_it(front: FakeFront) -> None:
    answers: list[dict[str, Any]] = []
    while not answers or "id" not in answers[-1]["timings"]["context"]:
        before = {"previous_response_id": answers[-1]["id"]} if answers else {}
        answers.append(await respond(front, CHAPTER, **before))
    told = answers[-1]["timings"]["context"]["id"]
    assert (await context(front, told)).json()["conversation"] == answers[0]["id"]
    assert (await front.client.delete(f"/v1/responses/{answers[1]['id']}")).status_code == 200
    assert (await context(front, told)).status_code == 404
    again = await respond(front, "And then?", previous_response_id=answers[-1]["id"])
    assert again["timings"]["context"]["wound"]["ms"] > 0


@with_front(llamacpp=TELLING, config=WINDING)
async def test_what_was_told_of_a_kept_conversation_goes_with_an_item_or_all_of_it(front: FakeFront) -> None:
    kept = (await front.client.post("/v1/conversations", json={})).json()["id"]
    told: list[str | None] = []
    for _ in range(14):
        answer = await respond(front, CHAPTER, conversation=kept)
        told += [answer["timings"]["context"].get("id")]
    last = told[-1]
    assert (told[0], bool(last)) == (None, True)
    items = (await front.client.get(f"/v1/conversations/{kept}/items")).json()["data"]
    assert (await front.client.delete(f"/v1/conversations/{kept}/items/{items[0]['id']}")).status_code == 200
    assert (await context(front, str(last))).status_code == 404
    answer = await respond(front, CHAPTER, conversation=kept)
    anew = answer["timings"]["context"]
    assert anew["wound"]["ms"] > 0
    assert (await front.client.delete(f"/v1/conversations/{kept}")).status_code == 200
    assert (await context(front, anew["id"])).status_code == 404
    assert (await front.client.get(ALL)).json()["contexts"] == []


@with_front(llamacpp=TELLING, config=WINDING)
async def test_a_client_that_sends_everything_and_has_it_stored_each_time_pays_once(front: FakeFront) -> None:
    history: list[dict[str, Any]] = []
    found = []
    for _ in range(10):
        history.append({"role": "user", "content": CHAPTER})
        answer = await respond(front, history)
        history.append({"role": "assistant", "content": answer["output"][0]["content"][0]["text"]})
        found.append((answer["id"], answer["timings"]["context"]))
    wound = [(place, each) for place, each in found if "wound" in each]
    assert [each["wound"]["ms"] > 0 for _, each in wound][:3] == [True, False, False]
    (last_place, last) = wound[-1]
    assert (await context(front, last["id"])).json()["conversation"] == last_place
    assert (await front.client.delete(f"/v1/responses/{last_place}")).status_code == 200
    assert (await context(front, last["id"])).status_code == 404
