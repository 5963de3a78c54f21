"""A conversation at the terminal with a model of the running server."""

import contextlib
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

from router.cli.asking.images import message_content, naming_files, split_paths
from router.cli.client.base import Client
from router.cli.client.errors import ClientError
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import dim, has_colour, shown, shown_answer
from router.protocols.answers import ContextUse, SeenImage
from router.protocols.openai.answer_schemas import (
    ChatChunk,
    ChatChunkChoice,
    TextChunk,
    TextChunkChoice,
    Timings,
)

MAX_CONTINUATION: Final = 256
"""Tokens by which a text goes on unless --max-tokens says otherwise: such models often do not come to an end."""

HELP_TEXT: Final = (
    "/bye or Ctrl-D leaves, /clear forgets the conversation, Ctrl-C stops an answer; the path of a picture shows it."
)


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
        messages: list[dict[str, Any]],
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

    def ask(self, text: str, images: Sequence[Path] = (), documents: Sequence[str] = ()) -> None:
        """Say something, print the answer as it comes, and remember both.

        Args:
            documents: What stands in front of the text, quoted.

        Raises:
            ClientError: The server cannot answer; what was said is forgotten again.
            CommandError: A picture cannot be read.
            KeyboardInterrupt: The user stopped the answer; what came until then is remembered.
        """
        self._messages.append({"role": "user", "content": message_content("\n\n".join([*documents, text]), images)})
        answer: list[str] = []
        try:
            with naming_files(images, f"messages[{len(self._messages) - 1}].content"):
                reason, timings, seen = self._print(answer)
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
        for line in seen_lines(images, seen, is_wordy=self._has_stats):
            print(line, file=sys.stderr)
        if self._has_stats and timings is not None:
            print(stats_line(timings), file=sys.stderr)

    def _remember(self, answer: list[str]) -> None:
        """Keep the answer, or forget the question when nothing of an answer came."""
        if answer:
            self._messages.append({"role": "assistant", "content": "".join(answer)})
        else:
            self._messages.pop()

    def _print(self, answer: list[str]) -> tuple[str | None, Timings | None, list[SeenImage]]:
        """Print the answer as it comes and collect it; give the end's reason and figures, and what was seen."""
        is_terminal = sys.stdout.isatty()
        reason: str | None = None
        timings: Timings | None = None
        seen: list[SeenImage] = []
        # Closing the stream, also on Ctrl-C, makes the server stop the answer.
        with contextlib.closing(self._stream()) as stream:
            for chunk in stream:
                timings = chunk.timings or timings
                if chunk.context_wound and (line := wound_line(chunk.context_wound)):
                    print(line, file=sys.stderr)
                seen = (chunk.mlxr.images or seen) if chunk.mlxr else seen
                for choice in chunk.choices:
                    reason = choice.finish_reason or reason
                    text, thought = _parts(choice)
                    if thought and has_colour():
                        print(dim(shown_answer(thought)), end="", flush=True)
                    if text:
                        answer.append(text)
                        print(shown_answer(text) if is_terminal else text, end="", flush=True)
        return reason, timings, seen

    def _stream(self) -> Generator[ChatChunk | TextChunk, None, None]:
        """Ask what was said so far."""
        body = self._body | {"messages": self._messages}
        return self._client.stream_chat(body, engine=self._engine)

    def loop(self, images: Sequence[Path] = (), documents: Sequence[str] = ()) -> None:
        """Ask what the user types, until they leave; the first question has these pictures and documents with it."""
        import readline  # noqa: F401, PLC0415 - importing it gives input() its line editing

        print(dim(HELP_TEXT))
        waiting, quoted = list(images), list(documents)
        while (text := _typed()) is not None:
            match text.strip():
                case "":
                    continue
                case "/bye":
                    return
                case "/clear":
                    self._messages, waiting, quoted = list(self._beginning), [], []
                    print(dim("Forgotten."))
                case command if command.startswith("/") and " " not in command and not split_paths(text)[1]:
                    print(f"There is no {shown(command)}. {HELP_TEXT}")
                case _:
                    question, typed = split_paths(text)
                    waiting += typed
                    if typed:
                        print(dim("Shown: " + ", ".join(shown(path.name) for path in waiting)))
                    if question:
                        self._ask_and_go_on(question, waiting, quoted)
                        waiting, quoted = [], []

    def _ask_and_go_on(self, text: str, images: Sequence[Path], documents: Sequence[str]) -> None:
        try:
            self.ask(text, images, documents)
        except KeyboardInterrupt:
            print(dim("(stopped)"))
        except (ClientError, CommandError) as exc:
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


def seen_lines(images: Sequence[Path], seen: Sequence[SeenImage], *, is_wordy: bool) -> list[str]:
    """Write what the model was shown of the last pictures of a conversation, a line each.

    Args:
        images: Those of the last question.
        seen: All of the conversation.
        is_wordy: Whether also those are meant that were shown as they are.

    Returns:
        E.g. `photo.jpg: 4000x3000, shown as 448x336, 192 tokens`.
    """
    lines = []
    for path, image in zip(images, seen[-len(images) :] if images else (), strict=False):
        (width, height), (seen_width, seen_height) = image.original, image.seen
        if is_wordy or seen_width * seen_height < width * height:
            what = f"{width}x{height}, shown as {seen_width}x{seen_height}, {image.tokens} tokens"
            lines.append(f"{shown(path.name)}: {what}" + (", cached" if image.cached else ""))
    return lines


def wound_line(context: ContextUse) -> str | None:
    """Write what became of older turns before an answer; None = an earlier one has told of it."""
    wound = context.wound
    if not wound or not wound.ms:
        return None
    what = "left out, because nobody could summarise them" if wound.left_out else "summarised"
    tokens = f"{wound.tokens_before} to {wound.tokens_after} tokens"
    shown = f"; mlxr context {context.id} shows what it sees" if context.id else ""
    return f"mlxr: what the model sees of the first {wound.turns} messages was {what} ({tokens}){shown}"


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
    if isinstance(timings.draft_n, int):
        by_model = f", {timings.draft_n_model} by a draft model" if isinstance(timings.draft_n_model, int) else ""
        parts.append(f"{timings.draft_n_accepted} of {timings.draft_n} drafted tokens right{by_model}")
    if timings.engine is not None:
        parts.append(f"engine {timings.engine}")
    return ", ".join([*parts, f"load {timings.load_ms / 1000:.2f} s", f"queue {timings.queue_ms / 1000:.2f} s"])
