"""The config over HTTP: every key described, changes checked, written into the file and in force."""

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from router.config.key_types import key_paths
from router.config.schema import HubConfig
from router.config.yaml_text import dotted
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

CONFIG = "/v1/mlxr/config"


async def key(front: FakeFront, name: str) -> dict[str, Any]:
    keys = (await front.client.get(CONFIG)).json()["keys"]
    return next(each for each in keys if each["key"] == name)


def file_of(front: FakeFront) -> Path:
    return front.services.configuration.file


@with_front()
async def test_every_key_is_described(front: FakeFront) -> None:
    keys = (await front.client.get(CONFIG)).json()["keys"]
    assert [each["key"] for each in keys] == [dotted(path) for path in key_paths()]
    assert all(each["what"] and each["takes"] for each in keys)
    assert {each["origin"] for each in keys} <= {"default", "memory", "file"}
    assert await key(front, "limits.max_queue") == {
        "key": "limits.max_queue",
        "what": "Interactive requests that may wait; one more is answered 429.",
        "kind": "integer",
        "takes": "int >= 1 and <= 100000",
        "choices": [],
        "is_free": True,
        "minimum": 1,
        "maximum": 100_000,
        "is_nullable": False,
        "unit": None,
        "default": 64,
        "in_file": 64,
        "value": 64,
        "origin": "default",
        "needs_restart": False,
        "is_waiting": False,
    }


@with_front()
async def test_a_change_is_in_force_when_it_is_answered_and_comments_stay(front: FakeFront) -> None:
    file_of(front).write_text("# mine\nlimits:\n  max_queue: 5  # few\n")
    body = {"set": {"limits.max_queue": 6, "generation.top_k": 40}}
    done = await front.client.patch(CONFIG, json=body)
    assert done.json() == {"changed": ["limits.max_queue", "generation.top_k"], "needs_restart": [], "error": None}
    assert file_of(front).read_text() == "# mine\nlimits:\n  max_queue: 6  # few\ngeneration:\n  top_k: 40\n"
    assert front.services.serving.config.limits.max_queue == 6
    told = await key(front, "generation.top_k")
    assert (told["value"], told["in_file"], told["default"], told["origin"]) == (40, 40, None, "file")
    undone = await front.client.patch(CONFIG, json={"unset": ["limits.max_queue", "standby"]})
    assert undone.json()["changed"] == ["limits.max_queue"]
    assert front.services.serving.config.limits.max_queue == 64
    assert "# few" in file_of(front).read_text()


@with_front()
async def test_what_needs_a_restart_is_said_to_wait(front: FakeFront) -> None:
    done = await front.client.patch(CONFIG, json={"set": {"server.max_connections": 9, "standby": True}})
    assert done.json()["needs_restart"] == ["server.max_connections"]
    told = await key(front, "server.max_connections")
    assert (told["in_file"], told["value"], told["is_waiting"]) == (9, 2048, True)
    assert (await key(front, "standby"))["is_waiting"] is False


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"set": {"limits.max_queue": 0}}, "limits.max_queue", "expected int >= 1 and <= 100000, got 0"),
        ({"set": {"limits.max_queu": 5}}, "limits.max_queu", "did you mean limits.max_queue?"),
        ({"set": {"limits": {}}}, "limits", "this is a section"),
        ({"unset": ["nothing"]}, "nothing", "unknown key"),
        ({"unset": ["limits.max_queue.x"]}, "limits.max_queue.x", "limits.max_queue is set as a whole"),
        ({"set": {"llamacpp.kv_type.k": "f16"}}, "llamacpp.kv_type.k", "llamacpp.kv_type is set as a whole"),
        ({"set": {"standby": True}, "unset": ["standby"]}, "standby", "both set and unset"),
        ({"set": {"hub.token": "********"}}, "hub.token", "stands for what is not shown"),
        ({"set": {"server.tls_key_file": "/k"}}, None, "server.tls_cert_file is not"),
        ({"sets": {"standby": True}}, "sets", "sets"),
        ({"set": {"server.allowed_origins": ["no origin"]}}, "server.allowed_origins[0]", "an origin like"),
    ],
)
@with_front()
async def test_what_cannot_be_is_refused_by_its_key_and_nothing_is_written(
    front: FakeFront, body: dict[str, Any], param: str | None, said: str
) -> None:
    file_of(front).write_text("standby: false\n")
    both = body | {"set": {"limits.reattach_s": 1} | body.get("set", {})}
    refused = await front.client.patch(CONFIG, json=both)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert said in error["message"]
    assert param is None or error["param"] == param
    assert file_of(front).read_text() == "standby: false\n"


@with_front()
async def test_a_file_that_cannot_be_read_is_said_so_and_left_as_it_is(front: FakeFront) -> None:
    file_of(front).write_text("standby: [\n")
    refused = await front.client.patch(CONFIG, json={"set": {"standby": True}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "invalid_config")
    assert file_of(front).read_text() == "standby: [\n"


@with_front()
async def test_secrets_are_not_shown(front: FakeFront) -> None:
    await front.client.patch(CONFIG, json={"set": {"hub.token": "hf_secret"}})
    assert "hf_secret" in file_of(front).read_text()
    assert "hf_secret" not in (await front.client.get(CONFIG)).text
    assert (await key(front, "hub.token"))["in_file"] == "********"


@with_front(config=replace(make_config(), hub=HubConfig(token="hf_old")))
async def test_another_secret_waits_for_a_restart_as_other_keys_do(front: FakeFront) -> None:
    for token, is_waiting in {"hf_old": False, "hf_new": True}.items():
        await front.client.patch(CONFIG, json={"set": {"hub.token": token}})
        assert (await key(front, "hub.token"))["is_waiting"] is is_waiting


@with_front()
async def test_the_engine_is_set_for_all_models_at_once(front: FakeFront) -> None:
    assert (await front.client.get("/v1/mlxr/engine")).json() == {"engine": "llamacpp"}
    assert (await front.client.post("/v1/mlxr/engine", json={"engine": "mlx"})).json() == {"engine": "mlx"}
    assert (await front.chat()).json()["timings"]["engine"] == "mlx"
    refused = await front.client.post("/v1/mlxr/engine", json={"engine": "cuda"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "engine")
