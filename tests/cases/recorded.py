"""What coding agents were recorded to send, on both real engines: each is answered to its end, calls have results.

Texts and the list of tools are cut to what a tiny model's context holds; the shapes are the clients' own.
"""

from typing import Any, Final

from tests.acceptance.judge import calls_in
from tests.cases.case import REAL, Case, Server
from tests.support.recorded_requests import RecordedRequest, recorded_requests, restored

_MOST_CHARACTERS: Final = 40
_MOST_TOOLS: Final = 3
"""Of each type."""

_NUM_TOKENS: Final = 4
_LENGTHS: Final[tuple[str, ...]] = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_PLAIN_LENGTH: Final[dict[str, str]] = {"/v1/responses": "max_output_tokens"}
_ENDS: Final = ("event: response.completed", "event: response.incomplete", "event: message_stop", "data: [DONE]")


def _cut(recorded: RecordedRequest) -> dict[str, Any]:
    body: dict[str, Any] = restored(recorded.body, _MOST_CHARACTERS)
    path = recorded.path.partition("?")[0]
    names = [name for name in _LENGTHS if name in body] or [_PLAIN_LENGTH.get(path, "max_tokens")]
    kept, num_of_type = [], dict[str, int]()
    for tool in body.get("tools", []):
        kind = tool.get("type", "")
        num_of_type[kind] = num_of_type.get(kind, 0) + 1
        if num_of_type[kind] <= _MOST_TOOLS:
            kept.append(tool)
    tools = {"tools": kept} if kept else {}
    return body | tools | dict.fromkeys(names, _NUM_TOKENS) | {"model": "tooled"}


def _case(recorded: RecordedRequest) -> Case:
    def run(server: Server) -> None:
        found = list(calls_in(recorded.body))
        calls, results = ({call_id for kind, call_id in found if kind == each} for each in ("call", "result"))
        assert calls == results
        reply = server.ask(recorded.path, _cut(recorded), headers=recorded.headers)
        assert reply.status == 200, reply.text
        assert not recorded.body.get("stream") or reply.text.rstrip().split("\n\n")[-1].startswith(_ENDS)

    return Case(row="recorded", name=recorded.name, run=run, engines=REAL)


CASES: Final[list[Case]] = [_case(recorded) for recorded in recorded_requests()]
