"""What clients are told of a model that takes pictures, in every protocol's lists, as it is in force."""

from typing import Any

import msgspec

from registry.engines import EngineSetting
from registry.facts import ChatTemplateFacts
from registry.vision import VisionFacts
from router.models.directory import ModelDirectory
from tests.registry.catalogue_builder import make_draft, make_facts
from tests.registry.gguf_builder import llama_model
from tests.support.fake_openai import FakeFront, with_front

TOWER = VisionFacts(kind="gemma3", has_vision=True, size_bytes=11, metadata=(("clip.projector_type", "gemma3"),))


def add_seeing(front: FakeFront) -> None:
    """Register `eye`, a GGUF with a projector."""
    template = ChatTemplateFacts.from_text("{{ messages }}")
    facts = msgspec.structs.replace(make_facts(parameter_count=77), vision=TOWER, chat_template=template)
    path = front.registry.path.with_name("eye.gguf")
    path.write_bytes(llama_model())
    front.registry.artifacts.add(make_draft(str(path), name="eye", facts=facts, mmproj_path="/mmproj.gguf"))
    front.models.forget()


async def told(front: FakeFront, name: str) -> dict[str, Any]:
    async def get(path: str) -> Any:
        return (await front.client.get(path)).json()

    listed = await get("/v1/models")
    shown = (await front.client.post("/api/show", json={"model": name})).json()
    return {
        "tags": next(item for item in (await get("/api/tags"))["models"] if item["name"].startswith(name)),
        "show": shown,
        "openai": next(item for item in listed["data"] if item["id"] == name),
        "lmstudio": next(item for item in (await get("/api/v0/models"))["data"] if item["id"] == name),
        "props": await get(f"/props?model={name}"),
    }


def sees(front: dict[str, Any]) -> set[bool]:
    return {
        "vision" in front["tags"]["capabilities"],
        "vision" in front["show"].get("capabilities", []),
        "vision" in front["openai"]["capabilities"],
        "image" in front["openai"]["input_modalities"],
        front["lmstudio"]["type"] == "vlm",
        front["props"]["modalities"]["vision"],
    }


@with_front()
async def test_every_list_says_that_a_model_sees(front: FakeFront) -> None:
    add_seeing(front)
    found = await told(front, "eye")
    assert sees(found) == {True}
    assert found["show"]["projector_info"] == {"clip.projector_type": "gemma3"}
    assert found["openai"]["input_modalities"] == ["text", "image"]
    assert found["tags"]["size"] == 100 + 11, "as Ollama adds up its layers"
    assert sees(await told(front, "m")) == {False}
    codex = (await front.client.get("/v1/models")).json()["models"]
    inputs = {item["slug"]: item["input_modalities"] for item in codex}
    assert inputs["eye"] == ["text", "image"]


@with_front()
async def test_a_model_that_is_not_to_see_is_listed_as_one_that_does_not(front: FakeFront) -> None:
    add_seeing(front)
    front.registry.models.change_settings("eye", {"vision": "off"})
    front.models.forget()
    found = await told(front, "eye")
    assert sees(found) == {False}
    assert "projector_info" not in found["show"]


@with_front()
async def test_so_is_one_whose_engine_is_set_to_another(front: FakeFront) -> None:
    add_seeing(front)
    models = front.models
    eye = models.get("eye")
    assert models.can_see(eye)
    assert not models.can_see(msgspec.structs.replace(eye, engine=EngineSetting.MLX))


@with_front()
async def test_and_one_whose_engine_lacks_what_it_needs_here(front: FakeFront) -> None:
    add_seeing(front)
    lacking = ModelDirectory(
        front.registry,
        current=front.fleet.current_config,
        is_apple_silicon=False,
        cannot_see=dict.fromkeys(front.models.get("eye").engines, "it is not installed"),
    )
    assert front.models.model_that_sees() == "eye"
    assert lacking.model_that_sees() is None
