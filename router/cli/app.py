"""The `mlxr` command as a whole: its groups of verbs, and how failures end it.

Exit codes: 0 done, 1 failure, 2 a call that makes no sense, 130 interrupted, 141 the reader of our output went away.
Not here: the verbs.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from router.cli import batch, config, engine, processes, requests, run, serve
from router.cli.bench import group as bench
from router.cli.doctor import doctor
from router.cli.models import group as models
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import shown
from router.cli.terminal.quick import QuickGroup
from router.version import VERSION

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

app = typer.Typer(
    name="mlxr",
    cls=QuickGroup,
    help="A local LLM server with two engines, MLX and llama.cpp, behind one model name.",
    epilog="Start with `mlxr doctor`, then `mlxr serve`, and in another terminal `mlxr run MODEL`.",
    rich_markup_mode=None,  # else Typer imports rich for the help
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """A local LLM server with two engines, MLX and llama.cpp, behind one model name."""
    if version:
        print(f"mlxr {VERSION}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        raise typer.Exit(EXIT_USAGE)


for group in (serve, run, models, engine, processes, requests, batch, bench, config, doctor):
    group.register(app)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; None = the process's own.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8 shows escapes, no traceback
    try:
        return _run(argv)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return _end_quietly()
    except (typer.TyperException, CommandError, OSError) as exc:
        return _complain(exc)
    except _our_errors() as exc:
        return _complain(exc)


def _run(argv: Sequence[str] | None) -> int:
    try:
        result = app(args=None if argv is None else list(argv), standalone_mode=False, prog_name="mlxr")
    except SystemExit as exc:
        # Typer turns a broken pipe into exit code 1 by itself; nothing else here exits this way.
        raise BrokenPipeError from exc
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _our_errors() -> tuple[type[Exception], ...]:
    """List the bases of every error of ours. Imported only when something was raised that is none of the above."""
    from registry.errors import RegistryError
    from router.cli.client.base import ClientError
    from router.errors import RouterError

    return (RegistryError, RouterError, ClientError)


def _complain(error: Exception) -> int:
    """Print an error as one sentence; give the exit code."""
    if isinstance(error, typer.TyperException):
        message = error.format_message()
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    else:
        message = str(error)
    with contextlib.suppress(BrokenPipeError):
        if message.startswith("Usage:"):  # a group without a verb: its help, as it is
            print(message, file=sys.stderr, flush=True)
            return EXIT_USAGE
        print("mlxr:", " ".join(shown(part) for part in message.split()), file=sys.stderr, flush=True)
    return int(getattr(error, "exit_code", EXIT_FAILURE))


def _end_quietly() -> int:
    """Point stdout at nothing, so that Python's own flush at exit does not complain about the pipe again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
