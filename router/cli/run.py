"""`mlxr run`: ask a model of the running server, once or in a conversation. Starts no server of its own.

A model without a chat template was made to go on with texts, and does so here.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Generator
from typing import Any, Final

import click

from registry.catalogue import Model
from registry.errors import DatabaseError, InvalidModelNameError, ModelNotFoundError
from registry.names import parse_model_reference
from router.cli.client.base import Client
from router.cli.client.errors import ClientError
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths, read_config
from router.cli.terminal.options import engine_option
from router.cli.terminal.output import dim, has_colour, shown, shown_answer
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.config import GenerationConfig
from router.models.defaults import FROM_CONFIG, sampling_origins
from router.models.names import names_meant
from router.models.targets import Purpose, usable_artifacts
from router.protocols.openai.answer_schemas import (
    ChatChunk,
    ChatChunkChoice,
    TextChunk,
    TextChunkChoice,
    Timings,
)

TEMPERATURE: Final = 0.7
"""Asked for where neither user nor makers nor config say anything: at the API's 1, small models speak nonsense."""

MAX_CONTINUATION: Final = 256
"""Tokens by which a text goes on unless --max-tokens says otherwise: such models often do not come to an end."""

HELP_TEXT: Final = "/bye or Ctrl-D leaves, /clear forgets the conversation, Ctrl-C stops an answer."


@verb
@argument("model", help="Model, alias or NAME@ENGINE.")
@argument("prompt", required=False, help="What to say; without it a conversation begins.")
@engine_option("auto, mlx or llamacpp.")
@option("--system", metavar="TEXT", help="System prompt.")
@option("--max-tokens", type=click.IntRange(1), help="Longest answer.")
@option("--temperature", type=click.FloatRange(0.0), help="0 = always the likeliest token.")
@option("--seed", type=int, help="The same seed gives the same answer.")
@option("--stats", is_flag=True, help="Print token counts and speeds.")
def run(
    model: str,
    prompt: str | None,
    engine: str | None,
    system: str | None,
    max_tokens: int | None,
    temperature: float | None,
    seed: int | None,
    stats: bool,
) -> None:
    """Ask a model, by the running server. Piped input is added to the prompt.

    Examples: `mlxr run smollm2-135m-instruct "Why is the sky blue?"`, `cat notes.txt | mlxr run qwen3-4b "Sum up:"`,
    `mlxr run qwen3-4b --engine mlx --stats`.
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
            print(f"mlxr: {known.name} has no chat template; it goes on with what you write.", file=sys.stderr)
            session = CompletionSession
        chat = session(client, body, messages, engine=engine, has_stats=stats)
        if asked is not None:
            chat.ask(asked)
        else:
            chat.loop()


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


class ChatSession:
    """A conversation at the terminal: a growing list of messages with one model.

    Args:
        body: What every request has, without the messages.
        messages: What was said so far; grows.
        has_stats: Print a line of figures after each answer.
    """

    def __init__(
        self,
        client: Client,
        body: dict[str, Any],
        messages: list[dict[str, str]],
        *,
        engine: str | None,
        has_stats: bool,
    ) -> None:
        self._client = client
        self._body = body
        self._beginning = tuple(messages)
        self._messages = messages
        self._engine = engine
        self._has_stats = has_stats

    def ask(self, text: str) -> None:
        """Say something, print the answer as it comes, and remember both.

        Raises:
            ClientError: The server cannot answer; what was said is forgotten again.
            KeyboardInterrupt: The user stopped the answer; what came until then is remembered.
        """
        self._messages.append({"role": "user", "content": text})
        answer: list[str] = []
        try:
            reason, timings = self._print(answer)
        except ClientError:
            self._messages.pop()
            raise
        except KeyboardInterrupt:
            self._remember(answer)
            raise
        finally:
            if answer:
                print(flush=True)
        self._remember(answer)
        if reason == "length":
            print("mlxr: the answer was cut at the token limit", file=sys.stderr)
        if self._has_stats and timings is not None:
            print(stats_line(timings), file=sys.stderr)

    def _remember(self, answer: list[str]) -> None:
        """Keep the answer, or forget the question when nothing of an answer came."""
        if answer:
            self._messages.append({"role": "assistant", "content": "".join(answer)})
        else:
            self._messages.pop()

    def _print(self, answer: list[str]) -> tuple[str | None, Timings | None]:
        """Print the answer as it comes and collect it; give the end's reason and figures."""
        is_terminal = sys.stdout.isatty()
        reason: str | None = None
        timings: Timings | None = None
        # Closing the stream, also on Ctrl-C, makes the server stop the answer.
        with contextlib.closing(self._stream()) as stream:
            for chunk in stream:
                timings = chunk.timings or timings
                for choice in chunk.choices:
                    reason = choice.finish_reason or reason
                    text, thought = _parts(choice)
                    if thought and has_colour():
                        print(dim(shown_answer(thought)), end="", flush=True)
                    if text:
                        answer.append(text)
                        print(shown_answer(text) if is_terminal else text, end="", flush=True)
        return reason, timings

    def _stream(self) -> Generator[ChatChunk | TextChunk, None, None]:
        """Ask what was said so far."""
        body = self._body | {"messages": self._messages}
        return self._client.stream_chat(body, engine=self._engine)

    def loop(self) -> None:
        """Ask what the user types, until they leave."""
        import readline  # noqa: F401, PLC0415 - importing it gives input() its line editing

        print(dim(HELP_TEXT))
        while (text := _typed()) is not None:
            match text.strip():
                case "":
                    continue
                case "/bye":
                    return
                case "/clear":
                    self._messages = list(self._beginning)
                    print(dim("Forgotten."))
                case command if command.startswith("/") and " " not in command:
                    print(f"There is no {shown(command)}. {HELP_TEXT}")
                case _:
                    self._ask_and_go_on(text)

    def _ask_and_go_on(self, text: str) -> None:
        try:
            self.ask(text)
        except KeyboardInterrupt:
            print(dim("(stopped)"))
        except ClientError as exc:
            print(f"mlxr: {shown(exc)}", file=sys.stderr)


class CompletionSession(ChatSession):
    """A model that goes on with texts: what was said before is none of the next one's."""

    def _stream(self) -> Generator[ChatChunk | TextChunk, None, None]:
        beginning = [message["content"] for message in (*self._beginning, self._messages[-1])]
        body = {"max_tokens": MAX_CONTINUATION} | self._body | {"prompt": "\n\n".join(beginning)}
        return self._client.stream_text(body, engine=self._engine)


def _parts(choice: ChatChunkChoice | TextChunkChoice) -> tuple[str, str]:
    """Give text and thinking of a chunk, empty where it has none."""
    if isinstance(choice, TextChunkChoice):
        return choice.text, ""
    return choice.delta.content or "", choice.delta.reasoning_content or ""


def _typed() -> str | None:
    while True:
        try:
            return input(">>> ")
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print(f"\n{dim(HELP_TEXT)}")


def stats_line(timings: Timings) -> str:
    """Write the server's figures of one answer on one line.

    Returns:
        E.g. `prompt 12 tokens at 245.1/s, answer 64 tokens at 90.2/s, engine llamacpp, load 0.31 s, queue 0.00 s`.
    """
    parts = []
    for word, number, rate in (
        ("prompt", timings.prompt_n, timings.prompt_per_second),
        ("answer", timings.predicted_n, timings.predicted_per_second),
    ):
        parts.append(f"{word} {number} tokens" + ("" if rate is None else f" at {rate:.1f}/s"))
    if timings.cache_n:
        parts.append(f"{timings.cache_n} of the prompt cached")
    if timings.engine is not None:
        parts.append(f"engine {timings.engine}")
    return ", ".join([*parts, f"load {timings.load_ms / 1000:.2f} s", f"queue {timings.queue_ms / 1000:.2f} s"])
