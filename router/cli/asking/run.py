"""`mlxr run`: ask a model of the running server, once or in a conversation. Starts no server of its own.

A model without a chat template was made to go on with texts, and does so here.
"""

import contextlib
import os
import stat
import sys
from pathlib import Path
from typing import Final

import click

from registry.catalogue import Model
from registry.errors import DatabaseError, InvalidModelNameError, ModelNotFoundError
from registry.names import parse_model_reference
from router.cli.asking.chat import ChatSession, CompletionSession
from router.cli.asking.documents import quoted_documents
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths, read_config
from router.cli.terminal.options import engine_option
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.config import GenerationConfig
from router.models.defaults import FROM_CONFIG, sampling_origins
from router.models.engine_choice import usable_artifacts
from router.models.names import names_meant
from router.models.targets import Purpose

TEMPERATURE: Final = 0.7
"""Asked for where neither user nor makers nor config say anything: at the API's 1, small models speak nonsense."""


@verb
@argument("model", help="Model, alias or NAME@ENGINE.")
@argument("prompt", required=False, help="What to say; without it a conversation begins.")
@engine_option("auto, mlx or llamacpp.")
@option(
    "--image",
    "images",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A picture to show with the prompt; repeatable.",
)
@option(
    "--file",
    "files",
    multiple=True,
    metavar="PATH",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A document to read with the prompt (PDF, DOCX, PPTX, XLSX, ODS, HTML, CSV, text, code); repeatable.",
)
@option("--system", metavar="TEXT", help="System prompt.")
@option("--max-tokens", type=click.IntRange(1), help="Longest answer.")
@option("--temperature", type=click.FloatRange(0.0), help="0 = always the likeliest token.")
@option("--seed", type=int, help="The same seed gives the same answer.")
@option("--stats", is_flag=True, help="Print token counts and speeds.")
def run(
    model: str,
    prompt: str | None,
    engine: str | None,
    images: tuple[Path, ...],
    files: tuple[Path, ...],
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    stats: bool,
) -> None:
    """Ask a model, by the running server. Piped input is added to the prompt.

    Examples: `mlxr run smollm2-135m-instruct "Why is the sky blue?"`, `cat notes.txt | mlxr run qwen3-4b "Sum up:"`,
    `mlxr run qwen3-4b --engine mlx --stats`, `mlxr run smolvlm "What is this?" --image photo.jpg`,
    `mlxr run qwen3-4b "What does it conclude?" --file report.pdf`.
    """
    check_engine(engine)
    asked = _full_prompt(prompt)
    known = _known_model(model)
    if temperature is None and known is not None:
        temperature = _moderate_temperature(known)
    wanted = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    body = {"model": model} | {key: value for key, value in wanted.items() if value is not None}
    messages = [] if system is None else [{"role": "system", "content": system}]
    with client_or_error(current_paths()) as client:
        session = ChatSession
        if known is not None and _only_completes(known):
            if images:
                raise CommandError(
                    f"{known.name} has no chat template and takes no pictures; use one that sees.", exit_code=2
                )
            print(f"mlxr: {known.name} has no chat template; it goes on with what you write.", file=sys.stderr)
            session = CompletionSession
        chat = session(client, body, messages, engine=engine, has_stats=stats)
        documents = quoted_documents(client, files, _on_engine(model, engine))
        if asked is not None:
            chat.ask(asked, images, documents)
        else:
            chat.loop(images, documents)


def _on_engine(model: str, engine: str | None) -> str:
    """Give the model as it will be asked, so that counting does not load it on another engine first."""
    return model if engine is None or "@" in model else f"{model}@{engine}"


def _known_model(reference: str) -> Model | None:
    """Give what the catalogue knows of the model that a reference means; the server says what is wrong with it."""
    paths = current_paths()
    if not paths.registry_db.exists():
        return None
    with contextlib.suppress(DatabaseError, OSError), open_registry_for_reading(paths) as registry:
        for meant in names_meant(reference):
            with contextlib.suppress(ModelNotFoundError, InvalidModelNameError):
                return registry.models.get(parse_model_reference(meant).name)
    return None


def _only_completes(model: Model) -> bool:
    """Tell whether a model generates text and cannot be talked to."""
    artifacts = usable_artifacts(model, Purpose.GENERATE).values()
    has_template = model.settings.template is not None or any(item.facts.chat_template for item in artifacts)
    return bool(artifacts) and not has_template


def _moderate_temperature(model: Model) -> float | None:
    """Give the temperature to ask for when nobody has said anything of it; None when somebody has."""
    generation = read_config(current_paths()).generation
    value, origin = sampling_origins(generation, model)["temperature"]
    is_said = origin != FROM_CONFIG or value != GenerationConfig().temperature
    return None if is_said else TEMPERATURE


def _full_prompt(prompt: str | None) -> str | None:
    """Give what is to be asked: the argument, the piped input, or both; None = a conversation at the terminal."""
    if sys.stdin.isatty():
        return prompt
    piped = sys.stdin.read() if prompt is None or _has_input() else ""
    parts = [part for part in (prompt, piped.strip("\n")) if part]
    if not parts:
        raise CommandError("There is nothing to ask: the prompt and the piped input are empty.", exit_code=2)
    return "\n\n".join(parts)


def _has_input() -> bool:
    """Tell whether stdin is a pipe or a file, and not e.g. a socket that a service inherits and never closes."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
