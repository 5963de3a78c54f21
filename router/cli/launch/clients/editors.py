"""Editors, and agents inside them: none is started, and of some all is set in their own windows.

Sources: Zed, docs/src/ai/use-api-access.md, "OpenAI-compatible"; VS Code 1.122, code.visualstudio.com/docs, "Language
models in VS Code", custom endpoints; Continue, docs.continue.dev/reference; Xcode 26, "Setting up coding intelligence";
JetBrains AI Assistant, "Use custom models"; Cline 3.0, @cline/core, `StoredProviderSettings`.
"""

from typing import Any, Final

from router.cli.launch.offer import MLXR, Offer, Places
from router.cli.launch.plan import Client, FileChange, Plan
from router.cli.launch.texts.edits import Put, PutItem


def _context_of(offer: Offer, unknown: int = 32_768) -> int:
    """Return the context in force; where it is not known, what editors take for a small one."""
    return unknown if offer.context_length is None else offer.context_length


def _key_step(offer: Offer, name: str) -> str:
    """Say what is given as the key where mlxr cannot put it."""
    return "any text" if offer.key is None else f"one that `mlxr keys create {name}` prints"


def _zed(offer: Offer, places: Places) -> Plan:
    model = {
        "name": offer.model,
        "display_name": f"{offer.model} ({MLXR})",
        "max_tokens": _context_of(offer),
        "max_output_tokens": offer.answer_room or _context_of(offer) // 4,
        "capabilities": {
            "tools": True,
            "images": offer.sees,
            "parallel_tool_calls": True,
            "prompt_cache_key": True,
        },
    }
    path = places.config / "zed" / "settings.json"
    provider = {"api_url": offer.openai_url, "available_models": [model]}
    return Plan(
        files=(FileChange(path, "jsonc", (Put(("language_models", "openai_compatible", MLXR), provider),)),),
        steps=(
            (
                f"Zed keeps keys apart: in Agent Settings, LLM Providers, {MLXR}, the key is {_key_step(offer, 'zed')} "
                f"(or MLXR_API_KEY in the environment that Zed is started in)."
            ),
            f"Then choose {offer.model} in the agent panel.",
        ),
    )


ZED: Final = Client(
    name="zed",
    title="Zed",
    programs=("zed", "zeditor"),
    api="Chat Completions",
    plan=_zed,
    install="https://zed.dev",
    wanted_context=32_768,
    keeps_key=False,
)


def _vscode(offer: Offer, places: Places) -> Plan:
    room = offer.answer_room or _context_of(offer) // 4
    model = {
        "id": offer.model,
        "name": f"{offer.model} ({MLXR})",
        "url": f"{offer.openai_url}/chat/completions",
        "toolCalling": True,
        "vision": offer.sees,
        "maxInputTokens": _context_of(offer) - room,
        "maxOutputTokens": room,
    }
    entry = {
        "name": MLXR,
        "vendor": "customendpoint",
        "apiKey": offer.sent_key,
        "apiType": "chat-completions",
        "models": [model],
    }
    path = places.app_config("Code", "Code") / "User" / "chatLanguageModels.json"
    return Plan(
        files=(FileChange(path, "jsonc", (PutItem((), entry, key="name"),)),),
        steps=(f"In VS Code 1.122 or later, choose {offer.model} ({MLXR}) in the chat's list of models.",),
    )


VSCODE: Final = Client(
    name="vscode",
    title="VS Code",
    programs=("code",),
    api="Chat Completions",
    plan=_vscode,
    install="https://code.visualstudio.com",
    wanted_context=32_768,
)


def _continue(offer: Offer, places: Places) -> Plan:
    model: dict[str, Any] = {
        "name": f"{MLXR} {offer.model}",
        "provider": "openai",
        "model": offer.model,
        "apiBase": offer.openai_url,
        "apiKey": offer.sent_key,
        "roles": ["chat", "edit", "apply"],
        "capabilities": ["tool_use", *(["image_input"] if offer.sees else [])],
    }
    if offer.context_length is not None:
        model["defaultCompletionOptions"] = {"contextLength": offer.context_length, "maxTokens": offer.answer_room}
    edits = (
        Put(("name",), "Local", is_default=True),
        Put(("version",), "1.0.0", is_default=True),
        Put(("schema",), "v1", is_default=True),
        PutItem(("models",), model, key="name"),
    )
    return Plan(
        files=(FileChange(places.home / ".continue" / "config.yaml", "yaml", edits),),
        steps=(f"Choose {MLXR} {offer.model} in Continue's list of models; `cn` in the terminal has it as well.",),
    )


CONTINUE: Final = Client(
    name="continue",
    title="Continue",
    programs=("cn",),
    api="Chat Completions",
    plan=_continue,
    install="the extension Continue of VS Code or JetBrains, or npm install -g @continuedev/cli",
    wanted_context=32_768,
)


_CLINE_PROVIDER: Final = "openai-compatible"


def _cline(offer: Offer, places: Places) -> Plan:
    at = ("providers", _CLINE_PROVIDER)
    context = [] if offer.context_length is None else [Put((*at, "settings", "contextWindow"), offer.context_length)]
    edits = (
        Put(("version",), 1, is_default=True),
        Put(("modes",), {}, is_default=True),
        Put((*at, "settings", "provider"), _CLINE_PROVIDER),
        Put((*at, "settings", "apiKey"), offer.sent_key),
        Put((*at, "settings", "model"), offer.model),
        Put((*at, "settings", "baseUrl"), offer.openai_url),
        *context,
        Put((*at, "updatedAt"), "1970-01-01T00:00:00.000Z", is_default=True),
        Put((*at, "tokenSource"), "manual", is_default=True),
    )
    path = places.home / ".cline" / "data" / "settings" / "providers.json"
    return Plan(
        files=(FileChange(path, "json", edits),),
        steps=(
            (
                f"Choose the provider OpenAI Compatible in Cline's settings; in the terminal, "
                f"`cline --provider {_CLINE_PROVIDER} --model {offer.model}`."
            ),
        ),
    )


CLINE: Final = Client(
    name="cline",
    title="Cline",
    programs=("cline",),
    api="Chat Completions",
    plan=_cline,
    install="the extension Cline of VS Code, or npm install -g cline",
    first_prompt=5_500,
)


def _xcode(offer: Offer, places: Places) -> Plan:
    del places
    port = offer.url.rpartition(":")[2]
    return Plan(
        steps=(
            "In Xcode 26 or later: Settings, Intelligence, Add a Model Provider, Locally Hosted,",
            f"port {port}, description {MLXR}; then choose {offer.model} in the coding assistant.",
            *(
                []
                if offer.key is None
                else [
                    (
                        "A server with keys is an Internet Hosted one to Xcode: "
                        f"URL {offer.url}, API key {_key_step(offer, 'xcode')}, API key header Authorization."
                    ),
                ]
            ),
        )
    )


XCODE: Final = Client(
    name="xcode",
    title="Xcode",
    programs=("xcodebuild",),
    api="Chat Completions",
    plan=_xcode,
    install="the App Store",
    wanted_context=32_768,
    keeps_key=False,
)


def _jetbrains(offer: Offer, places: Places) -> Plan:
    del places
    return Plan(
        steps=(
            "In Settings, Tools, AI Assistant, Providers & API keys, add a provider of the kind OpenAI-compatible:",
            f"URL {offer.openai_url}, API key {_key_step(offer, 'jetbrains')}, tool calling on;",
            f"then assign {offer.model} to the features; its context window is {_context_of(offer)} tokens.",
        )
    )


JETBRAINS: Final = Client(
    name="jetbrains",
    title="JetBrains AI Assistant",
    api="Chat Completions",
    plan=_jetbrains,
    install="the plugin AI Assistant of a JetBrains IDE",
    wanted_context=32_768,
    keeps_key=False,
)
