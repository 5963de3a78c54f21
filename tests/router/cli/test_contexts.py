import json
from typing import Any

import pytest

from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway

ALL = "/v1/mlxr/contexts"
CONVERSATIONS = "/v1/mlxr/conversations"


def entry(**fields: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "id": "ctx_1",
        "owner": None,
        "model": "m",
        "session": "talk\x1b",
        "conversation": None,
        "earlier": None,
        "turns": 24,
        "tokens_before": 900,
        "tokens_after": 300,
        "narrative_tokens": 40,
        "by": "m",
        "ms": 1500.0,
        "left_out": False,
        "is_stored": True,
        "num_bytes": 100,
        "created_at": 1.0,
        "used_at": 2.0,
    }
    return plain | fields


def test_contexts_are_listed(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers[f"{ALL}?limit=100"] = (200, '{"contexts": [], "has_more": false, "num_contexts": 0, "num_bytes": 0}')
    assert "mlxr models set NAME context=wind" in mlxr("context").out
    document = {"contexts": [entry()], "has_more": True, "num_contexts": 230, "num_bytes": 100}
    stub.answers[f"{ALL}?limit=100"] = (200, json.dumps(document))
    _, row, more = mlxr("context").out.splitlines()
    assert row.split()[:8] == ["ctx_1", "m", "24", "messages", "900", "to", "300", "m"]
    assert "talk\\x1b" in row
    assert more.startswith("The last 100 of 230;")
    assert json.loads(mlxr("context", "--json").out) == document


def test_one_shows_what_its_model_sees(mlxr: Mlxr, stub: StubGateway) -> None:
    calls = [{"id": "c", "name": "look", "arguments": '{"at": "\x1b"}'}]
    messages = [
        {"role": "user", "content": "a summary\nof walruses\x1b"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "a cat", "name": "look", "tool_call_id": "c"},
    ]
    document = entry(narrative="of walruses", messages=messages)
    stub.answers[f"{ALL}/ctx_1"] = (200, json.dumps(document))
    out = mlxr("context", "ctx_1").out
    assert "24 messages in 40 tokens" in out
    assert "m in 1.5 s" in out
    assert "of walruses\\x1b" in out
    assert 'calls look {"at": "\\x1b"}' in out
    assert "tool look\na cat" in out
    assert json.loads(mlxr("context", "ctx_1", "--json").out) == document
    left_out = entry(narrative=None, left_out=True, by=None, narrative_tokens=0, is_stored=False, messages=[])
    stub.answers[f"{ALL}/ctx_1"] = (200, json.dumps(left_out))
    out = mlxr("context", "ctx_1").out
    assert "24 messages left out" in out
    assert "in memory, until the server ends" in out


def test_a_context_that_is_not_there_is_one_sentence(mlxr: Mlxr, stub: StubGateway) -> None:
    error = {"error": {"message": "Context with id 'ctx_9' not found.", "code": "context_not_found"}}
    stub.answers[f"{ALL}/ctx_9"] = (404, json.dumps(error))
    assert mlxr("context", "ctx_9") == (1, "", "mlxr: Context with id 'ctx_9' not found.\n")


def test_conversations_are_listed(mlxr: Mlxr, stub: StubGateway) -> None:
    path = f"{CONVERSATIONS}?limit=100"
    stub.answers[path] = (200, '{"conversations": [], "has_more": false}')
    assert mlxr("conversations").out == "No conversation is kept.\n"
    one = {"id": "conv_1", "title": "Walruses\x1b", "is_title_own": False, "is_pinned": False, "is_archived": False}
    one |= {"created_at": 1, "updated_at": 2.0, "owner": None, "head_item_id": None, "metadata": {}}
    stub.answers[path] = (200, json.dumps({"conversations": [one], "has_more": False}))
    _, row = mlxr("conversations", "list").out.splitlines()
    assert row.split()[:2] == ["conv_1", "Walruses\\x1b"]
    assert json.loads(mlxr("conversations", "--json").out)["conversations"] == [one]


def test_each_kind_is_deleted_where_it_is_kept(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers[f"{ALL}/ctx_1"] = (200, '{"num_deleted": 3}')
    stub.answers["/v1/conversations/conv_1"] = (200, '{"deleted": true}')
    stub.answers["/v1/responses/resp_1"] = (200, '{"deleted": true}')
    assert mlxr("conversations", "rm", "ctx_1", "conv_1", "resp_1") == (0, "3 conversations deleted.\n", "")
    assert [(path, body) for path, body, _ in stub.requests] == [
        (f"{ALL}/ctx_1", "deleted"),
        ("/v1/conversations/conv_1", "deleted"),
        ("/v1/responses/resp_1", "deleted"),
    ]
    said = json.loads(mlxr("conversations", "rm", "ctx_1", "--json").out)
    assert said == {"num_conversations": 0, "num_contexts": 3}


def test_all_are_deleted_when_that_is_said_twice(mlxr: Mlxr, stub: StubGateway) -> None:
    stub.answers[CONVERSATIONS] = (200, '{"num_deleted": 2}')
    stub.answers[ALL] = (200, '{"num_deleted": 1}')
    refused = mlxr("conversations", "rm", "--all")
    assert (refused.exit_code, stub.requests) == (2, [])
    assert "give --yes to delete" in refused.err
    assert mlxr("conversations", "rm", "--all", "--yes").out == "2 conversations and 1 context deleted.\n"


@pytest.mark.parametrize("arguments", [(), ("conv_1", "--all"), ("talk",), ("conv_1", "talk")])
def test_what_cannot_be_meant_deletes_nothing(mlxr: Mlxr, stub: StubGateway, arguments: tuple[str, ...]) -> None:
    said = mlxr("conversations", "rm", *arguments)
    assert (said.exit_code, stub.requests) == (2, [])
    assert "`mlxr conversations` and `mlxr context` list them" in said.err
