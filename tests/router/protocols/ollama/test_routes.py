"""Ollama's API over HTTP, with real worker processes of the fake engine behind it."""

import asyncio
import re
from typing import Any

import httpx
import msgspec
import pytest

from backends.fake.engine import FakeOptions
from router.placement.lifecycle import WorkerState
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")
COUNTS = {"prompt_eval_count", "prompt_cached_count", "prompt_computed_count", "eval_count"}
TIMES = {"total_duration", "load_duration", "prompt_eval_duration", "eval_duration"}
HI = [{"role": "user", "content": "hi"}]


def lines(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.text.endswith("\n")
    return [msgspec.json.decode(line) for line in response.text.splitlines()]


def timeless(line: dict[str, Any]) -> dict[str, Any]:
    """Return a line without what differs from run to run, once that has been looked at."""
    assert MOMENT.fullmatch(line["created_at"])
    assert all(isinstance(line[name], int) and line[name] >= 0 for name in TIMES & line.keys())
    return {key: value for key, value in line.items() if key not in {"created_at", "mlxr", *TIMES}}


async def post(front: FakeFront, path: str, **body: Any) -> httpx.Response:
    return await front.client.post(path, json={"model": "m", **body})


def resident(front: FakeFront) -> list[tuple[str, WorkerState]]:
    return [(worker.target.model, worker.state) for worker in front.supervisor.workers if worker.target is not None]


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_a_chat_is_a_stream_of_lines_unless_one_is_wanted(front: FakeFront) -> None:
    body: dict[str, Any] = {"messages": HI, "options": {"temperature": 0}}
    *parts, last = lines(await post(front, "/api/chat", **body))
    whole = await post(front, "/api/chat", **body, stream=False)
    assert whole.headers["content-type"] == "application/json"
    assert whole.headers["x-request-id"].startswith("ollama-")
    assert [set(part["message"]) for part in parts] == [{"role", "content"}] * 3
    text = "".join(part["message"]["content"] for part in parts)
    assert timeless(last) == {
        "model": "m",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 21,
        "prompt_cached_count": 0,
        "prompt_computed_count": 21,
        "eval_count": 4,
    }
    assert last.keys() >= TIMES
    assert last["mlxr"]["engine"] == "llamacpp"
    # The second asked for the same prompt: all of it but one token was in the cache, and the time is of that one.
    expected = {**timeless(last), "message": {"role": "assistant", "content": text}}
    assert timeless(whole.json()) == {**expected, "prompt_cached_count": 20, "prompt_computed_count": 1}
    assert min(whole.json()["load_duration"], last["load_duration"]) > 0
    openai = (await front.chat(max_tokens=None)).json()["choices"][0]["message"]["content"]
    assert openai == text != ""


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_a_text_is_a_stream_of_lines_unless_one_is_wanted(front: FakeFront) -> None:
    body: dict[str, Any] = {"prompt": "hi", "options": {"temperature": 0}}
    *parts, last = lines(await post(front, "/api/generate", **body))
    whole = (await post(front, "/api/generate", **body, stream=False)).json()
    text = "".join(part["response"] for part in parts)
    assert all(timeless(part).keys() == {"model", "response", "done"} for part in parts)
    assert timeless(last).keys() == {"model", "response", "done", "done_reason", "context", *COUNTS}
    assert last["response"] == ""
    assert whole["response"] == text != ""
    assert whole["context"] == last["context"]
    assert bytes(whole["context"][:-1]).decode() == "hi" + text
    assert len(whole["context"]) == 2 + whole["eval_count"]


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_a_context_is_gone_on_from(front: FakeFront) -> None:
    first = (await post(front, "/api/generate", prompt="hi", stream=False)).json()
    second = (await post(front, "/api/generate", prompt="more", stream=False, context=first["context"])).json()
    assert second["context"][: len(first["context"])] == first["context"]
    assert second["prompt_cached_count"] >= len(first["context"]) - 1
    assert "context" not in (await post(front, "/api/generate", prompt="hi", raw=True, stream=False)).json()


@with_front()
async def test_length_is_told(front: FakeFront) -> None:
    last = lines(await post(front, "/api/chat", messages=HI, options={"num_predict": 2}))[-1]
    assert (last["done_reason"], last["eval_count"]) == ("length", 2)


@pytest.mark.parametrize(("path", "part"), [("/api/chat", "message"), ("/api/generate", "response")])
@with_front()
async def test_nothing_to_answer_loads_and_unloads(front: FakeFront, path: str, part: str) -> None:
    empty: Any = "" if part == "response" else {"role": "assistant", "content": ""}
    (line,) = lines(await post(front, path))
    assert timeless(line) == {"model": "m", part: empty, "done": True, "done_reason": "load"}
    assert resident(front) == [("m", WorkerState.READY)]
    whole = await post(front, path, keep_alive=0, stream=False)
    assert timeless(whole.json()) == {"model": "m", part: empty, "done": True, "done_reason": "unload"}
    assert resident(front) == []
    again = lines(await post(front, path, keep_alive="0s"))[0]
    assert again["done_reason"] == "unload"
    assert resident(front) == []


@with_front()
async def test_a_model_stays_as_long_as_its_last_request_says(front: FakeFront) -> None:
    async def kept() -> float | None:
        await asyncio.sleep(0)
        return next(worker.use.keep_alive_s for worker in front.supervisor.workers if worker.target is not None)

    for keep_alive, seconds in (("1h", 3600.0), (-1, float("inf")), (7, 7.0)):
        await post(front, "/api/generate", prompt="hi", keep_alive=keep_alive, options={"num_predict": 1})
        assert await kept() == seconds
    await post(front, "/api/embed", input="hi", keep_alive="2m")
    assert await kept() == 120.0


@with_front()
async def test_zero_lets_it_go_after_the_answer(front: FakeFront) -> None:
    last = lines(await post(front, "/api/chat", messages=HI, keep_alive=0, options={"num_predict": 1}))[-1]
    assert last["done_reason"] == "length"
    await front.fleet.until(lambda: not resident(front), "the model is unloaded")


@with_front()
async def test_a_larger_context_loads_anew_and_is_told(front: FakeFront) -> None:
    async def context_after(**options: Any) -> int:
        await post(front, "/api/generate", prompt="hi", options={"num_predict": 1, **options})
        (loaded,) = (await front.client.get("/api/ps")).json()["models"]
        assert loaded["context_length"] > 0
        (worker,) = [each for each in front.supervisor.workers if each.target is not None]
        return worker.worker_id

    usual = await context_after()
    assert await context_after(num_ctx=64) == usual, "it holds more"
    larger = await context_after(num_ctx=9000)
    assert larger != usual
    assert await context_after(num_ctx=9000) == larger
    assert await context_after(num_ctx=64) == larger


@with_front(config=make_config(context_length=64))
async def test_a_prompt_that_is_too_long_is_an_error_unless_turns_may_go(front: FakeFront) -> None:
    messages = [{"role": "user", "content": "x" * 60}, {"role": "assistant", "content": "y"}, *HI]
    options = {"num_ctx": 64, "num_predict": 1}
    refused = await post(front, "/api/chat", messages=messages, options=options)
    assert refused.status_code == 400
    assert "tokens but the context holds 64" in refused.json()["error"]
    assert "exceeds the available context size" in refused.json()["error"]
    last = lines(await post(front, "/api/chat", messages=messages, options=options, truncate=True))[-1]
    assert last["prompt_eval_count"] == 21
    alone = await post(front, "/api/chat", messages=messages[:1], options=options, truncate=True)
    assert alone.status_code == 400


@with_front()
async def test_embeddings_in_both_forms(front: FakeFront) -> None:
    many = (await post(front, "/api/embed", input=["a", "bc"])).json()
    assert set(many) == {"model", "embeddings", "total_duration", "load_duration", "prompt_eval_count", "mlxr"}
    assert (many["model"], many["prompt_eval_count"], len(many["embeddings"])) == ("m", 3, 2)
    one = (await post(front, "/api/embed", input="a")).json()
    old = (await post(front, "/api/embeddings", prompt="a")).json()
    assert old == {"embedding": one["embeddings"][0]}
    assert one["embeddings"][0] == many["embeddings"][0]
    assert (await post(front, "/api/embed", input=[])).json() == {"model": "m", "embeddings": []}
    assert (await post(front, "/api/embeddings")).json() == {"embedding": []}
    short = (await post(front, "/api/embed", input="a", dimensions=2)).json()["embeddings"][0]
    assert len(short) == 2
    assert sum(number * number for number in short) == pytest.approx(1)
    assert short[0] / short[1] == pytest.approx(one["embeddings"][0][0] / one["embeddings"][0][1])


@with_front(config=make_config(context_length=64))
async def test_an_input_that_is_too_long_loses_its_end_unless_that_is_refused(front: FakeFront) -> None:
    options = {"num_ctx": 64}
    cut = await post(front, "/api/embed", input="a" * 100, options=options)
    assert cut.json()["prompt_eval_count"] == 64
    for path, body in (
        ("/api/embed", {"input": "a" * 100, "truncate": False}),
        ("/api/embeddings", {"prompt": "a" * 100}),
    ):
        refused = await post(front, path, **body, options=options)
        assert refused.status_code == 400
        assert "context holds 64" in refused.json()["error"]
        assert "input length exceeds the context length" in refused.json()["error"]


@with_front()
async def test_the_server_is_known_for_ollama(front: FakeFront) -> None:
    assert (await front.client.get("/")).text == "Ollama is running"
    head = await front.client.head("/")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "17")
    version = (await front.client.get("/api/version")).json()
    assert version.keys() == {"version", "mlxr"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", version["version"])


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"])
@with_front()
async def test_an_unknown_model_is_not_found_in_ollamas_words(front: FakeFront, path: str) -> None:
    answer = await post(front, path, model="nope:7b")
    assert (answer.status_code, answer.json()) == (404, {"error": "model 'nope:7b' not found"})


HOSTILE: list[dict[str, Any]] = [
    {"messages": [None]},
    {"messages": {}},
    {"messages": [{"role": "x"}]},
    {"messages": HI, "options": []},
    {"messages": HI, "options": {"temperature": "hot"}},
    {"messages": HI, "options": {"temperature": -1}},
    {"messages": HI, "options": {"num_ctx": -1}},
    {"messages": HI, "options": {"stop": ["x"] * 17}},
    {"messages": HI, "keep_alive": "soon"},
    {"messages": HI, "keep_alive": []},
    {"messages": HI, "think": 7},
    {"messages": HI, "format": "xml"},
    {"messages": HI, "format": []},
    {"messages": HI, "tools": [{}]},
    {"messages": HI, "tools": [{"function": {"name": ""}}]},
    {"messages": HI, "tool_choice": "required"},
    {"messages": HI, "tool_choice": {"type": "function", "name": 3}},
    {"messages": HI, "stream": "yes"},
    {"messages": HI, "logprobs": True, "top_logprobs": 21},
    {"messages": [{"role": "user", "content": "hi", "images": ["aGk="]}]},
    {"messages": HI, "model": "m@gpu"},
    {"messages": HI, "model": ""},
    {"messages": HI, "model": None},
]


@with_front()
async def test_what_cannot_be_served_is_refused_with_a_text(front: FakeFront) -> None:
    for body in HOSTILE:
        answer = await post(front, "/api/chat", **body)
        assert answer.status_code == 400, (body, answer.text)
        assert set(answer.json()) == {"error"}
        assert isinstance(answer.json()["error"], str)


@with_front()
async def test_a_body_that_is_no_object_is_refused_everywhere(front: FakeFront) -> None:
    contents = [b"", b"[]", b"null", b"{", b'{"model":"m","model":"m"}', b'{"model":"\xff"}']
    for path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/show"):
        for content in contents:
            answer = await front.client.post(path, content=content)
            assert (answer.status_code, set(answer.json())) == (400, {"error"})


@with_front(llamacpp=FakeOptions(crash_at_token=2))
async def test_a_crash_in_the_middle_is_the_last_line(front: FakeFront) -> None:
    *parts, last = lines(await post(front, "/api/chat", messages=HI))
    assert parts
    assert set(last) == {"error"}


@with_front(keepalive_s=0.05)
async def test_a_stream_is_kept_alive_with_empty_lines_while_the_model_loads(front: FakeFront) -> None:
    bodies: list[dict[str, Any]] = [{"messages": HI, "options": {"num_predict": 1}}, {}]
    for body in bodies:
        text = await front.stream_past(["load"], "\n", "/api/chat", body)
        first, second, *_, last = [msgspec.json.decode(line) for line in text.splitlines()]
        for line in (first, second):
            assert timeless(line) == {"model": "m", "message": {"role": "assistant", "content": ""}, "done": False}
        assert last["done"]
        await post(front, "/api/chat", keep_alive=0)


@with_front()
async def test_requests_are_listed_and_can_be_cancelled(front: FakeFront) -> None:
    async with front.client.stream("POST", "/api/chat", json={"model": "m", "messages": HI}) as stream:
        received = stream.aiter_lines()
        await anext(received)
        (listed,) = (await front.client.get("/v1/mlxr/requests")).json()["requests"]
        assert (listed["id"], listed["protocol"]) == (stream.headers["x-request-id"], "ollama")
        await front.client.post(f"/v1/mlxr/requests/{listed['id']}/cancel")
        last = ""
        async for line in received:
            last = line
        assert msgspec.json.decode(last) == {"error": "The request was cancelled on the server."}


@with_front()
async def test_zero_values_of_a_go_program_ask_for_nothing(front: FakeFront) -> None:
    """Ollama's own command line encodes its Structs with all their fields."""
    call = {"function": {"index": 0, "name": "f", "arguments": {}}}
    tool = {"type": "function", "function": {"name": "f", "description": "", "parameters": {"type": "object"}}}
    messages = [*HI, {"role": "assistant", "content": "", "tool_calls": [call]}, {"role": "tool", "content": "1"}]
    generate = {"prompt": "hi", "suffix": "", "system": "", "template": "", "options": None, "format": ""}
    bodies: list[tuple[str, dict[str, Any]]] = [
        ("/api/generate", {**generate, "keep_alive": "5m0s", "think": None}),
        ("/api/generate", {**generate, "prompt": "", "options": {}}),
        ("/api/chat", {"messages": None, "options": None}),
        ("/api/chat", {"messages": messages, "tools": [tool], "options": {}, "keep_alive": -1, "format": None}),
        ("/api/embed", {"input": "hi", "options": None}),
        ("/api/embeddings", {"prompt": "hi", "options": {}}),
    ]
    for path, body in bodies:
        answer = await post(front, path, **body)
        assert answer.status_code == 200, (path, answer.text)
        assert '"error"' not in answer.text
    shown = {"system": "", "template": "", "verbose": False, "options": None, "name": ""}
    # The files of the front's models are not there, which is the only thing that is wrong with it.
    assert (await post(front, "/api/show", **shown)).status_code == 422
