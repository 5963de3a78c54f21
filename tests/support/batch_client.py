"""Batches and their files as a client asks for them."""

import asyncio
import json
from typing import Any

from tests.support.fake_openai import FakeFront

CHAT = "/v1/chat/completions"
POLL_S = 0.02
"""Between two looks, as clients poll: looks without a pause would take the processor from what is looked at."""


def line(custom_id: str, *depends_on: str, url: str = CHAT, **body: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {"model": "m", "temperature": 0}
    if url == CHAT:
        plain["messages"] = [{"role": "user", "content": body.pop("text", "hi")}]
    needs = {"depends_on": list(depends_on)} if depends_on else {}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": plain | body} | needs


async def uploaded(front: FakeFront, *lines: Any) -> str:
    text = "\n".join(each if isinstance(each, str) else json.dumps(each) for each in lines)
    answer = await front.client.post("/v1/files", files={"file": ("x.jsonl", text)}, data={"purpose": "batch"})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def begun(front: FakeFront, *lines: Any, endpoint: str = CHAT, **fields: Any) -> str:
    body = {"input_file_id": await uploaded(front, *lines), "endpoint": endpoint, "completion_window": "24h"} | fields
    answer = await front.client.post("/v1/batches", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "validating"
    return str(answer.json()["id"])


async def ended(front: FakeFront, batch_id: str) -> Any:
    while True:
        batch = (await front.client.get(f"/v1/batches/{batch_id}")).json()
        if batch["status"] in {"completed", "failed", "expired", "cancelled"}:
            return batch
        await asyncio.sleep(POLL_S)


async def results(front: FakeFront, file_id: str | None) -> dict[str, Any]:
    if file_id is None:
        return {}
    text = (await front.client.get(f"/v1/files/{file_id}/content")).text
    found = [json.loads(each) for each in text.splitlines()]
    by_id = {each["custom_id"]: each for each in found}
    assert len(by_id) == len(found)
    return by_id


def content(result: Any) -> str:
    return str(result["response"]["body"]["choices"][0]["message"]["content"])


async def first_end(front: FakeFront, batch_id: str) -> None:
    """Wait until a line has ended and is stored."""
    while True:
        if (await front.client.get(f"/v1/mlxr/batches/{batch_id}/ends")).json()["data"]:
            return
        await asyncio.sleep(POLL_S)
