"""Requests of coding agents, as they were recorded: each is answered, and what is left out is named.

The first of a task, and the third, behind a file read and another written (of Codex with its list of models). In
`recorded/`, long texts are replaced by their lengths, ids by zeros.
"""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

RECORDED = Path(__file__).parent / "recorded"
ENDS = ("event: response.completed", "event: message_stop", "data: [DONE]")
IGNORED = {"codex": "tools[].type=web_search"}
_LENGTH = re.compile(r"<(\d+) characters>")


def restored(value: Any) -> Any:
    """Return a recorded value with texts of the lengths that it had."""
    match value:
        case str():
            found = _LENGTH.fullmatch(value)
            return value if found is None else ("word " * int(found[1]))[: int(found[1])]
        case dict():
            return {key: restored(item) for key, item in value.items()}
        case list():
            return [restored(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDED.glob("*.json")))
@with_front(llamacpp=FakeOptions(context_length=262_144, answer_tokens=6))
async def test_a_request_of_an_agent_is_answered(front: FakeFront, name: str) -> None:
    recorded = msgspec.json.decode((RECORDED / f"{name}.json").read_bytes())
    body = restored(recorded["body"]) | {"model": "m"}
    response = await front.client.request(
        recorded["method"],
        recorded["path"],
        json=body,
        headers=recorded["headers"] | {"x-mlxr-load": "context_length=262144"},
    )
    assert response.status_code == 200, response.text
    assert response.headers.get("x-mlxr-ignored") == IGNORED.get(name.partition("-")[0])
    assert response.text.rstrip().split("\n\n")[-1].startswith(ENDS)
