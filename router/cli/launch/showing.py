"""Prints what a client needs, and which clients there are. Not here: doing it."""

import shlex
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from router.cli.launch.applying import Records
from router.cli.launch.checks import Problem
from router.cli.launch.plan import Client, Plan
from router.cli.terminal.output import print_json, print_table, shown, shown_answer


def program_of(client: Client) -> str | None:
    """Return where a client's program is, as far as it can be known; None = it is not on the PATH."""
    names = (client.command, *client.programs) if client.command is not None else client.programs
    return next((found for name in names if (found := shutil.which(name)) is not None), None)


def print_clients(clients: Sequence[Client], records: Records, *, is_json: bool) -> None:
    """List the clients: what is installed, and what each was launched with last."""
    rows = [(client, program_of(client), records.read(client.name)) for client in clients]
    if is_json:
        print_json(
            [
                {
                    "name": client.name,
                    "title": client.title,
                    "api": client.api,
                    "program": program,
                    "is_started": client.command is not None,
                    "install": client.install,
                    "model": None if record is None else record.model,
                    "files": [] if record is None else [file.path for file in record.files],
                }
                for client, program, record in rows
            ]
        )
        return
    head = ("CLIENT", "PROGRAM", "API", "INSTALLED", "STARTED BY MLXR", "SET UP FOR")
    print_table(
        head,
        [
            (
                client.name,
                client.title,
                client.api,
                program or ("no" if client.command or client.programs else None),
                "yes" if client.command is not None else "no",
                None if record is None else record.model,
            )
            for client, program, record in rows
        ],
    )
    print(
        "\n`mlxr launch CLIENT --model MODEL` sets one up; `--print` shows what it would write, `--undo` takes it back."
    )


def print_plan(client: Client, plan: Plan, problems: Iterable[Problem], home: Path, *, is_json: bool) -> None:
    """Print what a client needs, for people who write their own files."""
    texts = [(str(change.path), change.content(None).decode()) for change in plan.files]
    command = [client.command, *plan.command_line()] if client.command is not None else None
    if is_json:
        print_json(
            {
                "client": client.name,
                "files": [{"path": path, "content": content} for path, content in texts],
                "environment": dict(plan.environment),
                "command": command,
                "steps": plan.steps,
                "problems": [problem._asdict() for problem in problems],
            }
        )
        return
    blocks = [f"# {_short(path, home)} has\n{shown_answer(content).rstrip()}" for path, content in texts]
    if plan.environment:
        blocks.append("\n".join(["# in the environment", *environment_lines(plan)]))
    if command is not None:
        blocks.append(f"# then\n{shlex.join(command)}")
    if plan.steps:
        blocks.append("\n".join(f"# {shown(step)}" for step in plan.steps))
    print("\n\n".join(blocks))


def environment_lines(plan: Plan) -> list[str]:
    """Write the variables as a shell reads them."""
    return [
        f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
        for name, value in plan.environment.items()
    ]


def _short(path: str, home: Path) -> str:
    inside = path.removeprefix(f"{home}/")
    return shown(path if inside == path else f"~/{inside}")
