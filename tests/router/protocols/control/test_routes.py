"""mlxr's own endpoints over HTTP, with real worker processes of the fake engine behind them."""

import asyncio
import os
import time
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.readiness import PRELOAD
from router.status import HashProgress
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

WORKER_KEYS = {
    *("id", "pid", "engine", "model", "state", "rss_bytes", "num_running", "num_background", "num_waiting"),
    *("load_ms", "load_fraction", "loaded_at", "context_length", "devices", "engine_versions", "expires_at"),
    *("features", "path", "load", "num_threads", "adapter", "vision", "num_threads_now", "num_kept_tokens"),
    *("num_checkpoints", "checkpoint_bytes", "num_cells", "num_cells_made", "num_cells_used", "num_cache_growths"),
    *("threads_reason", "speculation", "why_no_drafts", "draft"),
}


async def status(front: FakeFront) -> dict[str, Any]:
    response = await front.client.get("/v1/mlxr/status")
    assert response.status_code == 200
    body: dict[str, Any] = response.json()
    return body


async def stop(front: FakeFront, model: str) -> tuple[int, dict[str, Any]]:
    response = await front.client.post("/v1/mlxr/models/stop", json={"model": model})
    return response.status_code, response.json()


@with_front()
async def test_health_answers_while_a_model_loads_and_names_what_is_resident(front: FakeFront) -> None:
    front.fleet.hold("load")
    assert (await front.client.get("/health")).json() == {"status": "ok", "resident": []}
    request = asyncio.create_task(front.chat())
    await front.fleet.until(lambda: front.fleet.state == "loading", "it loads")
    assert (await front.client.get("/health")).json() == {"status": "ok", "resident": []}
    front.fleet.let_go("load")
    await request
    health = (await front.client.get("/health")).json()
    assert health == {"status": "ok", "resident": [{"model": "m", "engine": "llamacpp"}]}


@with_front()
async def test_ready_is_a_503_with_the_reasons_as_long_as_there_are_any(front: FakeFront) -> None:
    ready = await front.client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "reasons": []})
    front.services.readiness.hold(PRELOAD, "The model to preload, m, is being loaded.")
    waiting = await front.client.get("/ready")
    expected = {"status": "not_ready", "reasons": ["The model to preload, m, is being loaded."]}
    assert (waiting.status_code, waiting.json()) == (503, expected)
    assert (await front.client.get("/health")).status_code == 200, "which it has nothing to do with"
    front.services.readiness.release(PRELOAD)
    assert (await front.client.get("/ready")).status_code == 200


@with_front()
async def test_the_status_follows_a_worker_through_its_life(front: FakeFront) -> None:
    idle = await status(front)
    assert idle["workers"] == []
    assert idle["pid"] == os.getpid()
    assert idle["engine_setting"] == "llamacpp"
    assert idle["queue"] == {
        "num_waiting": 0,
        "num_background": 0,
        "limit": 64,
        "limit_background": 1024,
        "oldest_wait_s": None,
        "by_target": [],
    }
    front.fleet.hold("load")
    front.fleet.hold("decode")
    request = asyncio.create_task(front.chat(max_tokens=100))
    await front.fleet.until(lambda: front.fleet.state == "loading", "it loads")
    loading = await status(front)
    assert [worker["state"] for worker in loading["workers"]] == ["loading"]
    assert loading["queue"]["num_waiting"] == 1
    assert loading["queue"]["by_target"] == [{"model": "m", "engine": "llamacpp", "num_waiting": 1}]
    assert loading["queue"]["oldest_wait_s"] >= 0
    front.fleet.let_go("load")
    await front.fleet.until(lambda: any(each.use.num_running for each in front.fleet.ready), "it serves")
    busy = (await status(front))["workers"][0]
    assert set(busy) == WORKER_KEYS
    assert (busy["state"], busy["model"], busy["engine"], busy["num_running"]) == ("generating", "m", "llamacpp", 1)
    assert busy["pid"] == front.fleet.pid
    assert busy["rss_bytes"] > 1 << 20
    assert busy["devices"] == ["fake"]
    front.fleet.let_go("decode")
    await request
    await front.fleet.until(lambda: front.fleet.holder is not None and not front.fleet.holder.use.num_running, "idle")
    assert (await status(front))["workers"][0]["state"] == "ready"


@with_front(config=make_config(workers=2))
async def test_every_worker_of_a_model_is_shown(front: FakeFront) -> None:
    await front.chat()
    await front.fleet.until(lambda: len(front.fleet.ready) == 2, "both are ready")
    shown = (await status(front))["workers"]
    assert [(worker["model"], worker["state"]) for worker in shown] == [("m", "ready")] * 2
    assert len({worker["pid"] for worker in shown}) == len({worker["id"] for worker in shown}) == 2


@with_front(mlx=FakeOptions(ballast_bytes=20 << 20))
async def test_a_flip_is_shown_with_what_it_freed(front: FakeFront) -> None:
    await front.chat(model="m@mlx")
    await front.chat(model="m@llamacpp")
    swaps = (await status(front))["swaps"]
    assert [(swap["event"], swap["engine"]) for swap in swaps] == [
        ("load", "mlx"),
        ("unload", "mlx"),
        ("load", "llamacpp"),
    ]
    assert swaps[1]["freed_bytes"] > 20 << 20
    assert swaps[1]["unload_ms"] > 0
    assert swaps[2]["load_ms"] > 0


@with_front()
async def test_stop_unloads_by_name_or_alias_and_says_when_there_was_nothing_to_do(front: FakeFront) -> None:
    assert await stop(front, "m") == (200, {"stopped": False, "freed_bytes": None, "unload_ms": None})
    await front.chat()
    code, body = await stop(front, "nick")
    assert code == 200
    assert body["stopped"]
    assert body["freed_bytes"] > 1 << 20
    assert (await status(front))["workers"] == []
    code, body = await stop(front, "nobody")
    assert (code, body["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("body", [b"{}", b'{"model": ""}', b"["])
@with_front()
async def test_a_malformed_stop_is_a_400(front: FakeFront, body: bytes) -> None:
    assert (await front.client.post("/v1/mlxr/models/stop", content=body)).status_code == 400


@with_front(config=make_config(standby=True))
async def test_standby_workers_are_shown_as_such(front: FakeFront) -> None:
    fleet = front.fleet
    await fleet.until(lambda: len(fleet.supervisor.workers) == 2, "they are there")
    shown = (await status(front))["workers"]
    assert [(worker["state"], worker["model"]) for worker in shown] == [("standby", None)] * 2


@with_front()
async def test_capabilities_are_those_of_the_models_engines(front: FakeFront) -> None:
    async def ask(query: str = "") -> dict[str, Any]:
        response = await front.client.get(f"/v1/mlxr/capabilities{query}")
        assert response.status_code == 200
        body: dict[str, Any] = response.json()
        return body

    everything = await ask()
    assert (everything["model"], everything["engines"]) == (None, ["llamacpp", "mlx"])
    temperature = next(field for field in everything["fields"] if field["name"] == "temperature")
    assert temperature["engines"] == {"llamacpp": "honoured", "mlx": "honoured"}
    assert temperature["endpoints"] == ["chat", "completions", "responses"]
    store = next(field for field in everything["fields"] if field["name"] == "store")
    assert (store["engines"]["mlx"], store["neutral"]) == ("without effect", [None, False])
    assert (await ask("?model=nick"))["model"] == "m"
    assert (await ask("?model=only-gguf"))["engines"] == ["llamacpp"]
    one = await ask("?model=m@mlx")
    assert one["engines"] == ["mlx"]
    assert {tuple(field["engines"]) for field in one["fields"]} == {("mlx",)}
    missing = await front.client.get("/v1/mlxr/capabilities?model=nobody")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@with_front(config=make_config(keep_alive_s=500.0))
async def test_the_status_says_when_an_idle_model_is_unloaded(front: FakeFront) -> None:
    asked_at = time.time()
    await front.chat()
    await front.fleet.until(lambda: front.fleet.expires_at is not None, "it is idle")
    (idle,) = (await status(front))["workers"]
    assert asked_at + 499 < idle["expires_at"] < time.time() + 501


@with_front()
async def test_the_status_says_how_far_the_checksums_are(front: FakeFront) -> None:
    assert (await status(front))["checksums"] is None
    progress = HashProgress(num_artifacts_left=2, done_bytes=10, total_bytes=100, path="/m/a.gguf")
    front.services.keeper.progress = progress
    assert (await status(front))["checksums"] == msgspec.to_builtins(progress)
