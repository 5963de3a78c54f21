"""A key with patterns, and the models that there are for it."""

import json
from typing import Any, Final

import pytest

from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import run_cli
from tests.support.keyed_server import KeyedServer


def test_a_key_sees_only_the_models_that_it_may_use(server: KeyedServer) -> None:
    run_cli(server.home, "models", "alias", "other", "elsewhere")
    secret = server.make("narrow", "--models", "tin*")
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with server.client() as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        assert [model["id"] for model in client.get("/v1/models").json()["data"]] == ["tiny"]
        assert {model["name"] for model in client.get("/api/tags").json()["models"]} == {"tiny:latest"}
        assert client.post("/v1/chat/completions", json={"model": "tiny", **body}).status_code == 200
        for reference in ("other", "elsewhere", "other@llamacpp", "other+lora", "OTHER", "other:latest", "./other"):
            refused = client.post("/v1/chat/completions", json={"model": reference, **body})
            assert refused.status_code in {400, 404}, reference
            assert "Did you mean" not in refused.text
            for path in ("/api/show", "/api/chat", "/api/generate"):
                assert client.post(path, json={"model": reference, "stream": False}).status_code in {400, 404}
        for path in ("/v1/models/other", "/v1/models/elsewhere", "/api/v0/models/other", "/props?model=other"):
            assert client.get(path).status_code == 404, path
        missing = client.post("/v1/chat/completions", json={"model": "othex", **body}).json()
        hidden = client.post("/v1/chat/completions", json={"model": "other", **body}).json()
    assert json.dumps(missing).replace("othex", "other") == json.dumps(hidden)


@pytest.fixture(scope="module")
def bounded(server: KeyedServer) -> str:
    """A key that may make and change only some models; one of them has an alias that looks like another's."""
    run_cli(server.home, "models", "alias", "other", "tin-other")
    return server.key("bounded", "--scope", "models", "--models", "tin*", "--models", "made/*")


FORBIDDEN: Final = [
    ("POST", "/api/copy", {"source": "tiny", "destination": "new"}, 403),
    ("POST", "/api/copy", {"source": "tiny", "destination": "tin-other"}, 403),
    ("POST", "/api/copy", {"source": "other", "destination": "tin-copy"}, 404),
    ("POST", "/api/copy", {"source": "tin-other", "destination": "tin-copy"}, 404),
    ("POST", "/api/create", {"model": "new", "from": "tiny", "stream": False}, 403),
    ("POST", "/api/create", {"model": "new", "from": "tiny"}, 403),
    ("POST", "/api/create", {"model": "new", "files": {"a.gguf": "sha256:" + "0" * 64}}, 403),
    ("POST", "/api/create", {"model": "tin-new", "from": "other"}, 403),
    ("POST", "/api/pull", {"model": "new"}, 403),
    ("POST", "/api/pull", {"model": "hf.co/org/new:Q4_0"}, 403),
    ("DELETE", "/api/delete", {"model": "other"}, 404),
    ("DELETE", "/api/delete", {"model": "tin-other"}, 404),
    ("DELETE", "/v1/models/other", None, 404),
    ("DELETE", "/v1/models/tin-other", None, 404),
    ("POST", "/v1/mlxr/models/pull", {"reference": "org/new-GGUF"}, 403),
    ("POST", "/v1/mlxr/models/pull", {"reference": "org/tiny-GGUF", "name": "new"}, 403),
    ("POST", "/v1/mlxr/models/pull", {"reference": "org/tiny-GGUF", "name": "tin-other"}, 403),
    ("POST", "/v1/mlxr/models/pull", {"reference": "ollama://new"}, 403),
    ("POST", "/v1/mlxr/models/convert", {"model": "other"}, 404),
    ("POST", "/v1/mlxr/models/convert", {"model": "tin-other"}, 404),
    ("POST", "/v1/mlxr/models/convert", {"model": "tiny", "name": "new"}, 403),
    ("POST", "/v1/mlxr/models/convert", {"model": "tiny", "name": "tin-other"}, 403),
    ("POST", "/v1/mlxr/models/convert/cancel", {"model": "other"}, 404),
    ("POST", "/v1/mlxr/models/stop", {"model": "other"}, 404),
    ("POST", "/v1/mlxr/bench", {"model": "other"}, 404),
    ("POST", "/v1/mlxr/bench", {"model": "tiny", "contestants": ["other@llamacpp", "tiny@llamacpp"]}, 404),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), FORBIDDEN)
def test_patterns_bound_what_a_key_may_make_change_and_remove(
    server: KeyedServer, bounded: str, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    with server.client(kind=bounded) as client:
        refused = client.request(method, path, json=body)
    assert refused.status_code == status, refused.text
    if status == 403:
        assert "'bounded' may only make and change models named tin* or made/*" in refused.text
    else:
        assert "Did you mean" not in refused.text
    with Registry(Paths.under(server.home).registry_db) as registry:
        assert {summary.name for summary in registry.models.summaries()} >= {"tiny", "other"}
        assert registry.models.get("tin-other").name == "other"
        assert not {"new", "new:latest"} & {summary.name for summary in registry.models.summaries()}


def test_a_key_makes_and_removes_what_its_patterns_name(server: KeyedServer, bounded: str) -> None:
    with server.client(kind=bounded) as client:
        assert client.post("/api/copy", json={"source": "tiny", "destination": "made/one"}).status_code == 200
        made = {"model": "tin-two", "from": "made/one", "stream": False}
        assert client.post("/api/create", json=made).status_code == 200
        for name in ("made/one", "tin-two"):
            assert client.request("DELETE", "/api/delete", json={"model": name}).status_code == 200


def test_a_key_is_not_told_of_other_models(server: KeyedServer, bounded: str) -> None:
    body = {"model": "other", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
    with server.client(kind="admin") as admin, server.client(kind=bounded) as client:
        assert admin.post("/v1/chat/completions", json=body).status_code == 200
        seen = {who: each.get("/v1/mlxr/status").json() for who, each in (("admin", admin), ("key", client))}
        for path in ("/v1/mlxr/status", "/api/ps", "/health", "/slots", "/props", "/api/tags"):
            assert "other" not in client.get(path).text.replace("another", ""), path
        with client.stream("GET", "/v1/mlxr/events") as response:
            assert "other" not in next(line for line in response.iter_lines() if line.startswith("data: "))
    assert "other" in {worker["model"] for worker in seen["admin"]["workers"]}


def test_only_administrators_say_on_which_machines_a_model_runs(server: KeyedServer) -> None:
    body = {"model": "tiny", "set": {"hosts": ["local=10.0.0.1", "elsewhere=10.0.0.2"]}}
    with server.client(kind=server.key("spreads", "--scope", "models")) as client:
        refused = client.patch("/v1/mlxr/models/settings", json=body)
    assert refused.status_code == 403
    with Registry(Paths.under(server.home).registry_db) as registry:
        assert registry.models.get("tiny").settings.hosts is None


def test_patterns_bound_what_a_key_sets_names_and_looks_at(server: KeyedServer) -> None:
    kind = server.key("sets-tiny", "--scope", "models", "--models", "tiny*")
    settings, aliases = "/v1/mlxr/models/settings", "/v1/mlxr/models/aliases"
    with server.client(kind=kind) as client:
        assert client.patch(settings, json={"model": "tiny", "set": {"seed": 1}}).status_code == 200
        assert client.patch(settings, json={"model": "tiny", "unset": ["seed"]}).status_code == 200
        assert client.patch(settings, json={"model": "other", "set": {"seed": 1}}).status_code == 404
        assert client.patch(settings, json={"model": "tiny", "set": {"draft": "other"}}).status_code == 404
        assert client.get(settings, params={"model": "other"}).status_code == 404
        refused = client.post(aliases, json={"model": "tiny", "alias": "mine"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_name_not_allowed")
        assert client.post(aliases, json={"model": "tiny", "alias": "tiny-too"}).status_code == 200
        assert client.post(f"{aliases}/remove", json={"model": "tiny", "alias": "tiny-too"}).status_code == 200
        assert [each["model"] for each in client.get("/v1/mlxr/models/fit").json()["models"]] == ["tiny"]
        assert client.get("/v1/mlxr/models/removal", params={"model": "other"}).status_code == 404
        verified = client.post("/v1/mlxr/models/verify", json={}).text
        assert '"models":["tiny"]' in verified
        assert client.post("/v1/mlxr/models/verify", json={"model": "other"}).status_code == 404
        body = {"model": "tiny", "path": "/etc/hostname"}
        assert client.post("/v1/mlxr/models/adapters", json=body).status_code == 403, "files are the administrator's"
