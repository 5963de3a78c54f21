"""Routes of what was told again of conversations; the two keys are asked end to end in tests/e2e."""

from backends.fake.engine import FakeOptions
from backends.wire.prompts import ChatPrompt
from router.context.shown import shown_of
from tests.support.fake_openai import FakeFront, with_front
from tests.support.winds import wind

ALL = "/v1/mlxr/contexts"
SHOWN = shown_of(ChatPrompt([{"role": "user", "content": "hi"}]))


@with_front()
async def test_they_are_listed_the_last_used_first_and_page_by_page(front: FakeFront) -> None:
    nothing = {"contexts": [], "has_more": False, "num_contexts": 0, "num_bytes": 0}
    assert (await front.client.get(ALL)).json() == nothing
    contexts, now = front.services.contexts, 4e9
    for number in range(3):
        contexts.keep(wind(f"ctx_{number}", number, used_at=now + number))
    first = (await front.client.get(ALL, params={"limit": 2})).json()
    assert [each["id"] for each in first["contexts"]] == ["ctx_2", "ctx_1"]
    assert (first["has_more"], first["num_contexts"]) == (True, 3)
    assert first["num_bytes"] == 3 * first["contexts"][0]["num_bytes"]
    rest = (await front.client.get(ALL, params={"after": "ctx_1"})).json()
    assert ([each["id"] for each in rest["contexts"]], rest["has_more"]) == (["ctx_0"], False)
    missing = await front.client.get(ALL, params={"after": "ctx_9"})
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "context_not_found")


@with_front()
async def test_one_tells_what_was_told_and_what_the_model_sees(front: FakeFront) -> None:
    made = wind("ctx_a", 4, shown=SHOWN, used_at=4e9, session_id="talk", kept_in="conv_1", earlier_id=None)
    front.services.contexts.keep(made)
    shown = (await front.client.get(f"{ALL}/ctx_a")).json()
    assert shown == {
        "id": "ctx_a",
        "owner": None,
        "model": "m",
        "session": "talk",
        "conversation": "conv_1",
        "earlier": None,
        "turns": 4,
        "tokens_before": 900,
        "tokens_after": 300,
        "narrative_tokens": 40,
        "by": "m",
        "ms": 12.5,
        "left_out": False,
        "is_stored": True,
        "num_bytes": made.num_bytes,
        "created_at": 10.0,
        "used_at": 4e9,
        "narrative": "They spoke of walruses.",
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert (await front.client.get(f"{ALL}/ctx_b")).status_code == 404


@with_front()
async def test_one_is_deleted_with_those_that_tell_the_same_or_all_are(front: FakeFront) -> None:
    contexts = front.services.contexts
    for each in (wind("ctx_a", 4, used_at=4e9), wind("ctx_b", 8, earlier_id="ctx_a", used_at=4e9)):
        contexts.keep(each)
    assert (await front.client.delete(f"{ALL}/ctx_a")).json() == {"num_deleted": 2}
    assert (await front.client.delete(f"{ALL}/ctx_b")).status_code == 404
    contexts.keep(wind("ctx_c", 4, used_at=4e9))
    assert (await front.client.delete(ALL)).json() == {"num_deleted": 1}
    assert (await front.client.get(ALL)).json()["contexts"] == []


@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_what_is_kept_takes_what_was_told_of_it_along(front: FakeFront) -> None:
    kept = (await front.client.post("/v1/conversations", json={})).json()["id"]
    first = (await front.client.post("/v1/responses", json={"model": "m", "input": "hi"})).json()["id"]
    then = await front.client.post(
        "/v1/responses", json={"model": "m", "input": "go on", "previous_response_id": first}
    )
    assert then.status_code == 200, then.text
    last, contexts = then.json()["id"], front.services.contexts
    for number, place in enumerate((kept, first, None)):
        contexts.keep(wind(f"ctx_{number}", number, kept_in=place, used_at=4e9))
    assert (await front.client.delete(f"/v1/conversations/{kept}")).status_code == 200
    assert (await front.client.get(f"{ALL}/ctx_0")).status_code == 404
    assert (await front.client.delete(f"/v1/responses/{last}")).status_code == 200
    left = (await front.client.get(ALL)).json()["contexts"]
    assert [each["id"] for each in left] == ["ctx_2"]
