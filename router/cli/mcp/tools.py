"""The tools of `mlxr mcp`: what each takes, which scope it needs, and what of the gateway it asks.

Not here: the protocol (`serving.py`).
"""

from collections.abc import Callable
from enum import IntEnum
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Meta

from registry.engines import EngineSetting
from registry.store.benches import BenchHead
from router.bench.events import BenchDone, BenchFailed, BenchSampled, BenchStarted, BenchStep
from router.bench.figures.summary import BenchRun
from router.bench.plan.options import Repeats
from router.bench.report.tables import as_markdown
from router.cli.bench.progress import head_line
from router.cli.client.errors import ServerAnswerError
from router.cli.client.jobs import BENCH_PATH, JobClient
from router.models.size import USUAL_ANSWER_TOKENS
from router.protocols.control.explain import DEFAULT_PROMPT_TOKENS, MAX_TOKENS
from router.protocols.openai.answer_schemas import ModelObject

MAX_BENCH_MINUTES: Final = 60.0
"""An agent that asks for more has made a mistake; `mlxr bench` takes a day."""

NUM_LISTED: Final = 20

_OPENAI_ONLY: Final = frozenset({"object", "created", "owned_by"})
"""Of a model's fields those that say nothing here."""

ModelName = Annotated[str, Meta(min_length=1, max_length=256, description="A model's name, an alias or NAME@ENGINE.")]
NumTokens = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
Progress = Callable[[float, str], None]
"""Tells how far a call is: the share that is behind it, 0 to 1, and what is done."""


class Allowance(IntEnum):
    """What a server's agents may do; each holds those before it. The two last are the scopes of API keys."""

    READ = 0
    MODELS = 1
    ADMIN = 2

    @property
    def word(self) -> str:
        """How it is written on the command line."""
        return self.name.lower()


class RefusedError(Exception):
    """A call that this server does not pass on; the text is one sentence."""


def not_allowed(what: str, needed: Allowance) -> RefusedError:
    """Return the refusal of what needs more than the server was started for."""
    way_out = f"the user may start it with `mlxr mcp --allow {needed.word}`"
    return RefusedError(f"{what} is not allowed by this MCP server: {way_out}.")


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Takes nothing."""


class Explained(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A kind of request."""

    model: ModelName
    prompt_tokens: NumTokens = DEFAULT_PROMPT_TOKENS
    answer_tokens: NumTokens = USUAL_ANSWER_TOKENS


class Listed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which benchmarks: the newest of all models, or of one."""

    model: ModelName | None = None


class Named(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A benchmark of before, or the beginning of its id."""

    bench_id: Annotated[str, Meta(max_length=64, pattern="^[A-Za-z0-9_-]+$")]


class Measured(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A run. Contestants are engines with settings, as `mlxr bench` takes them, but no addresses of other servers."""

    model: ModelName
    contestants: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=256)], ...],
        Meta(max_length=4, description='E.g. ["mlx", "llamacpp ctx=4096 kv=q8_0"]; [] = both engines of the model.'),
    ] = ()
    scenarios: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
        Meta(max_length=16, description="E.g. short-chat, long-answer, multi-turn, parallel-4; [] = all."),
    ] = ()
    repeats: Repeats = 3
    minutes: Annotated[float, Meta(gt=0, le=MAX_BENCH_MINUTES, description="When to stop at the latest.")] = 5.0


class Flipped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An engine setting: of one model, or without `model` of all that have none of their own."""

    engine: EngineSetting
    model: ModelName | None = None


class Models(msgspec.Struct, frozen=True):
    """Of `GET /v1/models` what is read."""

    data: tuple[ModelObject, ...]


class Heads(msgspec.Struct, frozen=True):
    """Of `GET /v1/mlxr/bench` what is read."""

    benches: tuple[BenchHead, ...]
    running: str | None


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool works with.

    Attributes:
        client: Of the running gateway.
    """

    client: JobClient
    allowed: Allowance
    tell: Progress


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool.

    Attributes:
        needs: The least that a server must allow for it to be offered.
        changes: Whether something is otherwise afterwards: a setting.
        work: What it does; it blocks, and gives the result's JSON object. Raises ClientErrors and RefusedErrors.
        give_up: Ends what was begun for a call that is cancelled; None = there is nothing to end.
    """

    name: str
    title: str
    description: str
    takes: type[msgspec.Struct]
    needs: Allowance = Allowance.READ
    changes: bool = False
    work: Callable[[Call, Any], dict[str, Any]]
    give_up: Callable[[JobClient], None] | None = None

    @property
    def input_schema(self) -> dict[str, Any]:
        """The JSON Schema of its arguments, an object at its root as the protocol demands."""
        schema = msgspec.json.schema(self.takes)
        definitions = schema["$defs"]
        root: dict[str, Any] = definitions.pop(self.takes.__name__)
        return root | ({"$defs": definitions} if definitions else {})


def _list_models(call: Call, _: Nothing) -> dict[str, Any]:
    found = [msgspec.to_builtins(each) for each in call.client.get("/v1/models", Models).data]
    return {"models": [{key: value for key, value in row.items() if key not in _OPENAI_ONLY} for row in found]}


def _read_status(call: Call, _: Nothing) -> dict[str, Any]:
    return call.client.get("/v1/mlxr/status", dict[str, Any])


def _explain_engine(call: Call, asked: Explained) -> dict[str, Any]:
    return call.client.get(f"/v1/mlxr/engine/explain?{urlencode(msgspec.to_builtins(asked))}", dict[str, Any])


def _list_benchmarks(call: Call, asked: Listed) -> dict[str, Any]:
    query = urlencode({"limit": NUM_LISTED} | ({} if asked.model is None else {"model": asked.model}))
    return dict(msgspec.to_builtins(call.client.get(f"{BENCH_PATH}?{query}", Heads)))


def _read_benchmark(call: Call, asked: Named) -> dict[str, Any]:
    found = call.client.get(f"{BENCH_PATH}/{quote(asked.bench_id, safe='')}", BenchRun)
    return {"bench_id": found.bench_id, "is_complete": found.is_complete, "report": as_markdown(found)}


def _run_benchmark(call: Call, asked: Measured) -> dict[str, Any]:
    if any("://" in contestant for contestant in asked.contestants):
        way_out = "the user may call `mlxr bench` with it"
        raise RefusedError(f"contestants: addresses of other servers are not taken from agents; {way_out}.")
    for event in call.client.bench(msgspec.to_builtins(asked)):
        match event:
            case BenchStarted():
                call.tell(0.0, head_line(event))
            case BenchStep():
                call.tell(event.share, event.what)
            case BenchSampled():
                pass  # the steps between say enough
            case BenchFailed():
                raise ServerAnswerError(event.message, status=200, code=event.code)
            case BenchDone():
                return _read_benchmark(call, Named(bench_id=event.bench_id))
    raise AssertionError("what is followed ends with its last event")


def _set_engine(call: Call, asked: Flipped) -> dict[str, Any]:
    if asked.model is not None:
        setting = {"model": asked.model, "set": {"engine": asked.engine.value}}
        call.client.patch("/v1/mlxr/models/settings", dict, setting)
        return {"model": asked.model, "engine": asked.engine.value}
    if call.allowed < Allowance.ADMIN:
        raise not_allowed("Setting the engine of all models", Allowance.ADMIN)
    return call.client.post("/v1/mlxr/engine", dict[str, Any], {"engine": asked.engine.value})


TOOLS: Final = (
    Tool(
        name="list_models",
        title="List models",
        description="List the models of the local mlxr server: engines, quantisation, context in tokens, abilities.",
        takes=Nothing,
        work=_list_models,
    ),
    Tool(
        name="read_status",
        title="Read status",
        description="Read what the local mlxr server does now: loaded models, workers, requests, memory, engine.",
        takes=Nothing,
        work=_read_status,
    ),
    Tool(
        name="explain_engine",
        title="Explain the engine",
        description="Say which engine (mlx or llamacpp) would serve a request of such a size now, and by what figures.",
        takes=Explained,
        work=_explain_engine,
    ),
    Tool(
        name="list_benchmarks",
        title="List benchmarks",
        description=f"List the newest {NUM_LISTED} benchmarks that were run, of all models or one.",
        takes=Listed,
        work=_list_benchmarks,
    ),
    Tool(
        name="read_benchmark",
        title="Read a benchmark",
        description="Read the report of a benchmark that was run: Markdown tables with intervals.",
        takes=Named,
        work=_read_benchmark,
    ),
    Tool(
        name="run_benchmark",
        title="Run a benchmark",
        description=(
            "Measure a model's engines against each other and report it. It loads the model and takes all of the "
            "machine for up to `minutes`; progress is told. Cancelling keeps what was measured."
        ),
        takes=Measured,
        needs=Allowance.MODELS,
        work=_run_benchmark,
        give_up=JobClient.stop_bench,
    ),
    Tool(
        name="set_engine",
        title="Set the engine",
        description="Have a model, or all that have no setting of their own, be served by auto, mlx or llamacpp.",
        takes=Flipped,
        needs=Allowance.MODELS,
        changes=True,
        work=_set_engine,
    ),
)


def tool_named(name: str, allowed: Allowance) -> Tool:
    """Return a tool.

    Raises:
        RefusedError: There is none of that name, or the server does not allow it.
    """
    found = next((tool for tool in TOOLS if tool.name == name), None)
    if found is None:
        names = ", ".join(tool.name for tool in TOOLS if tool.needs <= allowed)
        raise RefusedError(f"There is no tool {name!r:.80}; there are {names}.")
    if found.needs > allowed:
        raise not_allowed(name, found.needs)
    return found
