"""`mlxr launch` against a server that says what the test wants, and programs that print how they were started."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from router.keys.store import KeyStore
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway
from tests.support import tiny_model
from tests.support.waiting import WITHIN_S

_REPOSITORY = Path(__file__).parents[4]
MODELS = ("coder", "small", "vectors")
TAKES: dict[str, tuple[int, list[str]]] = {
    "coder": (65_536, ["completion", "tools", "thinking"]),
    "small": (8192, ["completion", "tools"]),
    "vectors": (512, ["embedding"]),
}


def model(name: str) -> dict[str, Any]:
    context, capabilities = TAKES[name]
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "mlxr",
        "engines": ["llamacpp"],
        "forms": [],
        "context_length": context,
        "max_context_length": context,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "capabilities": capabilities,
        "aliases": ["nick"] if name == "coder" else [],
        "draft": None,
        "tags": [],
    }


@pytest.fixture
def server(stub: StubGateway) -> StubGateway:
    """A stub with three models, of which none is loaded; it asks for a key once `stub.key` is set."""
    catalogue = [{"slug": name, "display_name": name, "context_window": TAKES[name][0]} for name in ("coder", "small")]
    shown = json.dumps({"object": "list", "data": [model(name) for name in MODELS], "models": catalogue})
    stub.answers |= {
        "/v1/models": (200, shown),
        "/health": (200, '{"status": "ok", "resident": []}'),
        **{f"/v1/models/{name}": (200, json.dumps(model(name))) for name in MODELS},
        "/v1/models/nick": (200, json.dumps(model("coder"))),
        "/v1/models/nope": (404, '{"error": {"message": "There is no model \'nope\'.", "code": "model_not_found"}}'),
    }
    return stub


@pytest.fixture
def locked(server: StubGateway, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> StubGateway:
    """The stub, which wants a key of the store; the command line has one of its own."""
    monkeypatch.setenv("MLXR_API_KEY", "owner")
    shown = server.answers["/v1/models"]

    def answer(_body: Any) -> tuple[int, str]:
        token = server.requests[-1][2].get("Authorization", "").removeprefix("Bearer ")
        with KeyStore.opened(paths.keys_db) as store:
            known = [key.prefix for key in store.all() if key.revoked_at is None]
        assert isinstance(shown, tuple)
        return shown if token == "owner" or any(token.startswith(each) for each in known) else (401, "{}")

    server.answers["/v1/models"] = answer
    return server


def user(*parts: str) -> Path:
    return Path(os.environ["HOME"], *parts)


@pytest.mark.usefixtures("server")
def test_the_clients_are_listed_with_what_is_installed_and_set_up(
    mlxr: Mlxr, fake_program: Callable[[str], Path]
) -> None:
    codex = fake_program("codex")
    mlxr("launch", "codex", "--model", "coder", "--no-start")
    listed = {each["name"]: each for each in json.loads(mlxr("launch", "--json").out)}
    assert list(listed) == (
        [
            "claude",
            "codex",
            "opencode",
            "aider",
            "qwen-code",
            "cline",
            "continue",
            "zed",
            "vscode",
            "xcode",
            "jetbrains",
            "open-webui",
            "llm",
        ]
    )
    assert (listed["codex"]["program"], listed["codex"]["model"]) == (str(codex), "coder")
    assert listed["codex"]["files"][1] == str(user(".codex", "mlxr.config.toml"))
    assert (listed["zed"]["is_started"], listed["zed"]["model"]) == (False, None)
    assert "codex       Codex CLI" in mlxr("launch").out


def test_an_editor_is_set_up_and_undone(mlxr: Mlxr, server: StubGateway) -> None:
    user(".config", "zed").mkdir(parents=True)
    user(".config", "zed", "settings.json").write_text('{\n  // mine\n  "theme": "One",\n}\n')
    done = mlxr("launch", "zed", "--model", "nick")
    assert done.exit_code == 0, done.err
    text = user(".config", "zed", "settings.json").read_text()
    assert text.startswith('{\n  // mine\n  "theme": "One",\n  "language_models": {')
    assert f'"api_url": "{server.status["url"]}/v1"' in text
    assert '"name": "nick",' in text
    assert "settings.json (what was there is kept; `mlxr launch zed --undo`)" in done.out
    assert "Then choose nick in the agent panel." in done.out
    undone = mlxr("launch", "zed", "--undo")
    assert undone.out == f"{user('.config', 'zed', 'settings.json')} is as it was before.\n"
    assert user(".config", "zed", "settings.json").read_text() == '{\n  // mine\n  "theme": "One",\n}\n'
    assert mlxr("launch", "zed", "--undo").exit_code == 1


@pytest.mark.usefixtures("server")
def test_print_writes_nothing(mlxr: Mlxr, home: Path) -> None:
    for name in (each["name"] for each in json.loads(mlxr("launch", "--json").out)):
        shown = mlxr("launch", name, "--model", "coder", "--print")
        assert shown.exit_code == 0, shown.err
        as_json = json.loads(mlxr("launch", name, "--model", "coder", "--print", "--json").out)
        assert as_json["files"] or as_json["environment"] or as_json["steps"]
        assert all(each["content"].rstrip() in shown.out for each in as_json["files"])
    assert not user().exists()
    assert not (home / "data" / "launch").exists()


def test_without_a_model_it_is_the_last_the_loaded_or_the_only_one(mlxr: Mlxr, server: StubGateway) -> None:
    refused = mlxr("launch", "zed", "--print")
    assert (refused.exit_code, refused.err) == (2, "mlxr: Say which model with --model: coder, small.\n")
    server.answers["/health"] = (200, '{"resident": [{"model": "small", "engine": "mlx"}]}')
    assert '"name": "small"' in mlxr("launch", "zed", "--print").out
    mlxr("launch", "zed", "--model", "coder")
    assert '"name": "coder"' in mlxr("launch", "zed", "--print").out
    del server.answers["/v1/models/coder"]
    assert '"name": "small"' in mlxr("launch", "zed", "--print").out


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["claude", "--model", "nope"],
            "There is no model 'nope'; `mlxr models list` has all, `mlxr models pull` gets",
        ),
        (["claude", "--model", "vectors"], "vectors makes vectors of texts and answers nothing"),
        (["claude", "--model", "small"], "Claude Code begins with about 19,000 tokens of its own: the model was made"),
        (["open-webui", "--model", "small"], "Open WebUI is not installed: there is no `open-webui` on the PATH."),
        (["zed", "--undo"], "mlxr has written nothing for zed"),
        (["emacs"], "'emacs' is not one of"),
    ],
)
def test_what_is_missing_is_said_and_nothing_written(mlxr: Mlxr, arguments: list[str], says: str) -> None:
    refused = mlxr("launch", *arguments)
    assert refused.exit_code in {1, 2}
    assert says in refused.err
    assert not user().exists()


def test_without_a_server_the_command_that_starts_one_is_said(mlxr: Mlxr) -> None:
    assert mlxr("launch", "zed").err == (
        "mlxr: No mlxr server is running; start one with `mlxr serve` in another terminal.\n"
    )
    assert mlxr("launch").exit_code == 0


@pytest.mark.usefixtures("server")
def test_a_short_context_is_said_and_set_up_all_the_same(mlxr: Mlxr) -> None:
    done = mlxr("launch", "vscode", "--model", "small")
    assert done.exit_code == 0
    assert "The context of small has 8,192 tokens, VS Code works well from 32,768 on" in done.err
    assert '"maxInputTokens": 6144' in user(".config", "Code", "User", "chatLanguageModels.json").read_text()


@pytest.mark.usefixtures("locked")
def test_where_keys_are_the_client_gets_one_of_its_own_which_ends_with_undo(mlxr: Mlxr, paths: Paths) -> None:
    paths.ensure_folders()
    assert (
        "sk-mlxr-... stands for a key: `mlxr keys create opencode`"
        in mlxr("launch", "opencode", "--model", "coder", "--print").err
    )
    with KeyStore.opened(paths.keys_db) as store:
        assert store.all() == []
    settings = user(".config", "opencode", "opencode.json")
    secrets = []
    for _ in range(2):
        done = mlxr("launch", "opencode", "--model", "coder", "--no-start")
        assert done.exit_code == 0, done.err
        secrets.append(json.loads(settings.read_text())["provider"]["mlxr"]["options"]["apiKey"])
        assert secrets[0] not in done.out + done.err
    assert secrets[0] == secrets[1]
    assert secrets[0].startswith("sk-mlxr-")
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600
    with KeyStore.opened(paths.keys_db) as store:
        assert [(key.name, key.scope) for key in store.all()] == [("launch-opencode", "inference")]
    assert "The key launch-opencode no longer counts." in mlxr("launch", "opencode", "--undo").out
    with KeyStore.opened(paths.keys_db) as store:
        assert store.all()[0].revoked_at is not None
    mlxr("launch", "opencode", "--model", "coder", "--no-start")
    with KeyStore.opened(paths.keys_db) as store:
        assert [key.name for key in store.all()] == ["launch-opencode", "launch-opencode-2"]


@pytest.mark.usefixtures("locked")
def test_where_mlxr_cannot_put_the_key_none_is_made(mlxr: Mlxr, paths: Paths) -> None:
    paths.ensure_folders()
    done = mlxr("launch", "zed", "--model", "coder")
    assert "`mlxr keys create zed` prints" in done.out
    with KeyStore.opened(paths.keys_db) as store:
        assert store.all() == []


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a program on the PATH that prints its arguments and environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name: str) -> Path:
        path = folder / name
        path.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            "print(json.dumps([sys.argv[1:], dict(os.environ)]))\nsys.exit(7)\n"
        )
        path.chmod(0o755)
        return path

    return put


def started(*arguments: str, **environment: str) -> tuple[list[str], dict[str, str], str]:
    """Run the command to the end of what it starts; return that one's arguments, environment, and what mlxr said."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "router.cli", "launch", *arguments],
        env=os.environ | {"PYTHONPATH": str(_REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 7, done.stderr
    argv, found = json.loads(done.stdout)
    return argv, found, done.stderr


@pytest.mark.usefixtures("server")
def test_a_program_of_the_terminal_is_started_with_the_users_arguments(
    home: Path, fake_program: Callable[[str], Path]
) -> None:
    fake_program("codex")
    argv, _, said = started("codex", "--model", "coder", "--", "exec", "--json", "say hi")
    assert argv == ["--profile", "mlxr", "exec", "--json", "say hi"]
    assert f"wrote {user('.codex', 'mlxr.config.toml')} (it was not there; `mlxr launch codex --undo`)" in said
    assert (
        json.loads((home / "data" / "launch" / "codex" / "codex-models.json").read_text())["models"][0]["slug"]
        == "coder"
    )


def test_variables_reach_it_and_only_it(server: StubGateway, fake_program: Callable[[str], Path]) -> None:
    fake_program("claude")
    _, environment, _ = started(
        "claude", "--model", "coder", ANTHROPIC_API_KEY="sk-ant", HTTPS_PROXY="http://proxy", NO_PROXY="intra"
    )
    assert environment["ANTHROPIC_BASE_URL"] == server.status["url"]
    assert environment["ANTHROPIC_MODEL"] == "coder"
    assert environment["CLAUDE_CODE_MAX_CONTEXT_TOKENS"] == "65536"
    assert "ANTHROPIC_API_KEY" not in environment
    assert environment["NO_PROXY"] == "intra,127.0.0.1,localhost,::1"


@pytest.mark.usefixtures("server")
def test_llm_talks_where_nothing_is_asked(fake_program: Callable[[str], Path]) -> None:
    fake_program("llm")
    argv, environment, _ = started("llm", "--model", "coder")
    assert (argv, environment["LLM_MODEL"]) == (["chat"], "mlxr/coder")
    assert started("llm", "--", "say hi")[0] == ["say hi"]


@pytest.fixture
def in_catalogue(paths: Paths) -> None:
    """The stub's models are in the catalogue as well."""
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        for name in ("coder", "small"):
            register_path(registry, tiny_model.write_gguf(paths.data_dir / f"{name}.gguf", name=name), name=name)


def names_of(paths: Paths, model: str) -> tuple[str, ...]:
    with Registry(paths.registry_db) as registry:
        return registry.models.get(model).aliases


@pytest.mark.usefixtures("server", "in_catalogue")
def test_claude_finds_a_model_by_a_name_that_undo_takes_away(mlxr: Mlxr, paths: Paths) -> None:
    plain = mlxr("launch", "claude", "--model", "coder", "--no-start")
    assert "with --alias also all that the server has for it" in plain.out
    assert names_of(paths, "coder") == ()
    for _ in range(2):
        done = mlxr("launch", "claude", "--model", "coder", "--alias", "--no-start")
        assert "coder is also called anthropic-coder" in done.out
        assert "also lists" in done.out
        assert names_of(paths, "coder") == ("anthropic-coder",)
    undone = mlxr("launch", "claude", "--undo", "--json")
    assert json.loads(undone.out)["aliases"] == ["anthropic-coder"]
    assert names_of(paths, "coder") == ()


@pytest.mark.usefixtures("server", "in_catalogue")
def test_undo_leaves_a_name_that_is_no_longer_that_of_the_model(mlxr: Mlxr, paths: Paths) -> None:
    mlxr("launch", "claude", "--model", "coder", "--alias", "--no-start")
    with Registry(paths.registry_db) as registry:
        registry.aliases.set("anthropic-coder", "small")
    assert mlxr("launch", "claude", "--undo").out == "mlxr had written no files for Claude Code.\n"
    assert names_of(paths, "small") == ("anthropic-coder",)


@pytest.mark.usefixtures("server", "in_catalogue")
def test_a_name_of_another_model_is_not_taken(mlxr: Mlxr, paths: Paths) -> None:
    with Registry(paths.registry_db) as registry:
        registry.aliases.set("anthropic-coder", "small")
    refused = mlxr("launch", "claude", "--model", "coder", "--alias", "--no-start")
    assert refused.exit_code == 1
    assert "--alias: anthropic-coder is a name of small; `mlxr models alias coder anthropic-NAME`" in refused.err
    assert names_of(paths, "small") == ("anthropic-coder",)


@pytest.mark.usefixtures("server")
def test_others_need_no_such_name(mlxr: Mlxr) -> None:
    refused = mlxr("launch", "zed", "--model", "coder", "--alias")
    assert (refused.exit_code, refused.err) == (
        2,
        "mlxr: --alias: Zed needs none, it is told the model's own name.\n",
    )
