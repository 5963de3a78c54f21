"""`mlxr context` and `mlxr conversations …`: what a model sees of a conversation now, and deleting what is kept.

The running server is asked, which alone has the files open. Not here: asking in conversations (`router.cli.asking`).
"""

from typing import Any, Final
from urllib.parse import quote

import msgspec

from router.cli.client.base import Client
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import (
    bold,
    moment,
    plural,
    print_facts,
    print_json,
    print_table,
    shown,
    shown_answer,
)
from router.cli.terminal.question import ask
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.protocols.conversations.own_schemas import ConversationList, DeletedConversations
from router.status.contexts import ContextEntry, ContextList, ContextShown, DeletedContexts, ShownMessage

_CONTEXTS: Final = "/v1/mlxr/contexts"
_CONVERSATIONS: Final = "/v1/mlxr/conversations"
_LIMIT: Final = 100
_PATHS: Final = {"ctx_": _CONTEXTS, "conv_": "/v1/conversations", "resp_": "/v1/responses"}
"""By the beginnings of ids: what deletes them."""


class _Deleted(msgspec.Struct, frozen=True, kw_only=True):
    num_conversations: int
    num_contexts: int


@verb
@argument(
    "context_id", metavar="ID", required=False, help="As an answer's `timings.context` has it; none = all are listed."
)
@json_option(ALL_FIELDS)
def context(context_id: str | None, is_json: bool) -> None:
    """Show what a model sees of a conversation that filled its context; without an ID, list them.

    Examples: `mlxr context`, `mlxr context ctx_0123456789abcdef`, `mlxr context --json`.
    """
    with client_or_error(current_paths()) as client:
        path = f"{_CONTEXTS}?limit={_LIMIT}" if context_id is None else f"{_CONTEXTS}/{quote(context_id, safe='')}"
        if is_json:
            print_json(client.get(path, dict[str, Any]))
        elif context_id is None:
            _print_list(client.get(path, ContextList))
        else:
            _print_shown(client.get(path, ContextShown))


def _print_list(listed: ContextList) -> None:
    if not listed.contexts:
        print("No conversation has filled its context; `mlxr models set NAME context=wind` lets them go on then.")
        return
    print_table(
        ("ID", "MODEL", "TOLD", "TOKENS", "BY", "SESSION", "LAST USED"), [_row(each) for each in listed.contexts]
    )
    if listed.has_more:
        print(f"The last {_LIMIT} of {listed.num_contexts}; GET {_CONTEXTS} has more.")


def _row(entry: ContextEntry) -> tuple[object, ...]:
    return (
        entry.id,
        entry.model,
        plural(entry.turns, "message"),
        f"{entry.tokens_before} to {entry.tokens_after}",
        entry.by,
        entry.session or entry.conversation,
        moment(entry.used_at),
    )


def _print_shown(context: ContextShown) -> None:
    told = f"{plural(context.turns, 'message')} in {context.narrative_tokens} tokens"
    facts: list[tuple[str, object]] = [
        ("id", context.id),
        ("model", context.model),
        ("session", context.session),
        ("conversation", context.conversation),
        ("earlier", context.earlier),
        ("told", told if context.narrative is not None else f"{plural(context.turns, 'message')} left out"),
        ("left out", "some messages, because nobody could tell them" if context.left_out else None),
        ("prompt", f"{context.tokens_before} tokens before, {context.tokens_after} after"),
        ("by", None if context.by is None else f"{context.by} in {context.ms / 1000:.1f} s"),
        ("kept", "on the disk" if context.is_stored else "in memory, until the server ends"),
        ("made", moment(context.created_at)),
        ("last used", moment(context.used_at)),
    ]
    print_facts(facts)
    print("\nWhat the model saw last:")
    for message in context.messages:
        _print_message(message)


def _print_message(message: ShownMessage) -> None:
    print(f"\n{bold(shown(message.role if message.name is None else f'{message.role} {message.name}'))}")
    if message.content:
        print(shown_answer(message.content))
    for call in message.tool_calls:
        print(f"calls {shown(call.name)} {shown(call.arguments)}")


@verb
@json_option(ALL_FIELDS)
def list_conversations(is_json: bool) -> None:
    """List the conversations that the server keeps, pinned ones and the last used first; `mlxr conversations` does it.

    Examples: `mlxr conversations list`, `mlxr conversations --json`.
    """
    with client_or_error(current_paths()) as client:
        path = f"{_CONVERSATIONS}?limit={_LIMIT}"
        if is_json:
            print_json(client.get(path, dict[str, Any]))
            return
        listed = client.get(path, ConversationList)
    if not listed.conversations:
        print("No conversation is kept.")
        return
    rows = [(each.id, each.title, moment(each.updated_at)) for each in listed.conversations]
    print_table(("ID", "TITLE", "LAST USED"), rows)
    if listed.has_more:
        print(f"The last {_LIMIT}; GET {_CONVERSATIONS} has more.")


@verb
@argument("ids", nargs=-1, metavar="ID", help="Of conversations (conv_), stored responses (resp_), contexts (ctx_).")
@option(
    "--all",
    "is_all",
    is_flag=True,
    help="All conversations, and what was told of any; for the server's owner those of all keys.",
)
@option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask.")
@json_option()
def remove(ids: tuple[str, ...], is_all: bool, is_sure: bool, is_json: bool) -> None:
    """Delete conversations, with what was told of them; of a client that sends everything by its context.

    Examples: `mlxr conversations rm conv_0123456789abcdef`, `mlxr conversations rm ctx_0123456789abcdef`,
    `mlxr conversations rm --all --yes`.
    """
    if is_all is bool(ids):
        raise CommandError("Give ids, or --all; `mlxr conversations` and `mlxr context` list them.", exit_code=2)
    paths = {each: _path_of(each) for each in ids}
    with client_or_error(current_paths()) as client:
        deleted = _delete_all(client, is_sure=is_sure) if is_all else _delete(client, paths)
    if is_json:
        print_json(deleted)
        return
    print(
        f"{plural(deleted.num_conversations, 'conversation')} and {plural(deleted.num_contexts, 'context')} deleted."
        if is_all
        else f"{plural(len(paths), 'conversation')} deleted."
    )


def _path_of(conversation_id: str) -> str:
    for beginning, path in _PATHS.items():
        if conversation_id.startswith(beginning):
            return f"{path}/{quote(conversation_id, safe='')}"
    raise CommandError(
        f"{conversation_id!r:.80} is no id of a conversation; `mlxr conversations` and `mlxr context` list them.",
        exit_code=2,
    )


def _delete(client: Client, paths: dict[str, str]) -> _Deleted:
    num_contexts = 0
    for conversation_id, path in paths.items():
        if conversation_id.startswith("ctx_"):
            num_contexts += client.delete(path, DeletedContexts).num_deleted
        else:
            client.delete(path, dict[str, Any])
    num_conversations = sum(not conversation_id.startswith("ctx_") for conversation_id in paths)
    return _Deleted(num_conversations=num_conversations, num_contexts=num_contexts)


def _delete_all(client: Client, *, is_sure: bool) -> _Deleted:
    if not is_sure:
        question = "Delete all conversations that the server keeps, and what was told of any?"
        ask(question, verb="delete", participle="deleted")
    num_conversations = client.delete(_CONVERSATIONS, DeletedConversations).num_deleted
    return _Deleted(
        num_conversations=num_conversations, num_contexts=client.delete(_CONTEXTS, DeletedContexts).num_deleted
    )
