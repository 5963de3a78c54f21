"""`mlxr keys …`: make API keys, see them and what they used, end them.

The file is written to, and a running server sees that with its next request. Not here: what a key allows.
"""

import sys
import time
from collections.abc import Iterable
from typing import Final, get_args

import click
import msgspec

from backends.wire.request import Priority
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import moment, plural, print_json, print_table
from router.cli.terminal.verbs import argument, option, verb
from router.errors import InvalidRequestError
from router.keys.key import GrantedScope
from router.keys.making import MAX_RATE, KeyRow, KeyWishes, key_rows, make_key
from router.keys.store import KeyStore, KeyUsage, first_day

_key_argument: Final = argument("name", help="A key's name or id, as `mlxr keys list` shows it.")


@verb
@argument("name", help="What it is for, e.g. laptop; it stands in logs and lists.")
@option(
    "--scope",
    type=click.Choice(get_args(GrantedScope)),
    default="inference",
    help="What it allows: inference = ask models; models = also pull, load and remove them; admin = everything; "
    "metrics = only read the metrics.",
)
@option(
    "--models", multiple=True, metavar="PATTERN", help="Only models of such names, e.g. 'smollm*'; may be repeated."
)
@option("--expires", default="never", metavar="TIME", help="After 30d, 12h, or on a day such as 2027-01-31.")
@option(
    "--priority",
    type=click.Choice([priority.value for priority in Priority]),
    help="Of all its requests, whatever they say.",
)
@option("--rate", type=click.IntRange(1, MAX_RATE), metavar="N", help="Requests per minute.")
@option("--tokens", type=click.IntRange(1, MAX_RATE), metavar="N", help="Tokens per minute, of prompts and answers.")
@json_option("Print JSON, the secret among it.")
def create(
    name: str,
    scope: str,
    models: tuple[str, ...],
    expires: str,
    priority: str | None,
    rate: int | None,
    tokens: int | None,
    is_json: bool,
) -> None:
    """Make a key and print it, this one time.

    With the first key, requests to the server need one, also on this machine.
    Examples: `mlxr keys create laptop`, `mlxr keys create ci --models 'smollm*' --expires 30d --rate 60`.
    """
    wishes = {
        "name": name,
        "scope": scope,
        "models": models or None,
        "expires": expires,
        "priority": priority,
        "requests_per_minute": rate,
        "tokens_per_minute": tokens,
    }
    try:
        with key_store() as store:
            made = make_key(store, msgspec.convert(wishes, KeyWishes), time.time())
    except InvalidRequestError as exc:
        raise CommandError(f"--{exc}.", exit_code=2) from exc
    except msgspec.ValidationError as exc:
        problem, _, field = str(exc).removesuffix("`").partition(" - at `$.")
        raise CommandError(f"{field}: {problem[:1].lower()}{problem[1:]}.", exit_code=2) from exc
    if is_json:
        print_json(made)
        return
    print(made.secret, flush=True)
    words = ["Keep it: it is shown this once. Clients send it as their API key."]
    if made.is_first:
        words.append("From now on requests to this mlxr need a key; `mlxr keys forget` of the last one opens it again.")
    print("\n".join(words), file=sys.stderr)


@verb
@json_option(ALL_FIELDS)
def list_keys(is_json: bool) -> None:
    """List the keys; `mlxr keys` alone does the same.

    Examples: `mlxr keys list`, `mlxr keys list --json`.
    """
    with key_store() as store:
        keys = key_rows(store, time.time())
    if is_json:
        print_json(keys)
        return
    if not keys:
        print("There are no API keys: whoever reaches the server may use it. `mlxr keys create NAME` makes one.")
        return
    head = ("NAME", "KEY", "SCOPE", "MODELS", "PRIORITY", "PER MINUTE", "EXPIRES", "LAST USED", "STATE")
    print_table(head, [_row(key) for key in keys])


@verb
@_key_argument
@json_option(ALL_FIELDS)
def revoke(name: str, is_json: bool) -> None:
    """End a key for good; what it used stays known. Requests with it get 401 from now on.

    Example: `mlxr keys revoke laptop`.
    """
    with key_store() as store:
        key = store.revoke(name, time.time())
    print_json(key) if is_json else print(f"The key '{key.name}' no longer counts.")


@verb
@_key_argument
@json_option(ALL_FIELDS)
def forget(name: str, is_json: bool) -> None:
    """Take a key away with what it used; when the last one is gone, a server on localhost needs no key again.

    Example: `mlxr keys forget laptop`.
    """
    with key_store() as store:
        key = store.forget(name)
        num_left = len(store.all())
    if is_json:
        print_json(key)
        return
    print(f"The key '{key.name}' is gone; {plural(num_left, 'key') if num_left else 'none'} left.")


@verb
@option("--days", type=click.IntRange(1, 36_500), default=30, metavar="N", help="How many days back, today among them.")
@json_option("Print JSON, one entry per key and day.")
def usage(days: int, is_json: bool) -> None:
    """Show what each key used; a running server adds to it every few seconds.

    Examples: `mlxr keys usage`, `mlxr keys usage --days 1 --json`.
    """
    with key_store() as store:
        names = {key.id: key.name for key in store.all()}
        used = store.usage(first_day(days))
    if is_json:
        print_json(used)
        return
    if not used:
        print("No key was used.")
        return
    head = ("NAME", "REQUESTS", "REFUSED", "PROMPT TOKENS", "CACHED", "ANSWER TOKENS", "LAST USED")
    rows = [
        (
            names.get(each.key_id, each.key_id),
            each.num_requests,
            each.num_refused,
            each.num_prompt_tokens,
            each.num_cached_tokens,
            each.num_answer_tokens,
            moment(each.last_used_at),
        )
        for each in _summed(used)
    ]
    print_table(head, rows)


def key_store() -> KeyStore:
    """Open the file of keys; the first time it is made."""
    paths = current_paths()
    paths.ensure_folders()
    return KeyStore.opened(paths.keys_db)


def _row(key: KeyRow) -> tuple[object, ...]:
    limits = [f"{key.requests_per_minute} requests"] if key.requests_per_minute is not None else []
    limits += [f"{key.tokens_per_minute} tokens"] if key.tokens_per_minute is not None else []
    return (
        key.name,
        f"{key.prefix}...",
        key.scope,
        ", ".join(key.models) if key.models is not None else None,
        None if key.priority is None else key.priority.value,
        ", ".join(limits) or None,
        moment(key.expires_at),
        moment(key.last_used_at),
        key.state,
    )


def _summed(used: Iterable[KeyUsage]) -> list[KeyUsage]:
    """Return one row per key, of all its days."""
    sums: dict[str, KeyUsage] = {}
    for each in used:
        sums[each.key_id] = sums[each.key_id] + each if each.key_id in sums else each
    return list(sums.values())
