"""A key with patterns, and the models that there are for it."""

import json

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
