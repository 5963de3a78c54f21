"""`mlxr ps --watch`: what happens in the running server: a table that lives on a terminal, lines and JSON elsewhere."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from router.cli.client.errors import ClientError, ServerUnreachableError
from router.cli.client.events import EventClient
from router.cli.terminal.context import current_paths
from router.cli.terminal.output import shown, size
from router.cli.terminal.server import instance_or_error
from router.config.instance import RunningInstance, read_instance
from router.events.kinds import AnyEvent
from router.status import Status

REFRESH_S: Final = 2.0
"""How often the table is drawn anew where nothing happens: memory is no event."""
AGAIN_S: Final = 0.5
"""Before a stream that was cut is asked for again; a server that is ending cuts it too."""
CLEAR: Final = "\x1b[H\x1b[2J"
_LEFT_OUT: Final = frozenset({"at", "type", "models", "jobs"})


def watch(*, is_json: bool, draw: Callable[[Status], None]) -> None:
    """Show what happens until the server ends.

    Args:
        draw: Prints a status as `mlxr ps` does.

    Raises:
        CommandError: No server runs.
        ClientError: It does not answer.
    """
    instance = instance_or_error(current_paths())
    if sys.stdout.isatty() and not is_json:
        _watch_table(instance, draw)
        return
    for event in _events(instance):
        line = json.dumps(msgspec.to_builtins(event)) if is_json else line_of(event)
        print(line, flush=True)
    print("The server has ended.", file=sys.stderr)


def line_of(event: AnyEvent) -> str:
    """Write an event as a line for people: when, what, and what there is to say."""
    fields = msgspec.to_builtins(event)
    clock = time.strftime("%H:%M:%S", time.localtime(fields["at"])) if "at" in fields else "--:--:--"
    told = [f"{name}={_words(name, value)}" for name, value in _facts(fields) if value is not None]
    return " ".join([clock, fields["type"], *told])


def _facts(fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for each in fields.get("models", []):
        yield "model", f"{each['model']}@{each['engine']}:{each['state']}"
    for each in fields.get("jobs", []):
        yield "job", f"{each['job']}:{each['id']}"
    for name, value in fields.items():
        if name not in _LEFT_OUT:
            yield name, value


def _words(name: str, value: Any) -> str:
    if name.endswith("_bytes") and isinstance(value, int):
        return str(size(value)).replace(" ", "")
    if name in {"load_fraction", "share"}:
        return f"{value:.0%}"
    text = f"{value:.1f}" if isinstance(value, float) else shown(value)
    return f'"{text}"' if " " in text else text


def _events(instance: RunningInstance) -> Iterator[AnyEvent]:
    """Follow, and come back where the stream was cut, as long as that server runs."""
    with EventClient(instance) as client:
        while True:
            try:
                yield from client.follow()
            except ServerUnreachableError:
                if client.last_id is None:
                    raise
                return
            if not _is_running(instance):
                return
            time.sleep(AGAIN_S)


def _is_running(instance: RunningInstance) -> bool:
    now = read_instance(current_paths())
    return now is not None and now.started_at == instance.started_at


def _watch_table(instance: RunningInstance, draw: Callable[[Status], None]) -> None:
    """Draw at every event, several that come together once, and every REFRESH_S."""
    has_news, has_ended = threading.Event(), threading.Event()

    def follow() -> None:
        try:
            for _ in _events(instance):
                has_news.set()
        except ClientError:
            pass  # the status, which is asked for next, says what is wrong
        finally:
            has_ended.set()
            has_news.set()

    threading.Thread(target=follow, name="events", daemon=True).start()
    with EventClient(instance) as client:
        while not has_ended.is_set():
            has_news.clear()
            status = client.status()
            print(CLEAR, end="")
            draw(status)
            print("Ctrl-C ends this; the server goes on.", flush=True)
            has_news.wait(REFRESH_S)
    print("The server has ended.", file=sys.stderr)
