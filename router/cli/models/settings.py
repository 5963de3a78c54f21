"""`mlxr models set` and `settings`: what users set on one model, and taking all of it elsewhere as YAML."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.errors import TemplateError
from backends.prompting.chat_template import check_template
from registry.catalogue import Model
from registry.errors import RegistryError
from registry.settings import ENGINE_KEY, SETTING_KEYS, set_settings, settings_from_text
from registry.store import Registry
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import plural, print_facts, print_json
from router.cli.terminal.verbs import argument, option, verb
from router.config.edit import write_atomically
from router.config.yaml_text import YAMLTextError, parse
from router.config.yaml_writer import dump

MAX_IMPORT_BYTES = 16 << 20
"""Two hundred models with the longest templates and prompts there may be."""


@verb
@model_argument()
@argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...", help="KEY= takes the setting away.")
@json_option()
def set_values(name: str, pairs: tuple[str, ...], is_json: bool) -> None:
    """Set what one model does differently: engine, context, sampling defaults, system prompt and more.

    The keys: engine, context_length, kv_type, kv_cache, parallel, workers, threads, vision, speculation, draft, hosts,
    backend, keep_alive_s, pinned, temperature, top_p, top_k, min_p, repetition_penalty, recommended_sampling, seed,
    max_tokens, stop, system, template, messages, context, tags, license. A value @FILE is read from it.

    Examples: `mlxr models set qwen3-4b temperature=0.7 top_p=0.9`, `mlxr models set qwen3-4b system=@prompt.txt seed=`,
    `mlxr models set qwen3-32b draft=qwen3-0.6b`, `mlxr models set qwen3-4b tags=code,small`,
    `mlxr models set glm-4.6 hosts=local=10.0.0.1,mac2=10.0.0.2`.
    """
    changes = settings_from_text(dict(_pair(text) for text in pairs))
    _check_template(changes.get("template"))
    with open_registry(current_paths()) as registry:
        model = registry.models.change_settings(name, changes)
    if is_json:
        print_json(_entry(model))
        return
    facts = list(_entry(model).items())
    print_facts([("name", model.name), *facts] if facts else [("name", f"{model.name}: nothing is set")])


def _check_template(template: object) -> None:
    """Refuse a chat template that cannot be one; the worker would refuse it in the load."""
    if not isinstance(template, str):
        return
    try:
        check_template(template)
    except TemplateError as exc:
        if "{" not in template and "\n" not in template:
            raise CommandError(
                f"template: {template[:80]!r} is no template in Jinja; template=@FILE reads one from a file."
            ) from exc
        raise CommandError(f"template: {exc}; template=@FILE reads one from a file.") from exc


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"{text[:60]!r} is no setting; write KEY=VALUE, or KEY= to take it away.", exit_code=2)
    if value.startswith("@"):
        path = Path(value[1:]).expanduser()
        try:
            value = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as exc:
            raise CommandError(f"{path}: this is no UTF-8 text.") from exc
        if not value:
            raise CommandError(f"{path}: the file is empty; `{key}=` takes the setting away.")
    return key, value


@verb
@argument("file", required=False, help="YAML file to write; left out = print.")
def export_settings(file: str | None) -> None:
    """Write what is set on the models, their aliases too.

    Examples: `mlxr models settings export`, `mlxr models settings export models.yaml`.
    """
    with open_registry_for_reading(current_paths()) as registry:
        entries = {model.name: _entry(model, has_aliases=True) for model in registry.models.list()}
    entries = {name: entry for name, entry in entries.items() if entry}
    text = dump({"models": entries})
    if file is None:
        sys.stdout.write(text)
        return

    write_atomically(Path(file).expanduser().absolute(), text.encode())
    print(f"Wrote the settings of {plural(len(entries), 'model')} to {file}.")


def _entry(model: Model, *, has_aliases: bool = False) -> dict[str, Any]:
    entry: dict[str, Any] = {} if model.engine is None else {ENGINE_KEY: model.engine.value}
    entry |= set_settings(model.settings)
    return entry | ({"aliases": list(model.aliases)} if has_aliases and model.aliases else {})


@verb
@argument("file", help="YAML file, as export writes it.")
@option("--skip-unknown", is_flag=True, help="Pass over models that are not here.")
def import_settings(file: str, skip_unknown: bool) -> None:
    """Set what a file says, on all models in it or on none. What it does not say of such a model is taken away.

    Aliases are added, never taken away. Example: `mlxr models settings import models.yaml`.
    """
    entries = _read_entries(Path(file).expanduser())
    with open_registry(current_paths()) as registry, registry.write():
        skipped = [name for name in entries if registry.models.find(name) is None]
        if skipped and not skip_unknown:
            raise CommandError(
                f"{file}: these models are not here: {', '.join(skipped[:5])}; --skip-unknown passes over them."
            )
        for name in entries.keys() - set(skipped):
            _apply(registry, name, entries[name], file)
    done = plural(len(entries) - len(skipped), "model")
    print(f"Set {done}{f'; passed over {len(skipped)} that are not here' if skipped else ''}.")


def _read_entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        document = parse(path.read_bytes().decode("utf-8-sig"), max_bytes=MAX_IMPORT_BYTES)
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path}: this is no UTF-8 text.") from exc
    except YAMLTextError as exc:
        line = "" if exc.line is None else f" line {exc.line}:"
        raise CommandError(f"{path}:{line} {exc}") from exc
    value = document.value
    models = value.get("models") if isinstance(value, dict) else None
    if not isinstance(models, dict) or set(value) != {"models"}:
        raise CommandError(f"{path}: it must have one section, `models:`, with a section for each model.")
    for name, entry in models.items():
        if not isinstance(entry, dict):
            number = document.lines.get(("models", name))
            raise CommandError(f"{path}: line {number}: models.{name} must be a section of settings.")
    return models


def _apply(registry: Registry, name: str, entry: Mapping[str, Any], file: str) -> None:
    values = dict(entry)
    aliases: Sequence[Any] = values.pop("aliases", ())
    if not isinstance(aliases, list | tuple) or not all(isinstance(item, str) for item in aliases):
        raise CommandError(f"{file}: {name}: aliases must be a list of names.")
    try:
        _check_template(values.get("template"))
        model = registry.models.change_settings(name, dict.fromkeys(SETTING_KEYS) | values)
        for other in aliases:
            if other not in model.aliases:
                registry.aliases.set(other, model.name)
    except (CommandError, RegistryError) as exc:
        raise CommandError(f"{file}: {name}: {exc}") from exc
