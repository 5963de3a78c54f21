"""`mlxr models adapters` and `mlxr models adapter …`: LoRA adapters of models."""

from pathlib import Path
from typing import Any

from msgspec import to_builtins

from registry.adapters.registration import register_adapter, remove_adapter
from registry.catalogue import Adapter, Model
from registry.scan.watch import what_changed
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import print_json, print_table, size
from router.cli.terminal.verbs import argument, option, verb
from router.models.adapter_report import adapter_report

_HEAD = ("ADAPTER", "ENGINE", "METHOD", "RANK", "ALPHA", "SCALE", "SIZE", "STATUS", "PATH")


@verb
@argument("name", required=False, help="Only those of this model.")
@json_option()
def list_adapters(name: str | None, is_json: bool) -> None:
    """List the LoRA adapters that are registered, of all models or of one.

    Examples: `mlxr models adapters`, `mlxr models adapters qwen3-4b --json`.
    """
    with open_registry_for_reading(current_paths()) as registry:
        models = registry.models.list() if name is None else (registry.models.get(name),)
    adapters = [adapter for model in models for adapter in model.adapters]
    if is_json:
        print_json([description(adapter) for adapter in adapters])
    elif adapters:
        print_table(_HEAD, [_row(adapter) for adapter in adapters])
    else:
        of = "" if name is None else f" of {models[0].name}"
        print(f"There are no adapters{of}. `mlxr models adapter add BASE PATH` adds one.")


@verb
@argument("base", help="Model that it changes, or an alias.")
@argument("path", help="A LoRA .gguf file, or a folder that mlx-lm wrote.")
@option("--name", help="What requests name it by; left out = derived from the path.")
@option("--scale", default="1", metavar="X", help="What its effect is multiplied by.")
@json_option()
def add(base: str, path: str, name: str | None, scale: str, is_json: bool) -> None:
    """Register a LoRA adapter for a model, where it lies; requests then ask for BASE+NAME. Nothing is copied.

    The same name may stand for two adapters, one for each engine. Adding one again reads its files anew.

    Examples: `mlxr models adapter add qwen3-4b ~/loras/pirate-f16.gguf`,
    `mlxr models adapter add qwen3-4b ./adapters --name pirate --scale 0.8`.
    """
    factor = _number(scale)
    given = Path(path).expanduser().absolute()
    with open_registry(current_paths()) as registry:
        adapter = register_adapter(registry, base, given, name=name, scale=factor)
    if is_json:
        print_json(description(adapter))
    else:
        print(f"{adapter.reference}: runs on {adapter.engine}. Try: mlxr run {adapter.reference}@{adapter.engine}")


@verb
@argument("reference", metavar="BASE+NAME", help="The adapter with its model.")
@engine_option("Only the one for mlx or llamacpp.")
@option("--files", is_flag=True, help="Also delete its files.")
@json_option()
def remove(reference: str, engine: str | None, files: bool, is_json: bool) -> None:
    """Forget an adapter. Its files are left unless --files is given.

    Examples: `mlxr models adapter rm qwen3-4b+pirate`, `mlxr models adapter rm qwen3-4b+pirate --engine mlx --files`.
    """
    setting = check_engine(engine)
    base, plus, name = reference.partition("+")
    wanted = None if setting is None else setting.engine
    if not plus or (setting is not None and wanted is None):
        message = "Name the adapter with its model, BASE+NAME" if not plus else "--engine is mlx or llamacpp here"
        raise CommandError(f"{message}; `mlxr models adapters` lists them.", exit_code=2)
    with open_registry(current_paths()) as registry:
        kind = None if wanted is None else wanted.kind
        gone = remove_adapter(registry, base, name, engine=kind, is_deleting_files=files)
    if is_json:
        print_json([description(adapter) for adapter in gone])
        return
    for adapter in gone:
        left = "its files are deleted" if files else f"its files stay in {adapter.path}"
        print(f"{adapter.reference} is forgotten on {adapter.engine}; {left}.")


def description(adapter: Adapter) -> dict[str, Any]:
    """Give what JSON says of an adapter."""
    plain: dict[str, Any] = to_builtins(adapter_report(adapter, what_changed(adapter)))
    return plain


def adapter_facts(model: Model) -> list[tuple[str, object]]:
    """Give the lines about a model's adapters for `mlxr models show`."""
    return [("adapter", _line(description(adapter))) for adapter in model.adapters]


def _line(plain: dict[str, Any]) -> str:
    problem = "" if plain["problem"] is None else f" ({plain['problem']})"
    factor = "" if plain["scale"] == 1 else f", scale {plain['scale']:g}"
    method, rank, where = plain["method"], plain["rank"], size(plain["size_bytes"])
    return (
        f"{plain['reference']} on {plain['engine']}: {method}, rank {rank}{factor}, {where}, {plain['path']}{problem}"
    )


def _row(adapter: Adapter) -> tuple[object, ...]:
    plain = description(adapter)
    return (
        plain["reference"],
        plain["engine"],
        plain["method"],
        plain["rank"],
        round(plain["alpha"], 3),
        plain["scale"],
        size(plain["size_bytes"]),
        plain["problem"] or "ok",
        plain["path"],
    )


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise CommandError(f"--scale: {text[:40]!r} is no number; give e.g. 0.8.", exit_code=2) from exc
