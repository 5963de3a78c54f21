"""Chat messages to prompt text, with the model's own Jinja template, in a sandbox, the same for both engines.

A template comes with a model file, so it is untrusted code: the immutable sandbox keeps it from Python's internals, the
bounds below keep it from the machine's time and memory. Never rendered in the gateway.

Source: transformers, docs "Chat templates" (the variables and helpers that templates rely on).
"""

import contextlib
import datetime as dt
import json
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from backends.errors import TemplateError

MAX_TEMPLATE_CHARS = 1024 * 1024
"""Longest template that is compiled; the longest in use have some 20,000 characters."""
MAX_RENDER_S = 2.0
"""Longest time one rendering may take; a usual one takes below a millisecond."""
MAX_REPETITION = 1_000_000
"""Largest number used in a template: `'a' * 2e9` and `''.center(2e9)` take seconds and gigabytes."""


class _GenerationTag(jinja2.ext.Extension):
    """Accept `{% generation %}…{% endgeneration %}`, which marks answers for training and prints its body here."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _BoundedSandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """The immutable sandbox with bounded numbers."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        for operand, other in ((left, right), (right, left)):
            _check_number(operand)
            if isinstance(operand, int) and hasattr(other, "__len__") and operand * len(other) > MAX_REPETITION:
                raise jinja2.exceptions.SecurityError(f"repetition beyond {MAX_REPETITION} in a chat template")
        return super().call_binop(context, operator, left, right)

    def call(self, context: jinja2.runtime.Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            _check_number(argument)
        return super().call(context, obj, *args, **kwargs)


def _check_number(value: object) -> None:
    if isinstance(value, int | float) and abs(value) > MAX_REPETITION:
        raise jinja2.exceptions.SecurityError(f"number {value!r:.20} beyond {MAX_REPETITION} in a chat template")


class ChatTemplate:
    """One compiled template.

    Args:
        source: The Jinja text.
        bos_text: The BOS token as text, a variable of the template.
        eos_text: The EOS token as text, likewise.

    Raises:
        TemplateError: The text is too long or not valid Jinja.
    """

    def __init__(self, source: str, *, bos_text: str, eos_text: str) -> None:
        if len(source) > MAX_TEMPLATE_CHARS:
            raise TemplateError(
                f"the model's chat template has {len(source)} characters, more than {MAX_TEMPLATE_CHARS}"
            )
        environment = _BoundedSandbox(
            trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, "jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except (jinja2.TemplateError, RecursionError) as exc:
            raise TemplateError(f"the model's chat template is not valid: {exc}") from exc
        self._tokens = {"bos_token": bos_text, "eos_token": eos_text}

    def render(self, messages: list[dict[str, Any]], template_kwargs: dict[str, Any] | None = None) -> str:
        """Return the prompt text for `messages`, ending where the assistant is to speak.

        Args:
            messages: OpenAI-shaped messages with text contents.
            template_kwargs: Further variables; they cannot replace the reserved ones.

        Raises:
            TemplateError: The template refused the messages, failed, or took longer than MAX_RENDER_S.
        """
        variables = {**(template_kwargs or {}), **self._tokens, "messages": messages, "add_generation_prompt": True}
        try:
            with _deadline(MAX_RENDER_S):
                return self._template.render(**variables)
        except (
            jinja2.TemplateError,
            RecursionError,
            TypeError,
            ValueError,
            KeyError,
            AttributeError,
            LookupError,
            ArithmeticError,
            MemoryError,
        ) as exc:
            raise TemplateError(f"the model's chat template failed on these messages: {exc}", param="messages") from exc


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise TemplateError in the main thread when the block takes longer; elsewhere there is no such alarm."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_alarm(_signum: int, _frame: FrameType | None) -> NoReturn:
        raise TemplateError(f"the model's chat template did not render within {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _to_json(value: Any, indent: int | None = None, **_ignored: Any) -> str:
    """Return plain JSON; jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return dt.datetime.now().astimezone().strftime(pattern)
