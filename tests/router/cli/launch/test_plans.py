"""What each client is given, to the byte: `golden/` has its files, and in `start.json` how it is started.

`UPDATE_GOLDEN=1` writes them anew.
"""

import json
import os
from pathlib import Path

import msgspec
import pytest

from router.cli.launch.checks import problems_of
from router.cli.launch.clients import CLIENTS
from router.cli.launch.offer import Offer, Places
from router.cli.launch.plan import Client, FileChange, Plan

GOLDEN = Path(__file__).parent / "golden"
HOME = Path("/home/ann")
PLACES = Places(home=HOME, config=HOME / ".config", own=HOME / ".local/share/mlxr/launch/x")
PLAIN = Offer(
    url="http://127.0.0.1:11434",
    model="qwen3-4b",
    context_length=65_536,
    max_context_length=262_144,
    catalogue={"slug": "qwen3-4b", "context_window": 65_536},
)
WHOLE = msgspec.structs.replace(
    PLAIN,
    url="https://127.0.0.1:11434",
    capabilities=("completion", "vision", "tools", "thinking"),
    aliases=("claude-qwen",),
    key="sk-mlxr-secret",
    cert_file="/home/ann/cert.pem",
)
LISTED = msgspec.structs.replace(PLAIN, aliases=("anthropic-qwen3-4b", "claude-qwen"), is_listed=True)
OFFERS = {"plain": PLAIN, "whole": WHOLE}


def golden_files(plan: Plan) -> dict[str, bytes]:
    """Return what a plan gives, by file."""
    start = {
        "files": [str(change.path) for change in plan.files],
        "environment": dict(plan.environment),
        "command line": plan.command_line(),
        "steps": plan.steps,
    }
    files = {change.path.name: change.content(None) for change in plan.files}
    return files | {"start.json": (json.dumps(start, indent=1) + "\n").encode()}


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_client_is_given_these_bytes(client: Client, offer: str) -> None:
    compared_with_golden(client, offer, OFFERS[offer])


def test_one_that_is_to_list_models_is_given_these_bytes() -> None:
    [claude] = [client for client in CLIENTS if client.lists is not None]
    compared_with_golden(claude, "listed", LISTED)


def compared_with_golden(client: Client, case: str, offer: Offer) -> None:
    folder = GOLDEN / client.name / case
    found = golden_files(client.plan(offer, PLACES))
    if os.environ.get("UPDATE_GOLDEN"):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        for name, data in found.items():
            (folder / name).write_bytes(data)
    assert found == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_key_is_put_where_the_client_finds_it_or_the_user_is_told_to(client: Client) -> None:
    plan = client.plan(WHOLE, PLACES)
    given = [str(plan.environment), *(change.content(None).decode() for change in plan.files)]
    assert any("sk-mlxr-secret" in text for text in given) is client.keeps_key
    assert "sk-mlxr-secret" not in str(plan.steps) + str(plan.command_line())
    assert client.keeps_key or f"mlxr keys create {client.name}" in str(plan.steps)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_context_that_is_not_known_is_left_out(client: Client) -> None:
    plan = client.plan(msgspec.structs.replace(PLAIN, context_length=None, catalogue=None), PLACES)
    for change in plan.files:
        assert "null" not in change.content(None).decode()


def test_the_programs_own_variables_and_platforms_say_where_files_lie() -> None:
    by_name = {client.name: client for client in CLIENTS}
    environ = {"CODEX_HOME": "/home/ann/c", "QWEN_HOME": "/home/ann/q", "LLM_USER_PATH": "/home/ann/l"}
    places = msgspec.structs.replace(PLACES, environ=environ)
    paths = {name: [str(each.path) for each in by_name[name].plan(PLAIN, places).files] for name in by_name}
    assert paths["codex"][1] == "/home/ann/c/mlxr.config.toml"
    assert paths["qwen-code"] == ["/home/ann/q/settings.json"]
    assert paths["llm"] == ["/home/ann/l/extra-openai-models.yaml"]
    on_mac = msgspec.structs.replace(PLACES, is_mac=True)
    mac_paths = {name: [str(each.path) for each in by_name[name].plan(PLAIN, on_mac).files] for name in by_name}
    assert mac_paths["vscode"] == ["/home/ann/Library/Application Support/Code/User/chatLanguageModels.json"]
    assert mac_paths["llm"] == ["/home/ann/Library/Application Support/io.datasette.llm/extra-openai-models.yaml"]
    assert mac_paths["zed"] == ["/home/ann/.config/zed/settings.json"]


def test_a_file_of_settings_that_is_there_in_its_other_form_is_the_one(tmp_path: Path) -> None:
    opencode = next(client for client in CLIENTS if client.name == "opencode")
    (tmp_path / "opencode").mkdir()
    (tmp_path / "opencode" / "opencode.jsonc").write_text('{ // mine\n  "theme": "x"\n}\n')
    change = opencode.plan(PLAIN, msgspec.structs.replace(PLACES, config=tmp_path)).files[0]
    assert isinstance(change, FileChange)
    assert change.path.name == "opencode.jsonc"
    assert change.content(change.path.read_bytes()).startswith(b'{ // mine\n  "theme": "x",\n  "$schema": ')


def said(client: str, **fields: object) -> list[tuple[str, bool]]:
    offer = msgspec.structs.replace(PLAIN, **fields)
    found = problems_of(next(each for each in CLIENTS if each.name == client), offer)
    return [(problem.text, problem.is_fatal) for problem in found]


def test_a_context_that_is_short_is_named_with_the_command_that_mends_it() -> None:
    assert said("claude") == []
    [(text, is_fatal)] = said("claude", context_length=32_768)
    assert text == (
        "The context of qwen3-4b has 32,768 tokens, Claude Code works well from 65,536 on: `mlxr models set qwen3-4b "
        "context_length=65536` makes it longer, where the memory is there (`mlxr models fit qwen3-4b --ctx 65536`)."
    )
    assert not is_fatal
    [(text, is_fatal)] = said("claude", context_length=8192, model="qwen3-4b+law@mlx", max_context_length=40_960)
    assert "Claude Code begins with about 19,000 tokens of its own" in text
    assert "`mlxr models set qwen3-4b context_length=40960` makes it longer, the most that it was made for," in text
    assert is_fatal
    [(text, is_fatal)] = said("claude", context_length=4096, max_context_length=4096)
    assert text.endswith("the model was made for no more, choose another one.")
    assert said("llm", context_length=2048) == []


def test_a_model_that_cannot_be_talked_to_or_knows_no_tools_is_named() -> None:
    [(text, is_fatal)] = said("codex", capabilities=("embedding",))
    assert (text, is_fatal) == (
        "qwen3-4b makes vectors of texts and answers nothing; `mlxr models list` has the others.",
        True,
    )
    [(text, is_fatal)] = said("codex", capabilities=("completion",))
    assert (text.partition(";")[0], is_fatal) == ("qwen3-4b has no chat template, so it cannot be talked to", True)
    [(text, is_fatal)] = said("codex", explains_tools=True)
    assert ("has no place for tools" in text, is_fatal) == (True, False)
    assert said("aider", explains_tools=True) == []
    assert [is_fatal for _, is_fatal in said("codex", explains_tools=True, context_length=4096)] == [True, False]
