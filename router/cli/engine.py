"""`mlxr engine`: show, set or explain which engine serves, for all models or one; a running server follows at once."""

import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import msgspec

from registry.engines import EngineSetting
from router.bench.machine.machine import machine_id
from router.cli.models.listing import ago
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths, file_in_use, read_config
from router.cli.terminal.options import config_option, json_option
from router.cli.terminal.output import count, print_facts, print_json, print_table
from router.cli.terminal.server import client_if_running
from router.cli.terminal.verbs import argument, option, verb
from router.config import CurrentConfig
from router.config.edit import set_value
from router.config.instance import read_instance
from router.config.paths import Paths
from router.config.reference import ensure_config_file
from router.models.auto.learning import AutoLearning
from router.models.directory import ModelDirectory
from router.models.size import RequestSize
from router.placement.memory import this_machine
from router.protocols.control.explain import (
    EngineExpectation,
    Explanation,
    JudgedModel,
    SelectorExplanation,
    explain,
    request_size,
)
from router.status import Status

EFFECT_TIMEOUT_S = 10.0
"""How long to wait for the server to follow; it looks at its config each half second."""

_POLL_INTERVAL_S = 0.1
_DAY_S = 86_400

EXPLAIN_WORD = "explain"
GLOBAL_WORD = "default"
"""With --model: follow the global setting again."""


@verb
@argument(
    "setting", required=False, metavar="auto|mlx|llamacpp|explain", help="The new setting, or `explain` and a model."
)
@argument("explained", required=False, metavar="MODEL", help="After `explain`: about which.")
@option("--model", metavar="NAME", help="Of this model only.")
@config_option()
@option("--prompt-tokens", metavar="N", help="With explain: length of the prompt; 512 if not given.")
@option("--answer-tokens", metavar="N", help="With explain: length of the answer; 256 if not given.")
@json_option()
def engine(
    setting: str | None,
    explained: str | None,
    model: str | None,
    config: str | None,
    prompt_tokens: str | None,
    answer_tokens: str | None,
    is_json: bool,
) -> None:
    """Show or set the engine, or explain which one `auto` picks, with the measured figures.

    A model's own setting comes before the global one; `default` takes it away.

    Examples: `mlxr engine`, `mlxr engine mlx`, `mlxr engine llamacpp --model qwen3-4b`,
    `mlxr engine default --model qwen3-4b`, `mlxr engine explain qwen3-4b --prompt-tokens 4000`,
    `mlxr engine explain auto:small`.
    """
    if setting == EXPLAIN_WORD:
        _explain_engine(
            _check_explain(explained, {"--model": model, "--config": config}),
            prompt_tokens,
            answer_tokens,
            is_json=is_json,
        )
        return
    if explained is not None or prompt_tokens is not None or answer_tokens is not None:
        raise CommandError("Only `mlxr engine explain MODEL` takes a second word, --prompt-tokens or --answer-tokens.")
    own = check_engine(setting, others=(GLOBAL_WORD,) if model is not None else ())
    paths = current_paths()
    if setting is None:
        _show(paths, config, model, is_json=is_json)
    elif model is None:
        _set_global(paths, config, setting, is_json=is_json)
    else:
        _set_model(paths, model, own, is_json=is_json)


def _show(paths: Paths, config: str | None, model: str | None, *, is_json: bool) -> None:
    file = file_in_use(paths, config)
    facts: dict[str, Any] = {"engine": str(read_config(paths, str(file) if file.exists() else None).engine)}
    client = client_if_running(paths)
    if client is not None:
        with client:
            facts["server"] = client.status().engine_setting
    if model is not None:
        with open_registry_for_reading(paths) as registry:
            found = registry.models.get(model)
        facts |= {"model": found.name, "model_setting": found.engine, "model_engines": found.engines}
    if is_json:
        print_json(facts)
        return
    print_facts(
        [
            ("global setting", facts["engine"]),
            ("running server", facts.get("server")),
            ("model", facts.get("model")),
            ("its setting", (facts["model_setting"] or "the global one") if model is not None else None),
            ("its engines", ", ".join(facts["model_engines"]) if model is not None else None),
        ]
    )


def _set_global(paths: Paths, config: str | None, setting: str, *, is_json: bool) -> None:
    file = file_in_use(paths, config)
    ensure_config_file(file)
    has_changed = set_value(file, ("engine",), setting)
    client = client_if_running(paths)
    if client is not None:
        with client:
            _wait_for_effect(client.status, setting)
    if is_json:
        print_json({"engine": setting, "changed": has_changed, "server": None if client is None else setting})
        return
    print(f"engine: {setting} ({file})" if has_changed else f"engine: {setting}, as before ({file})")
    if client is None:
        print("No server is running; the next `mlxr serve` uses it.")
    else:
        print(f"The running server now uses engine: {setting}.")


def _wait_for_effect(read_status: Callable[[], Status], setting: str) -> None:
    """Return when the running server says that it follows.

    Raises:
        CommandError: It does not within the time, with its own reason if it has one.
    """
    deadline = time.monotonic() + EFFECT_TIMEOUT_S
    while True:
        status = read_status()
        if status.engine_setting == setting:
            return
        if time.monotonic() >= deadline:
            raise CommandError(_why_no_effect(status))
        time.sleep(_POLL_INTERVAL_S)


def _why_no_effect(status: Status) -> str:
    if status.config_error is not None:
        return f"The setting is stored, but the running server cannot use the config: {status.config_error}"
    return (
        f"The setting is stored, but the running server still uses engine: {status.engine_setting}; "
        "was it started with --engine or another --config? Restarting it helps."
    )


def _set_model(paths: Paths, name: str, own: EngineSetting | None, *, is_json: bool) -> None:
    with open_registry(paths) as registry:
        model = registry.models.change_settings(name, {"engine": own})
    engine = None if own is None else own.engine
    if engine is not None and engine.kind not in model.engines:
        has = ", ".join(model.engines) or "no engine"
        print(
            f"mlxr: warning: {model.name} has no usable artifact for {engine} (it runs on {has}), so "
            "another engine serves its requests, unless engine_fallback in the config is refuse; "
            f"`mlxr models add PATH --name {model.name}` adds one.",
            file=sys.stderr,
        )
    if is_json:
        print_json({"model": model.name, "engine": model.engine, "engines": model.engines})
        return
    print(f"{model.name}: engine {model.engine or 'as set globally'}")
    if read_instance(paths) is not None:
        print("The running server uses it from the next request.")


def _explain_engine(model: str, prompt_tokens: str | None, answer_tokens: str | None, *, is_json: bool) -> None:
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
    _print_explanation(found, has_server=client is not None)


def _explained_here(paths: Paths, model: str, size: RequestSize) -> Explanation:
    with open_registry_for_reading(paths) as registry:
        models = ModelDirectory(
            registry,
            current=CurrentConfig(read_config(paths)),
            is_apple_silicon=this_machine().has_metal,
            auto=AutoLearning(registry.benches, machine_id=machine_id()),
        )
        return explain(models, models.model_request(model, None), size)


def _print_selection(found: SelectorExplanation) -> None:
    head = ("MODEL", "TAGS", "PARAMETERS", "SEES", "TOOLS", "LOADED", "TOKENS/S", "USED", "WHY NOT")
    print_table(head, [_judged_row(each) for each in found.models])
    print()


def _judged_row(each: JudgedModel) -> tuple[object, ...]:
    return (
        each.model,
        ", ".join(each.tags) or None,
        count(each.num_parameters),
        *("yes" if is_so else None for is_so in (each.sees, each.has_tools, each.is_loaded)),
        _rate(each.decode_tokens_per_s),
        None if each.last_used_at is None else ago(time.time() - each.last_used_at),
        each.why_not or "",
    )


def _print_explanation(found: Explanation, *, has_server: bool) -> None:
    if found.selection is not None:
        _print_selection(found.selection)
    loaded = found.resident or ("nowhere" if has_server else "nowhere (no server is running)")
    print_facts(
        [
            ("model", found.model),
            ("chosen by", None if found.selection is None else f"{found.selection.selector}, {found.selection.why}"),
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


def _check_explain(model: str | None, others: dict[str, Any]) -> str:
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
