"""`mlxr models search`: models on the hub, with the size of each quantization and whether it fits here."""

import asyncio
import os
import shutil
import textwrap
from collections.abc import Sequence

import click
from msgspec import to_builtins

from registry.engines import LOCAL_ENGINES, EngineKind
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option
from router.cli.terminal.output import bold, count, print_json, shown, size
from router.cli.terminal.verbs import argument, option, verb
from router.config.hub import hub_settings
from router.jobs.hub_search import MAX_LIMIT, HubModel, search_hub, words_and_author
from router.placement.memory import read_budget, weights_budget


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
    if engine is not None and engine not in set(LOCAL_ENGINES):
        raise CommandError(f"There is no engine {engine!r}; choose {', '.join(LOCAL_ENGINES)}.", exit_code=2)
    words, whose = words_and_author(text if author is None else f"{text} {author}")
    paths = current_paths()
    budget_bytes = weights_budget(read_budget(paths.working_set_file))
    search_for = search_hub(
        hub_settings(read_config(paths), os.environ),
        words,
        author=whose,
        engine=None if engine is None else EngineKind(engine),
        limit=limit,
        budget_bytes=budget_bytes,
    )
    found = asyncio.run(search_for)
    if is_json:
        print_json(to_builtins(found))
    elif not found:
        print(f"The hub has nothing with {shown(repr(text))} in its name; try fewer or other words.")
    else:
        _print(found, budget_bytes)


def _print(found: Sequence[HubModel], budget_bytes: int) -> None:
    width = max(40, shutil.get_terminal_size().columns)
    name_width = max(len(shown(item.name)) for item in found)
    for item in found:
        downloads = "" if item.downloads is None else f"{count(item.downloads)} downloads"
        gated = ", its licence must be accepted" if item.is_gated else ""
        print(f"{bold(shown(item.name).ljust(name_width))}  {downloads}{gated}")
        for line in _lines(item):
            print(textwrap.fill(shown(line), width, initial_indent="    ", subsequent_indent="      "))
    print(f"\nWeights of up to {size(budget_bytes)} fit here. `mlxr models pull {shown(found[0].name)}` gets one.")


def _lines(item: HubModel) -> list[str]:
    if not item.choices:
        return ["nothing that runs here" if item.is_gated is not None else "not readable"]
    words = {
        fits: [f"{each.quantization or 'MLX'} {size(each.size_bytes)}" for each in item.choices if each.fits is fits]
        for fits in (True, False)
    }
    lines = [f"fits: {', '.join(words[True])}"] if words[True] else []
    return lines + ([f"too large: {', '.join(words[False])}"] if words[False] else [])
