"""`mlxr run`: ask a model of the running server, once or in a conversation. Starts no server of its own."""

import os
import stat
import sys
from contextlib import closing
from typing import Any, Final

import click

from router.cli.client.base import Client
from router.cli.client.errors import ClientError
from router.cli.terminal.context import CommandError, check_engine, current_paths
from router.cli.terminal.options import engine_option
from router.cli.terminal.output import dim, has_colour, shown, shown_answer
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.protocols.openai.answer_schemas import Timings

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
    wanted = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
    body = {"model": model} | {key: value for key, value in wanted.items() if value is not None}
    messages = [] if system is None else [{"role": "system", "content": system}]
    asked = _full_prompt(prompt)
    with client_or_error(current_paths()) as client:
        chat = ChatSession(client, body, messages, engine=engine, has_stats=stats)
        if asked is not None:
            chat.ask(asked)
        else:
            chat.loop()


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
        with closing(
            self._client.stream_chat(self._body | {"messages": self._messages}, engine=self._engine)
        ) as stream:
            for chunk in stream:
                timings = chunk.timings or timings
                for choice in chunk.choices:
                    reason = choice.finish_reason or reason
                    if choice.delta.reasoning_content and has_colour():
                        print(dim(shown_answer(choice.delta.reasoning_content)), end="", flush=True)
                    if text := choice.delta.content:
                        answer.append(text)
                        print(shown_answer(text) if is_terminal else text, end="", flush=True)
        return reason, timings

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
