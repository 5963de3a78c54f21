"""One thing that a client does and what must come back: a row of the tables in this folder.

A row names the report it goes back to, so that a failure says who would be hurt.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.support.gateway_process import GatewayProcess

Body = dict[str, Any]

FAKE: Final = ("fake",)
REAL: Final = ("llamacpp", "mlx")
LLAMACPP: Final = ("llamacpp",)
MLX: Final = ("mlx",)

CHAT: Final = "/v1/chat/completions"
COMPLETIONS: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"
MESSAGES: Final = "/v1/messages"
EMBEDDINGS: Final = "/v1/embeddings"
OLLAMA_CHAT: Final = "/api/chat"
OLLAMA_GENERATE: Final = "/api/generate"
OLLAMA_EMBED: Final = "/api/embed"
TEMPLATE: Final = "/apply-template"

HI: Final[Body] = {"role": "user", "content": "Say hi."}
PLAIN: Final[dict[str, Body]] = {
    CHAT: {"messages": [HI], "max_tokens": 2, "temperature": 0},
    COMPLETIONS: {"prompt": "Say hi.", "max_tokens": 2, "temperature": 0},
    RESPONSES: {"input": [HI], "max_output_tokens": 2, "temperature": 0, "store": False},
    MESSAGES: {"messages": [HI], "max_tokens": 2, "temperature": 0},
    EMBEDDINGS: {"input": "Say hi."},
    OLLAMA_CHAT: {"messages": [HI], "stream": False, "options": {"num_predict": 2, "temperature": 0}},
    OLLAMA_GENERATE: {"prompt": "Say hi.", "stream": False, "options": {"num_predict": 2, "temperature": 0}},
    OLLAMA_EMBED: {"input": "Say hi."},
    TEMPLATE: {"messages": [HI]},
    "/tokenize": {"content": "Say hi."},
    CHAT + "/input_tokens": {"messages": [HI]},
    MESSAGES + "/count_tokens": {"messages": [HI]},
}
"""What each endpoint is asked where a row says nothing else."""

_CONTROL: Final = re.compile(r"<\|im_start\|>|<\|im_end\|>")


class Reply:
    """An answer, whatever its protocol."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.text = response.text

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """The events of a stream, of server-sent events or of lines of JSON, without `[DONE]`."""
        lines = [line.removeprefix("data: ") for line in self.text.splitlines() if line.startswith(("data: ", "{"))]
        return [json.loads(line) for line in lines if line.startswith("{")]

    def at(self, path: str) -> Any:
        """Return what lies under a path of names and indexes, e.g. `choices.0.text`."""
        value = self.json
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
        return value

    @property
    def error(self) -> str:
        """The words of an error, in the shape of any protocol."""
        error = self.json["error"]
        return str(error if isinstance(error, str) else error["message"])

    @property
    def num_prompt_tokens(self) -> int:
        """How long the prompt was, cached or not."""
        if "prompt_eval_count" in self.json:
            return int(self.json["prompt_eval_count"])
        usage = self.json["usage"]
        if "prompt_tokens" in usage:
            return int(usage["prompt_tokens"])
        return int(usage["input_tokens"] + usage.get("cache_read_input_tokens", 0))


class Server:
    """A served gateway whose models all run on one engine."""

    def __init__(self, gateway: GatewayProcess, engine: str) -> None:
        self.gateway = gateway
        self.engine = engine
        self.client = gateway.client()

    def ask(
        self,
        path: str,
        body: Body | None = None,
        *,
        model: str = "tooled",
        headers: Mapping[str, str] | None = None,
        method: str | None = None,
    ) -> Reply:
        """Ask `path`; a body is laid over the plain one of its endpoint, and `...` takes a field out of that."""
        if body is None:
            return Reply(self.client.request(method or "GET", path, headers=headers))
        laid = {"model": model, **PLAIN.get(path, {}), **body}
        sent = {name: value for name, value in laid.items() if value is not ...}
        return Reply(self.client.request(method or "POST", path, json=sent, headers=headers))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A row.

    Attributes:
        row: The report or the table's row that it goes back to, e.g. `F4`.
        name: What is done, in ASCII; with `row`, no other case has it.
        run: Does it, and asserts what came back.
        model: Which model it uses, so that its neighbours use the same; see `conftest`.
    """

    row: str
    name: str
    run: Callable[[Server], None]
    engines: tuple[str, ...] = FAKE
    model: str = "tooled"

    def id_on(self, engine: str) -> str:
        """Return the name of its test on an engine."""
        return f"{self.row}: {self.name} [{engine}]"


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What an answer has to be.

    Attributes:
        has: Paths (see `Reply.at`) -> values.
        says: Texts that the body holds.
        ignored: Fields that `X-Mlxr-Ignored` names.
        check: Asserts the rest.
    """

    status: int = 200
    has: Mapping[str, Any] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    check: Callable[[Reply], None] | None = None

    def hold_to(self, reply: Reply) -> None:
        """Assert all of it."""
        assert reply.status == self.status, f"{reply.status}, not {self.status}: {reply.text[:400]}"
        for path, value in self.has.items():
            assert reply.at(path) == value, f"{path} is {reply.at(path)!r}, not {value!r}"
        for text in self.says:
            assert text in reply.text, f"{text!r} is not in {reply.text[:400]}"
        named = reply.headers.get("X-Mlxr-Ignored", "")
        for name in self.ignored:
            assert name in named, f"X-Mlxr-Ignored {named!r} does not name {name!r}"
        if self.check is not None:
            self.check(reply)


def ask(
    row: str,
    name: str,
    path: str,
    body: Body | None = None,
    *,
    engines: tuple[str, ...] = FAKE,
    model: str = "tooled",
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
    **expected: Any,
) -> Case:
    """Return the case of one request; `expected` are fields of `Expected`."""
    wanted = Expected(**expected)

    def run(server: Server) -> None:
        wanted.hold_to(server.ask(path, body, model=model, headers=headers, method=method))

    return Case(row=row, name=f"{name} on {path}", run=run, engines=engines, model=model)


def ask_all(row: str, name: str, bodies: Mapping[str, Body], **rest: Any) -> list[Case]:
    """Return the cases of one request in several protocols: path -> body."""
    return [ask(row, name, path, body, **rest) for path, body in bodies.items()]


def num_fake_tokens(prompt: str) -> int:
    """Return how many tokens the fake engine makes of a prompt whose control texts are tokens."""
    controls = len(_CONTROL.findall(prompt))
    return len(_CONTROL.sub("", prompt).encode()) + controls
