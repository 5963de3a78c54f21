"""`mlxr engine explain`: which engine would serve a request, and by which measured figures."""

import time
from typing import Any
from urllib.parse import quote

import msgspec

from router.bench.machine.machine import machine_id
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.output import print_facts, print_json, print_table
from router.cli.terminal.server import client_if_running
from router.config import CurrentConfig
from router.config.paths import Paths
from router.models.auto.learning import AutoLearning
from router.models.directory import ModelDirectory
from router.models.size import RequestSize
from router.placement.memory import this_machine
from router.protocols.control.explain import EngineExpectation, Explanation, explain, request_size

_DAY_S = 86_400


def explain_engine(model: str, prompt_tokens: str | None, answer_tokens: str | None, *, is_json: bool) -> None:
    """Print the decision; a running server is asked, because it knows what is loaded.

    Raises:
        RouterError: A length is no number, or the model cannot be served.
        RegistryError: There is no such model.
        ClientError: The server's answer.
    """
    paths = current_paths()
    size = request_size(prompt_tokens, answer_tokens)
    client = client_if_running(paths)
    if client is None:
        found = _explained_here(paths, model, size)
    else:
        with client:
            lengths = f"prompt_tokens={size.num_prompt_tokens}&answer_tokens={size.num_answer_tokens}"
            found = client.get(f"/v1/mlxr/engine/explain?model={quote(model, safe='')}&{lengths}", Explanation)
    if is_json:
        print_json(msgspec.to_builtins(found))
        return
    _print(found, has_server=client is not None)


def _explained_here(paths: Paths, model: str, size: RequestSize) -> Explanation:
    with open_registry_for_reading(paths) as registry:
        models = ModelDirectory(
            registry,
            current=CurrentConfig(read_config(paths)),
            is_apple_silicon=this_machine().has_metal,
            auto=AutoLearning(registry.benches, machine_id=machine_id()),
        )
        return explain(models, models.model_request(model, None), size)


def _print(found: Explanation, *, has_server: bool) -> None:
    loaded = found.resident or ("nowhere" if has_server else "nowhere (no server is running)")
    print_facts(
        [
            ("model", found.model),
            ("engine", found.engine),
            ("by", found.reason),
            ("because", found.why),
            ("loaded on", loaded),
            ("request", f"{found.prompt_tokens:,} prompt tokens, about {found.answer_tokens:,} of answer"),
        ]
    )
    print()
    print_table(
        ["engine", "load or swap", "prompt", "answer", "in all", "prefill tok/s", "decode tok/s", "measured"],
        [_row(each) for each in found.engines],
    )
    if any(each.total_s is None for each in found.engines) and len(found.engines) > 1:
        print(f"\nNot all of that was measured here; `mlxr bench {found.model}` does it.")


def _row(each: EngineExpectation) -> list[str]:
    times = [_seconds(value) for value in (each.load_s, each.prefill_s, each.decode_s, each.total_s)]
    return [each.engine, *times, _rate(each.prefill_tokens_per_s), _rate(each.decode_tokens_per_s), _when(each)]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _when(each: EngineExpectation) -> str:
    if each.measured_at is None:
        return "-"
    days = int((time.time() - each.measured_at) // _DAY_S)
    age = "today" if days <= 0 else "yesterday" if days == 1 else f"{days} days ago"
    return f"{age}, {each.num_samples} requests"


def check_explain(model: str | None, others: dict[str, Any]) -> str:
    """Return the model that `explain` is about, which stands after that word.

    Raises:
        CommandError: There is none, or one of the `others` is given, which mean nothing here.
    """
    for name, value in others.items():
        if value:
            raise CommandError(f"`mlxr engine explain` has no {name}; the model stands after the word: explain MODEL.")
    if model is None:
        raise CommandError("Which model? `mlxr engine explain MODEL`; `mlxr models list` has the names.")
    return model
