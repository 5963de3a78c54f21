"""Lists of models: what is in force, and the shapes that clients read."""

from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from registry.catalogue import Model
from router.errors import InvalidRequestError
from router.protocols.models import model_info, model_page
from tests.support.fake_openai import FakeFront, with_front

TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
MODELS = [
    Model(
        name=f"m{number}", created_at=1_700_000_000.0 + number, last_used_at=None, aliases=(), artifacts=(), engine=None
    )
    for number in range(5)
]


def page(**query: str) -> tuple[list[str], bool]:
    shown = model_page(MODELS, query)
    names = [item.id for item in shown.data]
    assert (shown.first_id, shown.last_id) == ((names[0], names[-1]) if names else (None, None))
    return names, shown.has_more


def test_the_newest_come_first() -> None:
    assert page() == (["m4", "m3", "m2", "m1", "m0"], False)


def test_pages_follow_and_precede_each_other() -> None:
    assert page(limit="2") == (["m4", "m3"], True)
    assert page(limit="2", after_id="m3") == (["m2", "m1"], True)
    assert page(limit="2", after_id="m1") == (["m0"], False)
    assert page(limit="2", before_id="m1") == (["m3", "m2"], True)
    assert page(limit="9", before_id="m3") == (["m4"], False)
    assert page(after_id="nobody") == page(before_id="nobody") == ([], False)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1" * 5000, "٣"])
def test_a_limit_is_a_number(limit: str) -> None:
    with pytest.raises(InvalidRequestError, match="limit"):
        page(limit=limit)


def test_a_model_is_told_like_anthropics() -> None:
    assert model_info(MODELS[0], "m0").created_at == "2023-11-14T22:13:20Z"
    assert model_info(MODELS[0], "m0", "pirate").id == "m0+pirate"


@with_front(llamacpp=FakeOptions(answer_tokens=2, context_length=4096))
async def test_lists_tell_the_context_in_force_and_what_models_can_do(front: FakeFront) -> None:
    front.registry.aliases.set("nick", "m")
    front.registry.models.change_settings("m", {"template": TEMPLATE})

    async def told() -> tuple[Any, Any, Any]:
        listed = (await front.client.get("/v1/models")).json()
        one = next(item for item in listed["data"] if item["id"] == "m")
        assert (await front.client.get("/v1/models/m")).json() == one
        codex = next(item for item in listed["models"] if item["slug"] == "m")
        lmstudio = next(item for item in (await front.client.get("/api/v0/models")).json()["data"] if item["id"] == "m")
        assert (await front.client.get("/api/v0/models/m")).json() == lmstudio
        return one, codex, lmstudio

    one, codex, lmstudio = await told()
    trained = one["max_context_length"]
    assert one["draft"] is None
    assert one["context_length"] == codex["context_window"] == lmstudio["max_context_length"]
    assert (lmstudio["state"], lmstudio.get("loaded_context_length")) == ("not-loaded", None)
    body = {"model": "m", "max_tokens": 2, "messages": [{"role": "user", "content": "hi"}]}
    answer = await front.client.post("/api/v0/chat/completions", json=body)
    assert answer.json()["object"] == "chat.completion"
    vectors = await front.client.post("/api/v0/embeddings", json={"model": "m", "input": "hi"})
    assert len(vectors.json()["data"]) == 1
    one, codex, lmstudio = await told()
    assert (one["context_length"], codex["context_window"], one["max_context_length"]) == (4096, 4096, trained)
    assert (lmstudio["state"], lmstudio["loaded_context_length"]) == ("loaded", 4096)
    assert codex["truncation_policy"] == {"mode": "tokens", "limit": 1024}
    assert codex["base_instructions"].startswith("You are a coding agent")
    assert (one["input_modalities"], one["output_modalities"]) == (["text"], ["text"])
    artifacts = {artifact.engine: artifact.facts for artifact in front.registry.models.get("m").artifacts}
    assert [form["engine"] for form in one["forms"]] == one["engines"] == list(artifacts)
    for form in one["forms"]:
        facts = artifacts[form["engine"]]
        assert facts.quantization is not None
        assert form["weight_bytes"] == facts.weight_bytes
        assert (form["quantization"], form["bits_per_weight"]) == (
            facts.quantization.label,
            facts.quantization.bits_per_weight,
        )


@with_front()
async def test_a_model_is_listed_for_codex_by_each_of_its_names(front: FakeFront) -> None:
    front.registry.aliases.set("nick", "m")
    front.registry.models.change_settings("m", {"template": TEMPLATE})
    listed = (await front.client.get("/v1/models")).json()["models"]
    assert {item["slug"] for item in listed} >= {"m", "nick"}
    missing = await front.client.get("/api/v0/models/nobody")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")
