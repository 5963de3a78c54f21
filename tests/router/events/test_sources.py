"""What owners tell, as events; over HTTP, with real workers of the fake engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.machine.base import ThermalState
from registry.pull.events import Done, Failed, FileDone, Progress
from router.conditions import PressureLevel
from router.events.sources import job_changed
from router.jobs.job import Job, JobKind, JobNews
from tests.support.fake_openai import FakeFront, with_front
from tests.support.winds import SECRET, wind

_PULL = JobKind[Any](name="pull")


class Followed:
    """A stream of events, read one by one."""

    def __init__(self, lines: AsyncIterator[str]) -> None:
        self._lines = lines
        self.last_id: str | None = None

    async def next(self) -> dict[str, Any]:
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            if line.startswith("data: "):
                found: dict[str, Any] = msgspec.json.decode(line.removeprefix("data: "))
                return found
        raise AssertionError("the stream has ended")

    async def until(self, **fields: Any) -> list[dict[str, Any]]:
        """Read until an event has these fields; return all that came."""
        found: list[dict[str, Any]] = []
        while not found or any(found[-1].get(name) != value for name, value in fields.items()):
            found.append(await self.next())
        return found


@contextlib.asynccontextmanager
async def events_of(front: FakeFront, last_id: str | None = None) -> AsyncIterator[Followed]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with front.client.stream("GET", "/v1/mlxr/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Followed(response.aiter_lines())


@with_front()
async def test_a_load_an_answer_and_an_unload_are_told_and_told_again(front: FakeFront) -> None:
    async with events_of(front) as events:
        snapshot = await events.next()
        assert (snapshot["type"], snapshot["models"], snapshot["pressure"], snapshot["heat"]) == (
            *("snapshot", [], "normal", "nominal"),
        )
        first_id = events.last_id
        await front.chat()
        await front.client.post("/v1/mlxr/models/stop", json={"model": "m"})
        told = await events.until(type="model", state="idle")
    kinds = [each.get("state") or each["event"] for each in told]
    assert [kind for kind in kinds if kind != "ready"] == [
        *("loading", "load", "generating", "draining", "unload", "idle"),
    ] or kinds[0] == "loading"
    unload = next(each for each in told if each.get("event") == "unload")
    assert unload["freed_bytes"] > 0
    assert told[-1]["reason"] == "stopped by command"
    async with events_of(front, first_id) as again:
        assert await again.until(type="model", state="idle") == told


@with_front()
async def test_conditions_are_told_with_their_reason_and_stand_in_the_next_snapshot(front: FakeFront) -> None:
    async with events_of(front) as events:
        await events.next()
        front.fleet.conditions.set_pressure(PressureLevel.WARNING, "71% of the memory is in use")
        front.fleet.conditions.set_heat(ThermalState.SERIOUS, "a zone is at its trip point")
        pressure, heat = await events.next(), await events.next()
    assert (pressure["type"], pressure["level"], pressure["reason"]) == (
        *("pressure", "warning", "71% of the memory is in use"),
    )
    assert (heat["type"], heat["state"], heat["reason"]) == ("heat", "serious", "a zone is at its trip point")
    async with events_of(front) as events:
        snapshot = await events.next()
    assert (snapshot["pressure"], snapshot["heat"], snapshot["suspended"]) == ("warning", "serious", None)


@with_front()
async def test_a_job_is_told_from_its_beginning_by_steps_to_its_end(front: FakeFront) -> None:
    go_on = asyncio.Event()

    async def work(job: Job[Any]) -> Any:
        for done in range(101):
            job.tell(Progress(done_bytes=done, total_bytes=100, bytes_per_s=None, eta_s=None))
        job.tell(FileDone(path="a", origin="fetched"))
        await go_on.wait()
        return Done(paths=())

    async with events_of(front) as events:
        await events.next()
        front.services.jobs.start(_PULL, 7, work, about="owner/name")
        told = [await events.next() for _ in range(22)]
        async with events_of(front) as late:
            (job,) = (await late.next())["jobs"]
        go_on.set()
        end = await events.next()
    assert told[0] == {**told[0], "type": "job", "job": "pull", "id": "7", "subject": "owner/name"}
    assert {each["state"] for each in [*told, job]} == {"running"}
    assert [each.get("share") for each in told] == [None, *(round(step * 0.05, 2) for step in range(21))]
    assert job["share"] == 1.0
    assert end["state"] == "done"
    assert (await snapshot_of(front))["jobs"] == []


async def snapshot_of(front: FakeFront) -> dict[str, Any]:
    async with events_of(front) as events:
        return await events.next()


@with_front()
async def test_a_failed_job_says_why_and_a_defect_too(front: FakeFront) -> None:
    async def fail(_: Job[Any]) -> Any:
        return Failed(code="hub_unreachable", message="no hub")

    async def nothing(_: Job[Any]) -> Any:
        return None

    news: list[JobNews] = []
    front.services.jobs.news.add(news.append)
    for number, work in enumerate((fail, nothing)):
        await front.services.jobs.start(_PULL, number, work).wait()
    ends = [job_changed(each) for each in news if each.is_end]
    assert [(end.state, end.message) for end in ends] == [("failed", "no hub"), ("failed", None)]


@with_front(keepalive_s=0.05)
async def test_silence_is_filled_with_comments(front: FakeFront) -> None:
    async with front.client.stream("GET", "/v1/mlxr/events") as response:
        async for line in response.aiter_lines():
            if line == ": keep-alive":
                break
        else:
            pytest.fail("the stream has ended without one")


@with_front()
async def test_the_end_of_the_server_ends_the_stream(front: FakeFront) -> None:
    async with front.client.stream("GET", "/v1/mlxr/events") as response:
        lines = response.aiter_lines()
        assert (await anext(lines)).startswith("id: ")
        front.services.events.close()
        assert [line async for line in lines][-1] == ""


def _lines(told: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    jobs = [each for each in told if each["type"] == "job"]
    return [(each["job"], each["subject"], each["state"], each.get("share")) for each in jobs]


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_a_background_response_is_told_from_its_beginning_to_its_end(front: FakeFront) -> None:
    front.fleet.hold("decode")
    body = {"model": "m", "input": "hi", "background": True}
    async with events_of(front) as events:
        response_id = (await front.client.post("/v1/responses", json=body)).json()["id"]
        begun = (await events.until(type="job"))[-1]
        assert (begun["id"], begun["subject"], begun["state"]) == (response_id, "m", "running")
        assert (await snapshot_of(front))["jobs"] == [begun]
        front.fleet.let_go("decode")
        assert _lines(await events.until(type="job")) == [("response", "m", "done", None)]
        front.fleet.hold("decode")
        response_id = (await front.client.post("/v1/responses", json=body)).json()["id"]
        await front.client.post(f"/v1/responses/{response_id}/cancel")
        front.fleet.let_go("decode")
        assert _lines(await events.until(state="stopped"))[-1][:3] == ("response", "m", "stopped")


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_a_batch_is_told_by_steps_to_its_end(front: FakeFront) -> None:
    url = "/v1/chat/completions"
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    lines = [{"custom_id": str(number), "method": "POST", "url": url, "body": asked} for number in range(4)]
    text = "\n".join(msgspec.json.encode(each).decode() for each in lines)
    file = await front.client.post("/v1/files", files={"file": ("x.jsonl", text)}, data={"purpose": "batch"})
    body = {"input_file_id": file.json()["id"], "endpoint": url, "completion_window": "24h"}
    async with events_of(front) as events:
        batch_id = (await front.client.post("/v1/batches", json=body)).json()["id"]
        told = await events.until(state="done")
    assert told[-1]["id"] == batch_id
    assert _lines(told) == [
        ("batch", url, "running", None),
        *(("batch", url, "running", share) for share in (0.25, 0.5, 0.75, 1.0)),
        ("batch", url, "done", None),
    ]
    assert (await snapshot_of(front))["jobs"] == []


@with_front()
async def test_a_conversation_that_is_wound_is_told_without_what_was_said(front: FakeFront) -> None:
    async with events_of(front) as events:
        front.services.contexts.keep(wind("ctx_a", 4, narrative=SECRET))
        told = (await events.until(type="context_wound"))[-1]
    told.pop("at")
    assert told == {
        "type": "context_wound",
        "context": "ctx_a",
        "model": "m",
        "turns": 4,
        "tokens_before": 900,
        "tokens_after": 300,
        "narrative_tokens": 40,
        "by": "m",
        "ms": 12.5,
        "left_out": False,
    }
