"""How clients send their keys, and how they are refused."""

from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.support.gateway_process import run_cli
from tests.support.keyed_server import WRONG, KeyedServer


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/chat/completions", {"error": {"type": "authentication_error", "code": "invalid_api_key"}}),
        ("/v1/responses", {"error": {"type": "authentication_error", "code": "invalid_api_key"}}),
        ("/v1/messages", {"type": "error", "error": {"type": "authentication_error"}}),
        ("/api/chat", {"error": str}),
        ("/completion", {"error": {"type": "authentication_error"}}),
        ("/v1/mlxr/report", {"error": {"type": "authentication_error"}}),
    ],
)
def test_a_refusal_has_the_shape_of_its_protocol(server: KeyedServer, path: str, shape: dict[str, Any]) -> None:
    with server.client() as client:
        answer = client.post(path, json={})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    _assert_within(shape, answer.json())


def _assert_within(shape: Any, value: Any) -> None:
    if isinstance(shape, dict):
        for key, inner in shape.items():
            _assert_within(inner, value[key])
    elif isinstance(shape, type):
        assert isinstance(value, shape)
    else:
        assert value == shape


def test_a_key_comes_as_bearer_or_as_x_api_key(server: KeyedServer) -> None:
    secret = server.secrets["inference"]
    with server.client() as client:
        for headers in (
            {"Authorization": f"Bearer {secret}"},
            {"Authorization": f"bearer {secret}"},
            {"x-api-key": secret},
            {"x-api-key": secret, "Authorization": "Bearer dummy"},
        ):
            assert client.get("/v1/models", headers=headers).status_code == 200


def test_keys_count_from_the_moment_they_are_made_until_they_are_revoked(server: KeyedServer) -> None:
    secret = server.make("short-lived")
    with server.client() as client:
        headers = {"Authorization": f"Bearer {secret}"}
        assert client.get("/v1/models", headers=headers).status_code == 200
        run_cli(server.home, "keys", "revoke", "short-lived")
        refused = client.get("/v1/models", headers=headers)
    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "The API key 'short-lived' was revoked."


def test_the_clients_themselves_send_their_keys(server: KeyedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, url = server.secrets["inference"], server.gateway.url
    asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}
    with openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0) as client:
        assert client.chat.completions.create(**asked, max_tokens=2).usage is not None
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key=WRONG, max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError, match="not one of this server's"):
        stranger.chat.completions.create(**asked)
    with anthropic.Anthropic(base_url=url, api_key=secret, max_retries=0) as claude:
        assert claude.messages.create(**asked, max_tokens=2).usage.output_tokens > 0
    unknown = anthropic.Anthropic(base_url=url, api_key=WRONG, max_retries=0)
    with unknown, pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        unknown.messages.create(**asked, max_tokens=2)
    monkeypatch.setenv("OLLAMA_API_KEY", secret)
    with ollama.Client(host=url) as llama:
        assert llama.chat(**asked).message.content is not None
    monkeypatch.setenv("OLLAMA_API_KEY", WRONG)
    with (
        ollama.Client(host=url) as nobody,
        pytest.raises(ollama.ResponseError, match="not one of this server's") as refused,
    ):
        nobody.chat(**asked)
    assert refused.value.status_code == 401
