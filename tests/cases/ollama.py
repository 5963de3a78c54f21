"""Names, counts and times as clients of Ollama rely on them, and overflows in all protocols (F2, F9; peers 1, 3, 5)."""

from typing import Any, Final

from tests.cases.case import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    FAKE,
    LLAMACPP,
    MESSAGES,
    OLLAMA_CHAT,
    OLLAMA_EMBED,
    OLLAMA_GENERATE,
    REAL,
    RESPONSES,
    TEMPLATE,
    Body,
    Case,
    Reply,
    Server,
    ask,
)
from tests.cases.models import ALIAS

_NAMES: Final = (
    "tooled:latest",
    "TOOLED",
    "library/tooled",
    "registry.ollama.ai/library/tooled",
    "registry.ollama.ai/library/tooled:latest",
    " tooled ",
    ALIAS,
)
_ALL: Final = (CHAT, COMPLETIONS, RESPONSES, MESSAGES, EMBEDDINGS, OLLAMA_CHAT, OLLAMA_EMBED, "/tokenize", TEMPLATE)
_KEPT: Final = ("5m", -1, "-1", 0, "0", "1h30m", "-1m", "300.0s", 300)
_NOT_KEPT: Final = ("", "1d", "5min", True)
_TOOL_NAMES: Final = {
    "128 letters": "m" * 128,
    "a slash": "files/read",
    "a colon": "files:read",
    "a blank": "read files",
    "letters of other scripts": "leßen",
}
_LONG: Final = "word " * 400
_OVERFLOWS: Final[dict[str, Body]] = {
    CHAT: {"messages": [{"role": "user", "content": _LONG}]},
    COMPLETIONS: {"prompt": _LONG},
    RESPONSES: {"input": _LONG},
    MESSAGES: {"messages": [{"role": "user", "content": _LONG}]},
    OLLAMA_CHAT: {"messages": [{"role": "user", "content": _LONG}]},
    OLLAMA_GENERATE: {"prompt": _LONG},
    OLLAMA_EMBED: {"input": _LONG, "truncate": False},
    EMBEDDINGS: {"input": _LONG},
}
_SHORTEST: Final[dict[str, Body]] = {OLLAMA_EMBED: {"input": "a"}, OLLAMA_GENERATE: {"prompt": "a", "raw": True}}
_OVERFLOWING: Final = {"X-Mlxr-Load": "context_length=128"}


def _tools(name: str) -> list[Body]:
    return [{"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}]


def _is_an_overflow(path: str) -> Any:
    """Hold an error to the words by which clients know an overflow.

    Source: Ollama, integration tests (`context` and one of these words; of embeddings, `input length exceeds the
    context length`); llama.cpp, tests ("exceeds the available context size").
    """

    def check(reply: Reply) -> None:
        words = reply.error.lower()
        assert "context" in words
        assert any(word in words for word in ("exceed", "too large", "longer", "too long")), words
        if path == OLLAMA_EMBED:
            assert "input length exceeds the context length" in words or "exceeds maximum context length" in words

    return check


def _the_whole_prompt_counts(server: Server) -> None:
    body = {"messages": [{"role": "user", "content": "How long is this prompt, please?"}]}
    counts = [server.ask(OLLAMA_CHAT, body).at("prompt_eval_count") for _ in range(2)]
    assert counts[0] == counts[1]
    assert counts[0] == server.ask(CHAT, body).at("usage.prompt_tokens")


def _a_loaded_model_took_time(reply: Reply) -> None:
    assert reply.at("load_duration") > 0


def _lists_the_alias(path: str, key: str) -> Case:
    def run(server: Server) -> None:
        anthropic = {"anthropic-version": "2023-06-01"} if path == "/v1/models" else {}
        listed = server.ask(path, headers=anthropic).json
        models = listed.get("models") or listed["data"]
        assert ALIAS in [model[key] for model in models]

    return Case(row="peers 10", name=f"aliases in {path} by {key}", run=run)


CASES: Final[list[Case]] = [
    # ggml-org/llama.cpp#12896, ollama/ollama#14135: Copilot lists by /api/tags and asks /v1/chat/completions
    *(
        ask("held" if path.startswith("/api") else "F2", f"the name {name!r}", path, {"model": name})
        for name in _NAMES
        for path in _ALL
        if not (path.startswith("/api") and name.startswith(" "))
    ),
    ask("F2", "the name with a tag", "/v1/models/tooled:latest", has={"id": "tooled"}),
    ask("F2", "the name with a tag", "/props?model=tooled:latest"),
    *(ask("F2", "a name that is not there", path, {"model": "nope:latest"}, status=404) for path in _ALL),
    # ChromeDevTools/chrome-devtools-mcp#1169, microsoft/vscode#243602, danny-avila/LibreChat#7435
    *(
        ask("M8", f"a tool's name with {kind}", OLLAMA_CHAT, {"tools": _tools(name)}, engines=(*FAKE, *REAL))
        for kind, name in _TOOL_NAMES.items()
    ),
    ask("M8", "a tool's name of 128", CHAT, {"tools": _tools("m" * 128)}),
    # open-webui/open-webui#753, FlowiseAI/Flowise#3576
    *(ask("held", f"keep_alive {kept!r}", OLLAMA_CHAT, {"keep_alive": kept}) for kept in _KEPT),
    *(ask("held", f"keep_alive {kept!r}", OLLAMA_CHAT, {"keep_alive": kept}, status=400) for kept in _NOT_KEPT),
    # ollama/ollama#3427, #2068: agents compact by it
    Case(row="F9", name="prompt_eval_count is the prompt", run=_the_whole_prompt_counts, engines=(*FAKE, *REAL)),
    *(
        ask("peers 5", "load_duration of a loaded model", path, {}, check=_a_loaded_model_took_time)
        for path in (OLLAMA_CHAT, OLLAMA_GENERATE)
    ),
    *(
        ask(
            "peers 3",
            "an overflow",
            path,
            body,
            headers=_OVERFLOWING,
            status=400,
            check=_is_an_overflow(path),
            engines=FAKE,
            model="switched",
        )
        for path, body in _OVERFLOWS.items()
    ),
    _lists_the_alias("/api/tags", "model"),
    _lists_the_alias("/v1/models", "id"),
    # The crash: a context under the number of sequences aborted the library.
    *(
        ask("peers 1", "num_ctx 16", path, {**body, "options": {"num_ctx": 16}}, engines=REAL)
        for path, body in _SHORTEST.items()
    ),
    ask(
        "peers 1",
        "a context of 31",
        COMPLETIONS,
        {"prompt": "a"},
        headers={"X-Mlxr-Load": "context_length=31"},
        engines=LLAMACPP,
    ),
]
