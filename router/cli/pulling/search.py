"""`mlxr models search`: models on the hub, with the size of each quantization and whether it fits here."""

import asyncio
import os
import shutil
import textwrap
from typing import Any, Final

import click

from registry.catalogue import ENGINE_OF_FORMAT
from registry.engines import EngineKind
from registry.hub import HubClient, HubSettings, SearchHit, Web
from registry.pull.planning import has_mlx
from registry.pull.quants import gguf_sets
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import bold, count, print_json, shown, size
from router.cli.terminal.verbs import argument, option, verb
from router.config.hub import hub_settings
from router.jobs.pulls import weights_budget
from router.placement.memory import read_budget

MAX_LIMIT: Final = 100


@verb
@argument("text", help="What the names have in them; @AUTHOR alone lists an author's.")
@argument("author", required=False, metavar="@AUTHOR", help="Only of this organization.")
@option("--limit", type=click.IntRange(1, MAX_LIMIT), default=10, help="At most so many.")
@engine_option("Only for mlx, or only for llamacpp.")
@json_option()
def search(text: str, author: str | None, limit: int, engine: str | None, is_json: bool) -> None:
    """Look for models on the hub, most downloads first.

    Examples: `mlxr models search qwen3 @unsloth`, `mlxr models search "llama 3.2" --engine mlx --limit 20`.
    """
    formats = {kind.value: form.value for form, kind in ENGINE_OF_FORMAT.items()}
    if engine is not None and engine not in formats:
        raise CommandError(f"There is no engine {engine!r}; choose {', '.join(formats)}.", exit_code=2)
    if text.startswith("@") and author is None:
        text, author = "", text
    if author is not None and not author.startswith("@"):
        text, author = f"{text} {author}", None
    paths = current_paths()
    hub = hub_settings(read_config(paths), os.environ)
    hits = asyncio.run(_ask(hub, text, None if author is None else author[1:], limit, formats.get(engine or "")))
    budget_bytes = weights_budget(read_budget(paths.working_set_file))
    found = [_found(hit, budget_bytes) for hit in hits]
    if is_json:
        print_json(found)
    elif not found:
        print(f"The hub has nothing with {shown(repr(text))} in its name; try fewer or other words.")
    else:
        _print(found, budget_bytes)


async def _ask(hub: HubSettings, text: str, author: str | None, limit: int, library: Any) -> tuple[SearchHit, ...]:
    async with Web(hub) as web:
        return await HubClient(web).search(text, author=author, library=library, limit=limit)


def _found(hit: SearchHit, budget_bytes: int) -> dict[str, Any]:
    """Give what is shown of a repository; `fits` is None where nothing is known of its files."""
    files = () if hit.info is None else hit.info.files
    sizes: list[tuple[str, str | None, int]] = [
        (EngineKind.LLAMACPP, item.label or item.files[0].path, item.size_bytes)
        for item in gguf_sets(files)
        if not item.num_missing
    ]
    if hit.info is not None and has_mlx(hit.info):
        weights = sum(file.size_bytes for file in files if file.path.endswith(".safetensors") and "/" not in file.path)
        sizes.append((EngineKind.MLX, None, weights))
    choices = [
        {"engine": engine, "quantization": label, "size_bytes": num_bytes, "fits": num_bytes <= budget_bytes}
        for engine, label, num_bytes in sizes
    ]
    return {
        "name": hit.repo,
        "downloads": hit.num_downloads,
        "is_gated": None if hit.info is None else hit.info.is_gated,
        "choices": choices,
        "fits": any(choice["fits"] for choice in choices) if choices else None,
    }


def _print(found: list[dict[str, Any]], budget_bytes: int) -> None:
    width = max(40, shutil.get_terminal_size().columns)
    name_width = max(len(shown(item["name"])) for item in found)
    for item in found:
        downloads = "" if item["downloads"] is None else f"{count(item['downloads'])} downloads"
        gated = ", its licence must be accepted" if item["is_gated"] else ""
        print(f"{bold(shown(item['name']).ljust(name_width))}  {downloads}{gated}")
        for line in _lines(item):
            print(textwrap.fill(shown(line), width, initial_indent="    ", subsequent_indent="      "))
    print(f"\nWeights of up to {size(budget_bytes)} fit here. `mlxr models pull {shown(found[0]['name'])}` gets one.")


def _lines(item: dict[str, Any]) -> list[str]:
    choices = item["choices"]
    if not choices:
        return ["nothing that runs here" if item["fits"] is None and item["is_gated"] is not None else "not readable"]
    words = {True: [], False: []}  # type: dict[bool, list[str]]
    for choice in choices:
        words[choice["fits"]].append(f"{choice['quantization'] or 'MLX'} {size(choice['size_bytes'])}")
    lines = [f"fits: {', '.join(words[True])}"] if words[True] else []
    return lines + ([f"too large: {', '.join(words[False])}"] if words[False] else [])
