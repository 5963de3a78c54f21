"""Chat messages to prompt text, with the model's own Jinja template, in a sandbox, the same for both engines.

A template comes with a model file, so it is untrusted code: the immutable sandbox keeps it from Python's internals, the
bounds below keep it from the machine's time and memory. Never rendered in the gateway.

Source: transformers, docs "Chat templates" (the variables and helpers that templates rely on).
"""

import datetime as dt
import json
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import jinja2
import jinja2.exceptions
import jinja2.ext
import jinja2.meta
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from backends.errors import FOREIGN_ERRORS, PromptError, TemplateError

RESERVED_VARIABLES = frozenset({"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"})
"""Variables of a template that a request's `chat_template_kwargs` cannot set."""

MAX_TEMPLATE_CHARS = 1024 * 1024
"""Longest template that is compiled; the longest in use have some 20,000 characters."""
MAX_RENDER_S = 2.0
"""Longest processor time one rendering, or the compilation, may take; a usual rendering takes below a millisecond."""
MAX_RENDER_BYTES = 256 * 1024 * 1024
"""Address space that one rendering may add; `{% set x %}{{ x }}{{ x }}{% endset %}` doubles without any operator."""
MAX_POWER_BITS = 64
"""Longest result of `**`: a number of millions of digits cannot be interrupted while it is computed."""
MAX_REPETITION = 1_000_000
"""Largest number used in a template: `'a' * 2e9` and `''.center(2e9)` take seconds and gigabytes."""


T = TypeVar("T")

# From a template's compilation (constants are folded there) and from its rendering; SyntaxError because Python allows
# fewer nested blocks than Jinja.
_TEMPLATE_ERRORS = (jinja2.TemplateError, SyntaxError, *FOREIGN_ERRORS)


class _RefusedError(jinja2.TemplateError):
    """The template called `raise_exception`: the messages are not what its model was trained on."""


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
        if operator == "**" and _num_power_bits(left, right) > MAX_POWER_BITS:
            raise jinja2.exceptions.SecurityError(f"power beyond {MAX_POWER_BITS} bits in a chat template")
        return super().call_binop(context, operator, left, right)

    def call(self, context: jinja2.runtime.Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        for argument in (*args, *kwargs.values()):
            _check_number(argument)
        return super().call(context, obj, *args, **kwargs)


def _num_power_bits(base: object, exponent: object) -> int:
    """Return an upper bound of the bits of `base ** exponent`; floats overflow by themselves."""
    return base.bit_length() * exponent if isinstance(base, int) and isinstance(exponent, int) else 0


def _check_number(value: object) -> None:
    if isinstance(value, int | float) and abs(value) > MAX_REPETITION:
        raise jinja2.exceptions.SecurityError(f"number {value!r:.20} beyond {MAX_REPETITION} in a chat template")


class ChatTemplate:
    """One compiled template.

    Args:
        bos_text: The BOS token as text, a variable of the template.

    Attributes:
        variables: Names that the template reads without having set them.

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
        environment.globals["strftime_now"] = strftime_now
        try:
            self._template, variables = _bounded(
                lambda: (
                    environment.from_string(source),
                    jinja2.meta.find_undeclared_variables(environment.parse(source)),
                )
            )
        except _TEMPLATE_ERRORS as exc:
            raise TemplateError(f"the model's chat template is not valid: {_words(exc)}") from exc
        self.variables = frozenset(variables)
        self._tokens = {"bos_token": bos_text, "eos_token": eos_text}

    def render(
        self,
        messages: list[dict[str, Any]],
        tools: list[dict[str, Any]] | None = None,
        variables: dict[str, Any] | None = None,
        *,
        opens_turn: bool = True,
    ) -> str:
        """Return the prompt text for `messages`, ending where the assistant is to speak.

        Args:
            tools: OpenAI-shaped tools; the template sees none of an empty list.
            variables: Further variables; none of RESERVED_VARIABLES.
            opens_turn: False = the text ends with the messages.

        Raises:
            PromptError: The template refused the messages.
            TemplateError: The template failed, took longer than MAX_RENDER_S or more memory than MAX_RENDER_BYTES, or
                wrote what is not Unicode text.
        """
        variables = {
            **(variables or {}),
            **self._tokens,
            "messages": messages,
            "tools": tools or None,
            "add_generation_prompt": opens_turn,
        }
        try:
            return _bounded(lambda: _as_unicode(self._template.render(variables)))
        except _RefusedError as exc:
            raise PromptError(
                f"the model's chat template refuses these messages: {_words(exc)}", param="messages"
            ) from exc
        except _TEMPLATE_ERRORS as exc:
            raise TemplateError(
                f"the model's chat template failed on these messages: {_words(exc)}", param="messages"
            ) from exc


def check_template(source: str) -> None:
    """Compile a template, and look whether it shows a conversation at all.

    Raises:
        TemplateError: It is too long, not valid Jinja (with the line, where Jinja knows it), or reads no `messages`.
    """
    try:
        variables = ChatTemplate(source, bos_text="", eos_text="").variables
    except TemplateError as exc:
        if isinstance(exc.__cause__, jinja2.TemplateSyntaxError):
            raise TemplateError(f"line {exc.__cause__.lineno}: {_words(exc.__cause__)}") from exc
        raise
    if "messages" not in variables:
        raise TemplateError("it does not use `messages`, so that the model would see nothing of a conversation")


def _words(exc: BaseException) -> str:
    """Return the error's own words, or its kind when it has none, without surrogates (they cannot be sent)."""
    return str(exc).encode(errors="replace").decode() or type(exc).__name__


def _bounded(work: Callable[[], T]) -> T:
    """Return what `work` returns, unless it works longer than MAX_RENDER_S or takes more than MAX_RENDER_BYTES.

    In the main thread only: alarms come to no other, and the limit of memory is the process's. Memory on Linux only:
    macOS does not enforce the limit.

    Raises:
        TemplateError: It has worked MAX_RENDER_S.
        MemoryError: It wants more than MAX_RENDER_BYTES of further addresses.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()

    is_over = False
    began_at = time.thread_time()

    def on_alarm(_signum: int, _frame: FrameType | None) -> None:
        # The clock of this thread's own work: on a busy machine a template waits long for a processor.
        if not is_over and time.thread_time() - began_at >= MAX_RENDER_S:
            raise TemplateError(f"the model's chat template takes more than {MAX_RENDER_S:g} s of a processor")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = _address_bound(soft) if sys.platform == "linux" else None
    previous = signal.getsignal(signal.SIGALRM)
    previous_timer = signal.getitimer(signal.ITIMER_REAL)
    # The alarm may come between any two steps. A call inside of `try` has no gap in which it misses `finally`, as the
    # ends of a context manager have.
    try:
        signal.signal(signal.SIGALRM, on_alarm)
        # An error that comes while an object is destroyed is lost: the alarm comes again.
        signal.setitimer(signal.ITIMER_REAL, MAX_RENDER_S, MAX_RENDER_S / 8)
        if bound is not None:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        return work()
    finally:
        is_over = True
        if bound is not None:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, *previous_timer)


def _address_bound(soft: int) -> int:
    """Return the limit of addresses that leaves MAX_RENDER_BYTES more than now, and no more than the one in force."""
    num_pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    bound = num_pages * resource.getpagesize() + MAX_RENDER_BYTES
    return bound if soft == resource.RLIM_INFINITY else min(bound, soft)


def _as_unicode(text: str) -> str:
    """Return it; a template can write lone surrogates, which no tokenizer takes: UnicodeEncodeError."""
    text.encode()
    return text


def _to_json(value: Any, indent: int | None = None, **_ignored: Any) -> str:
    """Return plain JSON; jinja's own filter escapes for HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise_exception(message: str) -> NoReturn:
    raise _RefusedError(message)


def strftime_now(pattern: str) -> str:
    """Write the date and time of here and now."""
    return dt.datetime.now().astimezone().strftime(pattern)
