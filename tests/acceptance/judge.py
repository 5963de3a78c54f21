"""Whether a client did what it was to do, by what it said, what it got and what it left. Pure."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from tests.acceptance.proxy import Exchange

LEAST_REQUESTS: Final = 2
_ENDS: Final = {
    "/v1/messages": b"message_stop",
    "/v1/responses": b"response.completed",
    "/v1/chat/completions": b"[DONE]",
}
_CALLS: Final = frozenset({"function_call", "custom_tool_call", "tool_use"})
_RESULTS: Final = {
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
    "tool_result": "tool_use_id",
}


class Outcome(NamedTuple):
    """What became of a trial.

    Attributes:
        exit_code: Of the client; None = it did not end in time.
        content: Of the file that it was to write; None = it is not there.
    """

    exit_code: int | None
    content: bytes | None
    wanted: bytes
    exchanges: Sequence[Exchange]


def faults_of(outcome: Outcome, api: str, num_calls: int) -> list[str]:
    """Return what is wrong, nothing where the client passed."""
    asked = requests_by(outcome.exchanges, api)
    calls, results = set[str](), set[str]()
    for exchange in asked:
        for kind, call_id in calls_in(json.loads(exchange.body)):
            (calls if kind == "call" else results).add(call_id)
    failed = [f"{each.method} {each.path}: {each.status}" for each in asked if each.status != 200]
    cut = [each for each in asked if not _is_ended(each, api)]
    found = (
        (outcome.exit_code is None, "it did not end in time"),
        (bool(outcome.exit_code), f"it ended with exit code {outcome.exit_code}"),
        (outcome.content != outcome.wanted, f"the file holds {outcome.content!r}, not {outcome.wanted!r}"),
        (len(asked) < LEAST_REQUESTS, f"{len(asked)} requests by {api}"),
        (bool(failed), f"requests failed: {failed}"),
        (bool(cut) and not failed, f"{len(cut)} answers did not come to their end"),
        (calls != results, f"calls without results: {sorted(calls - results)}"),
        (len(calls) != num_calls, f"{len(calls)} calls of tools, not {num_calls}"),
    )
    return [text for is_wrong, text in found if is_wrong]


def requests_by(exchanges: Sequence[Exchange], api: str) -> list[Exchange]:
    """Return the requests that ask a model by an API."""
    return [each for each in exchanges if each.method == "POST" and each.path.partition("?")[0] == api]


def calls_in(value: Any) -> Iterator[tuple[str, str]]:
    """Yield `call` or `result` and its id, for all calls of tools and results in a request of any API."""
    if isinstance(value, list):
        for item in value:
            yield from calls_in(item)
    if not isinstance(value, dict):
        return
    if value.get("type") in _CALLS:
        yield "call", str(value.get("call_id") or value.get("id"))
    elif value.get("type") in _RESULTS:
        yield "result", str(value[_RESULTS[value["type"]]])
    elif value.get("role") == "tool":
        yield "result", str(value["tool_call_id"])
    for call in value.get("tool_calls") or []:
        yield "call", str(call["id"])
    for name in ("messages", "input", "content"):
        yield from calls_in(value.get(name))


def _is_ended(exchange: Exchange, api: str) -> bool:
    is_stream = bool(json.loads(exchange.body).get("stream"))
    return _ENDS[api] in exchange.answer if is_stream else exchange.is_whole  # at a stream's end clients hang up
