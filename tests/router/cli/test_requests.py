import json
from typing import Any

from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway

PATH = "/v1/mlxr/requests"


def listed(**fields: Any) -> dict[str, Any]:
    scheduling = {"state": "queued", "priority": "interactive", "session": None, "started_at": 1.0, "age_s": 2.51}
    sender = {"protocol": "openai", "client": "127.0.0.1:5", "is_client_gone": False}
    counts: dict[str, Any] = dict.fromkeys(("prompt_tokens", "prompt_tokens_done", "prompt_tokens_cached"))
    counts |= {"output_tokens": [], "context": None, "worker": None}
    return {"id": "chatcmpl-1", "model": "m", "engine": None} | scheduling | sender | counts | fields


def test_listing_without_a_server(mlxr: Mlxr) -> None:
    assert mlxr("requests") == (0, "No mlxr server is running; `mlxr serve` starts one.\n", "")
    assert mlxr("requests", "--json").out == "null\n"
    assert mlxr("requests", "cancel", "x").exit_code == 1


def test_requests_are_listed_with_or_without_the_verb(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers[PATH] = (200, '{"requests": []}')
    assert mlxr("requests").out == "No request runs or waits.\n"
    counts = {"prompt_tokens": 20, "prompt_tokens_done": 20, "prompt_tokens_cached": 4, "output_tokens": [3, 5]}
    fill = {"used": 28, "limit": 64, "id": "ctx_1", "turns": 3, "narrative_tokens": 9, "left_out": False}
    worker = {"id": 12, "pid": 4711}
    running = listed(engine="mlx", worker=worker, state="decode", session="a\x1b", context=fill, **counts)
    document = {"requests": [listed(), running]}
    stub.answers[PATH] = (200, json.dumps(document))
    out = mlxr("requests").out
    assert mlxr("requests", "list").out == out
    _, waiting, decoding = out.splitlines()
    assert waiting.split() == ["chatcmpl-1", *"m--", "queued", "interactive", *"-", "2.5", "s", *"----", "127.0.0.1:5"]
    assert decoding.split()[2:4] == ["mlx", "12"]
    assert "20/20" in decoding
    assert "3+5" in decoding
    assert "28/64 ctx_1" in decoding
    assert "a\\x1b" in decoding
    assert json.loads(mlxr("requests", "--json").out) == document
    assert json.loads(mlxr("requests", "list", "--json").out) == document


def test_cancelling_says_what_was_cancelled_or_why_not(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers[f"{PATH}/chatcmpl-1/cancel"] = (200, json.dumps({"cancelled": listed(state="prefill")}))
    said = mlxr("requests", "cancel", "chatcmpl-1")
    assert said == (0, "chatcmpl-1 on m is cancelled; it was in state prefill.\n", "")
    assert json.loads(mlxr("requests", "cancel", "chatcmpl-1", "--json").out) == listed(state="prefill")
    stub.answers[f"{PATH}/a%2Fb/cancel"] = (404, '{"error": {"message": "No request a/b.", "code": "x"}}')
    assert mlxr("requests", "cancel", "a/b") == (1, "", "mlxr: No request a/b.\n")
