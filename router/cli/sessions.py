"""`mlxr keys sessions` and `mlxr keys end`: the page's sessions, which have the rights of the keys they came from."""

import time

from router.cli.keys import key_store
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import moment, print_json, print_table, shown
from router.cli.terminal.verbs import argument, verb


@verb
@json_option(ALL_FIELDS)
def list_sessions(is_json: bool) -> None:
    """List the browsers that `mlxr ui` let in.

    Example: `mlxr keys sessions`.
    """
    with key_store() as store:
        sessions = store.sessions(time.time())
        names = {key.id: key.name for key in store.all()}
    if is_json:
        print_json(sessions)
        return
    if not sessions:
        print("No browser was let in by `mlxr ui`.")
        return
    rows = [
        (
            each.id,
            "owner" if each.key_id is None else names.get(each.key_id, each.key_id),
            moment(each.created_at),
            moment(each.expires_at),
            shown(each.client),
        )
        for each in sessions
    ]
    print_table(("SESSION", "KEY", "OPENED", "ENDS", "BROWSER"), rows)


@verb
@argument("session", help="A session's id, as `mlxr keys sessions` shows it.")
@json_option(ALL_FIELDS)
def end(session: str, is_json: bool) -> None:
    """End a session of the page: its browser is a stranger from now on.

    Example: `mlxr keys end ses_0123456789abcdef`.
    """
    with key_store() as store:
        ended = store.end_session(session)
    print_json(ended) if is_json else print(f"The session {ended.id} has ended.")
