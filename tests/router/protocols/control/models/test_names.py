"""Other names, adapters, removals and verifications of models, over HTTP."""

import asyncio
import json
from pathlib import Path
from typing import Any

from registry.scan import register_path
from tests.support.fake_openai import FakeFront, sse_objects, with_front
from tests.support.tiny_adapter import write_gguf_lora

ALIASES = "/v1/mlxr/models/aliases"
ADAPTERS = "/v1/mlxr/models/adapters"
VERIFY = "/v1/mlxr/models/verify"


def copied(path: Path, folder: Path) -> tuple[Path, int]:
    """Copy a file; return the copy and its size."""
    copy = folder / path.name
    return copy, copy.write_bytes(path.read_bytes())


@with_front()
async def test_other_names_are_given_and_taken_away(front: FakeFront) -> None:
    added = await front.client.post(ALIASES, json={"model": "nick", "alias": "gpt-4"})
    assert added.json() == {"model": "m", "aliases": ["gpt-4", "nick"]}
    assert (await front.chat(model="gpt-4")).status_code == 200
    taken = await front.client.post(ALIASES, json={"model": "m", "alias": "only-gguf"})
    assert taken.status_code == 409
    removed = await front.client.post(f"{ALIASES}/remove", json={"model": "m", "alias": "gpt-4"})
    assert removed.json() == {"model": "m", "aliases": ["nick"]}
    again = await front.client.post(f"{ALIASES}/remove", json={"model": "m", "alias": "gpt-4"})
    assert (again.status_code, again.json()["error"]["param"]) == (400, "alias")


@with_front()
async def test_what_a_removal_would_do_is_told_and_nothing_is_done(front: FakeFront, tiny_gguf: Path) -> None:
    register_path(front.registry, tiny_gguf, name="tiny")
    planned = (await front.client.get("/v1/mlxr/models/removal", params={"model": "tiny"})).json()
    assert planned == {
        "model": "tiny",
        "deleted": [],
        "kept": [str(tiny_gguf)],
        "freed_bytes": 0,
        "aliases": [],
        "adapters": [],
        "loaded_on": [],
        "drafts_for": [],
    }
    await front.chat()
    of_loaded = (await front.client.get("/v1/mlxr/models/removal", params={"model": "nick"})).json()
    assert (of_loaded["model"], of_loaded["loaded_on"]) == ("m", ["llamacpp"])


@with_front()
async def test_adapters_are_registered_listed_and_forgotten(front: FakeFront, tiny_gguf: Path, tmp_path: Path) -> None:
    register_path(front.registry, tiny_gguf, name="tiny")
    path = write_gguf_lora(tmp_path / "pirate.gguf")
    body = {"model": "tiny", "path": str(path), "name": "pirate", "scale": 0.5}
    added = (await front.client.post(ADAPTERS, json=body)).json()
    assert (added["reference"], added["engine"], added["scale"], added["problem"]) == (
        "tiny+pirate",
        "llamacpp",
        0.5,
        None,
    )
    assert (await front.client.get(ADAPTERS)).json() == {"adapters": [added]}
    assert (await front.client.get(ADAPTERS, params={"model": "m"})).json() == {"adapters": []}
    forgotten = (await front.client.post(f"{ADAPTERS}/forget", json={"model": "tiny", "name": "pirate"})).json()
    assert [each["reference"] for each in forgotten["adapters"]] == ["tiny+pirate"]
    assert path.exists()
    assert (await front.client.get(ADAPTERS)).json() == {"adapters": []}
    for wrong, status in (({"path": "relative.gguf"}, 400), ({"path": "/absent.gguf"}, 422), ({"scale": 1e9}, 400)):
        assert (await front.client.post(ADAPTERS, json=body | wrong)).status_code == status


@with_front()
async def test_files_are_verified_with_events_and_what_is_damaged_is_told(
    front: FakeFront, tiny_gguf: Path, tmp_path: Path
) -> None:
    copy, num_bytes = copied(tiny_gguf, tmp_path)
    register_path(front.registry, copy, name="tiny")

    async def verified(body: dict[str, Any]) -> list[dict[str, Any]]:
        events: list[dict[str, Any]] = sse_objects(await front.client.post(VERIFY, json=body))
        return events

    started, found, done = await verified({"model": "tiny"})
    assert started == {
        "type": "started",
        "models": ["tiny"],
        "num_artifacts": 1,
        "total_bytes": num_bytes,
    }
    assert (found["type"], found["state"], found["num_bytes"]) == ("verified", "ok", num_bytes)
    assert done == {"type": "done", "num_artifacts": 1, "num_wrong": 0}
    copy.unlink()
    events = await verified({})
    states = {event["path"]: event["state"] for event in events if event["type"] == "verified"}
    assert states[str(copy)] == "missing"
    assert events[-1] == {"type": "done", "num_artifacts": 4, "num_wrong": 4}
    idle = await front.client.post(f"{VERIFY}/cancel")
    assert (idle.status_code, idle.json()["error"]["code"]) == (404, "verification_not_found")
    assert json.loads(idle.text)


@with_front()
async def test_verifying_is_stopped_and_its_client_told(front: FakeFront, tiny_gguf: Path) -> None:
    register_path(front.registry, tiny_gguf, name="tiny")
    has_begun = asyncio.Event()
    front.services.jobs.news.add(lambda _: has_begun.set())
    async with front.services.verifications._turn:  # another one has not ended
        stream = asyncio.create_task(front.client.post(VERIFY, json={"model": "tiny"}))
        await has_begun.wait()
        assert (await front.client.post(f"{VERIFY}/cancel")).json() == {"cancelled": 1}
        assert sse_objects(await stream)[-1] == {"type": "stopped", "state": "cancelled"}
