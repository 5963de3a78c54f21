"""What a client learns while its prompt waits and is evaluated."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.wire.output import Output
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from router.errors import InvalidRequestError
from router.models.model_request import ModelRequest
from router.placement.lifecycle import WorkerState
from router.protocols.openai.encoding import CompletionStream
from router.protocols.openai.progress import PrefillWatch, WatchedEncoder, chunks_with_progress, wants_prefill_events
from router.requests.generation import OutputEvent, ProgressEvent
from router.requests.request import GenerationRequest
from router.workers.supervisor import Supervisor
from tests.support.fake_openai import FakeFront, sse_objects, with_front

ASKED = {"X-Mlxr-Prefill-Progress": "true"}
LONG = "x" * 3000


def request_for(num_prompts: int = 1, num_choices: int = 1) -> GenerationRequest:
    return GenerationRequest(
        model_request=ModelRequest("m"),
        prompts=(TextPrompt("a"),) * num_prompts,
        num_choices=num_choices,
        spec=SequenceSpec(sampling=SamplingParams(), max_tokens=1, stop=()),
    )


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def supervisor_with(*workers: Any) -> Supervisor:
    return cast("Supervisor", SimpleNamespace(workers=list(workers)))


def worker(model: str, state: WorkerState) -> Any:
    return SimpleNamespace(target=SimpleNamespace(model=model), state=state)


def watch_of(supervisor: Supervisor, request: GenerationRequest, **clock: Any) -> PrefillWatch:
    return PrefillWatch(supervisor, request, answer_id="chatcmpl-1", created=7, model="m@mlx", **clock)


def data_of(event: bytes) -> dict[str, Any]:
    """Give what an event says of the prefill; the object around it is the same in all of an answer."""
    found = object_of(event)
    assert found.keys() == {"id", "object", "created", "model", "prefill"}
    assert found["object"] == "prefill_progress"
    prefill: dict[str, Any] = found["prefill"]
    return prefill


def object_of(event: bytes) -> dict[str, Any]:
    head, data, *rest = event.decode().split("\n")
    assert head == "event: prefill_progress"
    assert rest == ["", ""]
    found: dict[str, Any] = msgspec.json.decode(data.removeprefix("data: "))
    return found


@pytest.mark.parametrize(
    ("header", "wants"),
    [(None, False), ("true", True), (" TRUE ", True), ("1", True), ("false", False), ("0", False)],
)
def test_the_header_is_true_or_false(header: str | None, wants: bool) -> None:  # noqa: FBT001 - a table's column
    assert wants_prefill_events({} if header is None else {"X-Mlxr-Prefill-Progress": header}) is wants


def test_another_header_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="send true or false"):
        wants_prefill_events({"X-Mlxr-Prefill-Progress": "maybe"})


def test_an_event_tells_a_request_in_the_queue_from_one_whose_model_loads() -> None:
    assert data_of(watch_of(supervisor_with(), request_for()).event())["status"] == "queued"
    other = worker("other", WorkerState.STARTING)
    assert data_of(watch_of(supervisor_with(other), request_for()).event())["status"] == "queued"
    busy = worker("m", WorkerState.READY)
    assert data_of(watch_of(supervisor_with(busy), request_for()).event())["status"] == "queued"
    loading = worker("m", WorkerState.STARTING)
    event = data_of(watch_of(supervisor_with(other, loading), request_for()).event())
    assert event == {
        "status": "loading",
        "n_past": 0,
        "n_prompt_tokens": None,
        "fraction": 0.0,
        "elapsed_seconds": pytest.approx(0, abs=1),
    }


def test_the_first_event_comes_with_the_prompt_the_next_after_two_seconds_the_last_with_the_answer() -> None:
    clock = Clock()
    watch = watch_of(supervisor_with(), request_for(), clock=clock)
    clock.now += 0.5
    assert data_of(watch.observe([ProgressEvent(0, 0, 10, 0)])) == {
        "status": "processing",
        "n_past": 0,
        "n_prompt_tokens": 10,
        "fraction": 0.0,
        "elapsed_seconds": 0.5,
    }
    assert watch.wait_s == 2.0
    clock.now += 1.9
    assert watch.observe([ProgressEvent(0, 3, 10, 0)]) == b""
    clock.now += 0.2
    assert data_of(watch.observe([ProgressEvent(0, 4, 10, 0)]))["fraction"] == 0.4
    assert not watch.is_done
    last = data_of(watch.observe([OutputEvent(0, Output("a"), 1)]))
    assert (last["status"], last["n_past"], last["fraction"]) == ("done", 10, 1.0)
    assert watch.is_done


def test_an_event_is_an_object_of_its_answer() -> None:
    event = object_of(watch_of(supervisor_with(), request_for()).event())
    assert {name: event[name] for name in ("id", "object", "created", "model")} == {
        "id": "chatcmpl-1",
        "object": "prefill_progress",
        "created": 7,
        "model": "m@mlx",
    }


def test_several_prompts_add_up_and_choices_of_one_do_not() -> None:
    watch = watch_of(supervisor_with(), request_for(2, 2))
    watch.observe([ProgressEvent(0, 5, 10, 0), ProgressEvent(1, 10, 10, 10), ProgressEvent(2, 0, 10, 0)])
    event = data_of(watch.event())
    assert (event["n_past"], event["n_prompt_tokens"], event["fraction"]) == (5, 20, 0.25)
    watch.observe([OutputEvent(0, Output("a")), OutputEvent(1, Output("a"))])
    assert not watch.is_done
    watch.observe([OutputEvent(2, Output("a"))])
    assert watch.is_done


async def test_leaving_the_stream_in_its_prefill_ends_the_generation() -> None:
    is_closed: list[bool] = []

    async def reading() -> AsyncGenerator[bytes, None]:
        try:
            yield encoder.encode([ProgressEvent(0, 0, 10, 0)])
            await never
        finally:
            is_closed.append(True)

    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    clock = Clock()
    watch = watch_of(supervisor_with(), request_for(), clock=clock)
    encoder = WatchedEncoder(cast("CompletionStream", SimpleNamespace(encode=lambda _: b"")), watch)
    chunks = chunks_with_progress(reading(), watch)
    assert data_of(await anext(chunks))["status"] == "processing"
    clock.now += 2.0
    assert data_of(await anext(chunks))["status"] == "processing"
    await chunks.aclose()
    assert is_closed == [True]


def body(**changes: Any) -> dict[str, Any]:
    plain = {"model": "m", "messages": [{"role": "user", "content": LONG}], "max_tokens": 3, "stream": True}
    return plain | changes


async def ask(front: FakeFront, headers: dict[str, str], **changes: Any) -> Any:
    return await front.client.post("/v1/chat/completions", json=body(**changes), headers=headers)


@with_front()
async def test_named_events_come_when_asked_for_by_header(front: FakeFront) -> None:
    front.fleet.hold("prefill")
    text = ""
    async with front.client.stream("POST", "/v1/chat/completions", json=body(), headers=ASKED) as response:
        async for piece in response.aiter_text():
            if not text:
                front.fleet.let_go("prefill")
            text += piece
    blocks = text.split("\n\n")
    named = [data_of(block.encode() + b"\n\n") for block in blocks if block.startswith("event: ")]
    *processing, done = [event["status"] for event in named]
    assert (set(processing), done) == ({"processing"}, "done")
    assert named[-1]["n_past"] == named[-1]["n_prompt_tokens"] > 3000
    assert [block.startswith("event: ") for block in blocks[:2]] == [True, True], "before the first chunk"
    assert blocks[-2:] == ["data: [DONE]", ""]
    assert "event:" not in (await ask(front, {})).text
    assert "event:" not in (await ask(front, ASKED, stream=False)).text


@with_front()
async def test_a_response_has_the_events_behind_its_own_beginning(front: FakeFront) -> None:
    body = {"model": "m", "input": LONG, "max_output_tokens": 16, "stream": True}
    plain = await front.client.post("/v1/responses", json=body)
    response = await front.client.post("/v1/responses", json=body, headers=ASKED)
    blocks = response.text.split("\n\n")
    named = [object_of(block.encode() + b"\n\n") for block in blocks if block.startswith("event: prefill_progress")]
    assert named[-1]["prefill"]["status"] == "done"
    kinds = [block.partition("\n")[0].removeprefix("event: ") for block in blocks if block]
    assert kinds[:3] == ["response.created", "response.in_progress", "prefill_progress"]
    own = [kind for kind in kinds if kind != "prefill_progress"]
    assert own == [block.partition("\n")[0].removeprefix("event: ") for block in plain.text.split("\n\n") if block]
    created = msgspec.json.decode(blocks[0].partition("data: ")[2])["response"]
    assert {event["id"] for event in named} == {created["id"]}
    assert {event["model"] for event in named} == {"m"}
    assert (
        await front.client.post("/v1/responses", json=body, headers={**ASKED, "X-Mlxr-Prefill-Progress": "x"})
    ).status_code == 400


@with_front()
async def test_an_error_before_the_prompt_is_taken_is_plain_json_also_with_events(front: FakeFront) -> None:
    response = await ask(front, ASKED, messages=[{"role": "user", "content": "x" * 20_000}])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@with_front(llamacpp=FakeOptions(prefill_s_per_token=0.00001))
async def test_prompt_progress_grows_from_nothing_to_the_whole_prompt(front: FakeFront) -> None:
    *chunks, done = sse_objects(await ask(front, {}, return_progress=True))
    assert done == "[DONE]"
    progress = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    processed = [each["processed"] for each in progress]
    assert processed[0] == progress[0]["cache"] == 0
    assert processed == sorted(processed)
    assert processed[-1] == progress[-1]["total"] > 3000
    assert len(processed) >= 4
    assert ["prompt_progress" in chunk for chunk in chunks] == [True] * len(progress) + [False] * (
        len(chunks) - len(progress)
    )


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_timings_per_token_are_in_every_chunk_with_text(front: FakeFront) -> None:
    *chunks, _ = sse_objects(await ask(front, {}, timings_per_token=True, temperature=0))
    counts = [chunk["timings"]["predicted_n"] for chunk in chunks if chunk["choices"][0]["delta"].get("content")]
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert {chunk["timings"]["prompt_n"] for chunk in chunks if "timings" in chunk} == {
        chunks[-1]["timings"]["prompt_n"]
    }
