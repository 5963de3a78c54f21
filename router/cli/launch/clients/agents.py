"""Coding agents in the terminal that come from npm.

Each gets mlxr beside what it has: what it starts with by itself stays as it was, and `mlxr launch` starts it with mlxr.
Sources: Claude Code 2.1.197, its variables; Codex CLI 0.171, `codex --help` and codex-rs/core/config.md; opencode 1.18,
opencode.ai/docs/providers; Qwen Code 0.15, its docs/configuration.
"""

import json
from typing import Any, Final

from router.cli.launch.offer import MLXR, Offer, Places
from router.cli.launch.plan import Client, FileChange, OwnFile, Plan, present
from router.cli.launch.texts.edits import Put, PutItem

_CLAUDE_ROLES: Final = ("", "_DEFAULT_OPUS", "_DEFAULT_SONNET", "_DEFAULT_HAIKU")
KEY_VARIABLE: Final = "MLXR_CLIENT_KEY"
"""Where Qwen Code looks for the key; not mlxr's own variable, which may hold one of more rights."""


_CLAUDE_LISTS: Final = "anthropic-"
"""Claude Code lists names that match `/^(claude|anthropic)/i`. Those of `claude-...` it takes for 200,000 tokens,
whatever CLAUDE_CODE_MAX_CONTEXT_TOKENS says, and CLAUDE_CODE_AUTO_COMPACT_WINDOW begins at 100,000."""

_CLAUDE_QUIET: Final = "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"
"""With it Claude Code asks nobody but the model, not even the model's own server for its list."""

_CLAUDE_ASKING: Final = {
    "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY": "1",
    _CLAUDE_QUIET: None,
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_BUG_COMMAND": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_FEEDBACK_COMMAND": "1",
    "DISABLE_TELEMETRY": "1",
}


def _claude(offer: Offer, places: Places) -> Plan:
    del places
    context = {} if offer.context_length is None else {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(offer.context_length)}
    return Plan(
        environment={
            "ANTHROPIC_BASE_URL": offer.url,
            "ANTHROPIC_AUTH_TOKEN": offer.sent_key,
            "ANTHROPIC_API_KEY": None,
            **{f"ANTHROPIC{role}_MODEL": offer.model for role in _CLAUDE_ROLES},
            "ANTHROPIC_CUSTOM_MODEL_OPTION": offer.model,
            "CLAUDE_CODE_SUBAGENT_MODEL": offer.model,
            **(_CLAUDE_ASKING if offer.is_listed else {_CLAUDE_QUIET: "1"}),
            **context,
            **_trusted_by_node(offer),
        },
        steps=(_claude_step(offer),),
    )


def _claude_step(offer: Offer) -> str:
    if not offer.is_listed:
        return f"/model in Claude Code lists {offer.model}; with --alias also all that the server has for it."
    found = [name for name in (offer.model, *offer.aliases) if name.lower().startswith(("claude", "anthropic"))]
    wide = [name for name in found if name.lower().startswith("claude-")]
    taken = f" ({', '.join(wide)} as one of 200,000 tokens)" if wide else ""
    return (
        f"/model in Claude Code also lists {', '.join(found)}{taken}; for that it may ask other servers too, those of "
        "its makers and GitHub."
    )


CLAUDE: Final = Client(
    name="claude",
    title="Claude Code",
    api="Messages",
    plan=_claude,
    command="claude",
    install="npm install -g @anthropic-ai/claude-code",
    first_prompt=19_000,
    lists=_CLAUDE_LISTS,
)


def _codex(offer: Offer, places: Places) -> Plan:
    catalogue = places.own / "codex-models.json"
    key = [] if offer.key is None else [Put(("model_providers", MLXR, "experimental_bearer_token"), offer.key)]
    profile = FileChange(
        places.named("CODEX_HOME", places.home / ".codex") / f"{MLXR}.config.toml",
        "toml",
        (
            Put(("model",), offer.model),
            Put(("model_provider",), MLXR),
            *([] if offer.catalogue is None else [Put(("model_catalog_json",), str(catalogue))]),
            Put(("model_providers", MLXR, "name"), MLXR),
            Put(("model_providers", MLXR, "base_url"), offer.openai_url),
            Put(("model_providers", MLXR, "wire_api"), "responses"),
            *key,
        ),
    )
    own = [] if offer.catalogue is None else [OwnFile(catalogue, _json({"models": [offer.catalogue]}))]
    trusted = {} if offer.cert_file is None else {"CODEX_CA_CERTIFICATE": offer.cert_file}
    return Plan(files=(*own, profile), environment=trusted, arguments=("--profile", MLXR))


CODEX: Final = Client(
    name="codex",
    title="Codex CLI",
    api="Responses",
    plan=_codex,
    command="codex",
    install="npm install -g @openai/codex",
    first_prompt=6_000,
)


def _opencode(offer: Offer, places: Places) -> Plan:
    folder = places.config / "opencode"
    model: dict[str, Any] = {"name": offer.model, "tool_call": True, "attachment": offer.sees}
    if offer.context_length is not None:
        model["limit"] = {"context": offer.context_length, "output": offer.answer_room}
    if offer.sees:
        model["modalities"] = {"input": ["text", "image"], "output": ["text"]}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": MLXR,
        "options": {"baseURL": offer.openai_url, "apiKey": offer.sent_key},
        "models": {offer.model: model},
    }
    path = present([folder / "opencode.json", folder / "opencode.jsonc"])
    schema = Put(("$schema",), "https://opencode.ai/config.json", is_default=True)
    return Plan(
        files=(FileChange(path, "jsonc", (schema, Put(("provider", MLXR), provider))),),
        environment=_trusted_by_node(offer),
        arguments=("--model", f"{MLXR}/{offer.model}"),
    )


OPENCODE: Final = Client(
    name="opencode",
    title="opencode",
    api="Chat Completions",
    plan=_opencode,
    command="opencode",
    install="npm install -g opencode-ai",
    first_prompt=7_500,
)


def _qwen(offer: Offer, places: Places) -> Plan:
    generation: dict[str, Any] = {"modalities": {"image": offer.sees}}
    if offer.context_length is not None:
        generation["contextWindowSize"] = offer.context_length
    model = {
        "id": offer.model,
        "name": f"{offer.model} ({MLXR})",
        "envKey": KEY_VARIABLE,
        "baseUrl": offer.openai_url,
        "generationConfig": generation,
    }
    path = places.named("QWEN_HOME", places.home / ".qwen") / "settings.json"
    edits = (
        Put(("env", KEY_VARIABLE), offer.sent_key),
        PutItem(("modelProviders", "openai"), model, key="id"),
    )
    return Plan(
        files=(FileChange(path, "jsonc", edits),),
        environment={KEY_VARIABLE: None, **_trusted_by_node(offer)},
        arguments=("--auth-type", "openai", "--model", offer.model),
    )


QWEN: Final = Client(
    name="qwen-code",
    title="Qwen Code",
    api="Chat Completions",
    plan=_qwen,
    command="qwen",
    install="npm install -g @qwen-code/qwen-code",
    first_prompt=19_000,
)


def _trusted_by_node(offer: Offer) -> dict[str, str | None]:
    return {} if offer.cert_file is None else {"NODE_EXTRA_CA_CERTS": offer.cert_file}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
