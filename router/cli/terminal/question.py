"""Asking before something is done that cannot be undone."""

import sys

from router.cli.terminal.context import CommandError


def ask(question: str, *, verb: str, participle: str) -> None:
    """Ask on the terminal, and go on only after a yes.

    Args:
        verb: What is about to be done, e.g. `remove`.
        participle: Of that, e.g. `removed`.

    Raises:
        CommandError: The answer is another one, or nobody is there to give one.
    """
    if not sys.stdin.isatty():
        raise CommandError(f"Nobody can be asked here; give --yes to {verb} without a question.", exit_code=2)
    try:
        answer = input(f"{question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in {"y", "yes"}:
        raise CommandError(f"Nothing was {participle}.")
