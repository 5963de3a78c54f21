"""`mlxr launch`: sets agents, editors and chats up to use this server, and starts those of the terminal."""

import os
import sys
import time
from pathlib import Path
from typing import Any, Final, NoReturn

import click
import msgspec

from router.cli.keys import key_store
from router.cli.launch.aliasing import with_alias, without_aliases
from router.cli.launch.applying import Record, Records
from router.cli.launch.asking import is_let_in, model_meant, offer_of
from router.cli.launch.checks import Problem, problems_of
from router.cli.launch.clients import CLIENTS
from router.cli.launch.offer import Offer, Places
from router.cli.launch.plan import Client, Plan
from router.cli.launch.showing import print_clients, print_plan, program_of
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import print_json, shown
from router.cli.terminal.server import client_or_error, instance_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.config.instance import RunningInstance
from router.config.paths import Paths
from router.keys.making import KeyWishes, make_key
from router.keys.store import KeyStore

KEY_TO_COME: Final = "sk-mlxr-..."
"""Stands for the key that is not made, because nothing is."""

_BY_NAME: Final = {client.name: client for client in CLIENTS}
_LOCAL: Final = "127.0.0.1,localhost,::1"


@verb
@argument("name", metavar="CLIENT", required=False, type=click.Choice(list(_BY_NAME)), help="Which; none lists them.")
@argument("arguments", nargs=-1, type=click.UNPROCESSED, help="For the program that is started, after `--`.")
@option("--model", metavar="MODEL", help="Model, alias or NAME@ENGINE; else that of last time, the loaded or only one.")
@option("--alias", "is_listed", is_flag=True, help="Of claude: also a name by which its own list has the model.")
@option("--print", "is_printing", is_flag=True, help="Show what it needs, write and start nothing.")
@option("--undo", is_flag=True, help="Put back what was there before the client was launched first.")
@option("--force", is_flag=True, help="With --undo: also files that were changed since, which are kept beside.")
@option("--start/--no-start", "is_starting", default=True, help="Start a program of the terminal, or only set it up.")
@json_option("Print JSON, and start nothing.")
def launch(
    name: str | None,
    arguments: tuple[str, ...],
    model: str | None,
    is_listed: bool,
    is_printing: bool,
    undo: bool,
    force: bool,
    is_starting: bool,
    is_json: bool,
) -> None:
    """Set another program up to use this server, and start it.

    It gets the address, a key where keys are needed, the model and its context. Files that are there keep the rest of
    what they say, and a backup. What the program uses by itself stays: it is started with mlxr, not changed to it.

    Examples: `mlxr launch`, `mlxr launch codex --model qwen3-4b`, `mlxr launch claude --alias`,
    `mlxr launch claude -- -p "What is this?"`,
    `mlxr launch zed --print`, `mlxr launch opencode --undo`.
    """
    paths = current_paths()
    records = Records(paths.data_dir / "launch", paths.user_home)
    if name is None:
        print_clients(CLIENTS, records, is_json=is_json)
        return
    client = _BY_NAME[name]
    if undo:
        _undo(client, records, is_forced=force, is_json=is_json)
        return
    if is_listed and client.lists is None:
        raise CommandError(f"--alias: {client.title} needs none, it is told the model's own name.", exit_code=2)
    last = records.read(name)
    instance = instance_or_error(paths)
    with client_or_error(paths) as server:
        meant = model_meant(server, model, None if last is None else last.model)
        needs_key = not is_let_in(instance, None)
        offer = offer_of(server, instance, meant, paths, KEY_TO_COME if needs_key else None)
    problems, places = problems_of(client, offer), _places(paths, records.folder_of(name))
    if is_printing:
        _print(client, offer, problems, places, is_json=is_json)
        return
    _complain(problems)
    is_starting = is_starting and client.command is not None and not is_json
    program = _program(client) if is_starting else None
    record = last or Record(client=name, model=meant)
    if needs_key and client.keeps_key:
        record = _with_key(record, instance)
        records.keep(record)
        offer = msgspec.structs.replace(offer, key=record.secret)
    if is_listed:
        record, offer = with_alias(client, record, offer)
        records.keep(record)
    plan = client.plan(offer, places)
    record = records.write(msgspec.structs.replace(record, model=meant), plan.files)
    _tell(client, plan, record, is_json=is_json, is_starting=is_starting)
    if program is not None:
        _start(program, client, plan, arguments)


def _places(paths: Paths, own: Path) -> Places:
    return Places(
        home=paths.user_home,
        config=Path(os.environ.get("XDG_CONFIG_HOME") or paths.user_home / ".config"),
        own=own,
        is_mac=sys.platform == "darwin",
        environ=dict(os.environ),
    )


def _print(client: Client, offer: Offer, problems: list[Problem], places: Places, *, is_json: bool) -> None:
    for problem in problems:
        print(f"mlxr: {shown(problem.text)}", file=sys.stderr)
    if offer.key is not None:
        print(f"mlxr: {KEY_TO_COME} stands for a key: `mlxr keys create {client.name}` makes one.", file=sys.stderr)
    print_plan(client, client.plan(offer, places), problems, places.home, is_json=is_json)


def _complain(problems: list[Problem]) -> None:
    """Say what is missing.

    Raises:
        CommandError: The client cannot work so.
    """
    for problem in problems:
        if problem.is_fatal:
            raise CommandError(problem.text)
        print(f"mlxr: {shown(problem.text)}", file=sys.stderr)


def _program(client: Client) -> str:
    program = program_of(client)
    if program is None:
        way_out = f"`{client.install}`, then this again; `--no-start` only sets it up, `--print` shows what it needs"
        raise CommandError(f"{client.title} is not installed: there is no `{client.command}` on the PATH. {way_out}.")
    return program


def _with_key(record: Record, instance: RunningInstance) -> Record:
    """Return the record with a key that counts: that of last time, or a new one."""
    if record.secret is not None and is_let_in(instance, record.secret):
        return record
    with key_store() as store:
        wishes = KeyWishes(name=_free_name(store, f"launch-{record.client}"))
        made = make_key(store, wishes, time.time())
    return msgspec.structs.replace(record, key=made.name, secret=made.secret)


def _free_name(store: KeyStore, wanted: str) -> str:
    taken = {key.name for key in store.all()}
    names = (wanted, *(f"{wanted}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in names if name not in taken)


def _tell(client: Client, plan: Plan, record: Record, *, is_json: bool, is_starting: bool) -> None:
    """Say what was done; of a program that is started on stderr, whose output is the program's own."""
    if is_json:
        print_json(
            {
                "client": client.name,
                "model": record.model,
                "key": record.key,
                "aliases": [alias for alias, _ in record.aliases],
                "files": [{"path": file.path, "was_there": file.before is not None} for file in record.files],
                "command": None if client.command is None else [client.command, *plan.command_line()],
                "environment": sorted(plan.environment),
                "steps": plan.steps,
            }
        )
        return
    out = sys.stderr if is_starting else sys.stdout
    for file in record.files:
        kept = "it was not there" if file.before is None else "what was there is kept"
        print(f"mlxr: wrote {shown(file.path)} ({kept}; `mlxr launch {client.name} --undo`)", file=out)
    for alias, model in record.aliases:
        print(f"mlxr: {shown(model)} is also called {shown(alias)}", file=out)
    if record.key is not None:
        print(f"mlxr: {client.title} has the key {record.key} (`mlxr keys`)", file=out)
    for step in plan.steps:
        print(f"mlxr: {shown(step)}", file=out)
    if client.command is not None and not is_starting:
        print(f"mlxr: `mlxr launch {client.name}` starts it.", file=out)


def _start(program: str, client: Client, plan: Plan, arguments: tuple[str, ...]) -> NoReturn:
    """Become the program."""
    assert client.command is not None
    environment = dict(os.environ)
    for variable, value in plan.environment.items():
        if value is None:
            environment.pop(variable, None)
        else:
            environment[variable] = value
    if any(variable.lower().endswith("_proxy") for variable in environment):  # it has no business on this machine
        for variable in ("NO_PROXY", "no_proxy"):
            environment[variable] = ",".join(filter(None, [environment.get(variable), _LOCAL]))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, [client.command, *plan.command_line(arguments)], environment)  # noqa: S606 - no shell


def _undo(client: Client, records: Records, *, is_forced: bool, is_json: bool) -> None:
    record = records.undo(client.name, is_forced=is_forced)
    if record.key is not None:
        with key_store() as store:
            for key in store.all():
                if key.name == record.key and key.revoked_at is None:
                    store.revoke(record.key, time.time())
    taken = without_aliases(record)
    if is_json:
        done: dict[str, Any] = {"client": client.name, "files": [file.path for file in record.files], "key": record.key}
        print_json(done | {"aliases": taken})
        return
    for file in record.files:
        done_to = "is gone, as it was before" if file.before is None else "is as it was before"
        print(f"{shown(file.path)} {done_to}.")
    if record.key is not None:
        print(f"The key {record.key} no longer counts.")
    for alias in taken:
        print(f"The name {shown(alias)} is gone.")
    if not record.files:
        print(f"mlxr had written no files for {client.title}.")
