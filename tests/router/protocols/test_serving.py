"""What is read of a request before it is started: what may take long is given up with its client."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from router.errors import ClientDisconnectedError
from router.protocols.serving import Arrival
from tests.support.fake_openai import FakeFront, with_front

SLOW: dict[str, dict[str, Any]] = {
    "a chat's file": {"type": "file", "file": {}},
    "a response's file": {"type": "input_file", "file_data": ""},
    "a message's document": {"type": "document", "source": {"type": "base64", "data": ""}},
    "an edit that counts": {"context_management": {"edits": []}},
}


@pytest.mark.parametrize("part", SLOW.values(), ids=SLOW)
@with_front()
async def test_what_may_take_long_is_given_up_with_its_client(front: FakeFront, *, part: dict[str, Any]) -> None:
    async def gone() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def reading() -> None:
        await asyncio.Event().wait()

    arrival = SimpleNamespace(raw=msgspec.json.encode({"messages": [part]}), request=SimpleNamespace(receive=gone))
    with pytest.raises(ClientDisconnectedError):
        await front.services.serving.while_wanted(cast("Arrival", arrival), reading())
