"""Both endpoints over the fake engine: shapes, refusals, limits, and what becomes of a request whose client leaves."""

import asyncio
import math
from typing import Any

import httpx
import pytest

from backends.fake.engine import FakeOptions
from router.protocols.decisions.questions import MAX_OPTIONS, MAX_QUESTIONS
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import until

SYSTEMONE, DECISIONS = "/v1/systemone", "/v1/decisions"
STATE = "Our checkout has returned 500 errors since 9am."
CHOICE = {"type": "choice", "instructions": "Which label fits?", "criteria": {"bug": "Software errors", "bill": None}}
SCORE = {"type": "score", "instructions": "How urgent?", "criteria": ["routine", "soon", "now"]}
NOUL = {"type": "noul", "instructions": "Is it broken?", "criteria": {"true": "it is", "false": "it is not"}}
QUESTIONS = {"label": CHOICE, "urgency": SCORE, "broken": NOUL, "names": {**CHOICE, "criteria": ["x", "y", "z"]}}
LISTED: list[dict[str, Any]] = [
    {"type": "choice", "name": "c", "instructions": "Which?", "choices": [{"value": "true"}, {"value": True}]},
    {"type": "score", "instructions": "How?", "levels": [{"label": "low", "description": "little"}, {"label": "high"}]},
    {"type": "predicate", "name": "p", "instructions": [{"type": "input_text", "text": "Is it?"}]},
]


async def ask(front: FakeFront, path: str, **body: Any) -> httpx.Response:
    usual: dict[str, Any] = {
        SYSTEMONE: {"state": STATE, "questions": QUESTIONS},
        DECISIONS: {"input": STATE, "questions": LISTED},
    }
    return await front.client.post(path, json={"model": "m", **usual[path], **body})


@with_front()
async def test_system_ones_answers(front: FakeFront) -> None:
    body = (await ask(front, SYSTEMONE)).json()
    answers = body["answers"]
    assert list(answers) == list(QUESTIONS)
    assert [each["type"] for each in answers.values()] == ["choice", "score", "noul", "choice"]
    label, urgency, broken, names = answers.values()
    assert list(label["probabilities"]) == ["bug", "bill"]
    assert label["choice"] == max(label["probabilities"], key=label["probabilities"].get)
    assert urgency["legend"] == {"0": "routine", "1": "soon", "2": "now"}
    assert urgency["score"] == pytest.approx(sum(int(level) * each for level, each in urgency["probabilities"].items()))
    assert list(names["probabilities"]) == ["x", "y", "z"]
    for each in (label, urgency, names):
        assert sum(each["probabilities"].values()) == pytest.approx(1)
        assert 0 <= each["confidence"] <= 1
    told = body["mlxr"]
    assert told["calibrated"] is False
    assert [each["name"] for each in told["labels"]] == list(QUESTIONS)
    assert broken["noul"] == pytest.approx(share(told["labels"][2]["logprobs"])[0])
    assert list(label["probabilities"].values()) == pytest.approx(share(told["labels"][0]["logprobs"]))
    assert body["usage"]["output_tokens"] == len(QUESTIONS)
    assert body["usage"]["input_tokens"] > told["cached_tokens"] > 3 * len(STATE)


def share(logprobs: list[float]) -> list[float]:
    weights = [math.exp(each) for each in logprobs]
    return [weight / sum(weights) for weight in weights]


@with_front()
async def test_openais_answers(front: FakeFront) -> None:
    body = (await ask(front, DECISIONS, safety_identifier="u", prompt_cache_key="k")).json()
    choice, score, predicate = body["answers"]
    assert [(each["type"], each["name"]) for each in body["answers"]] == [
        ("choice", "c"),
        ("score", None),
        ("predicate", "p"),
    ]
    assert [each["value"] for each in choice["probabilities"]] == ["true", True]
    assert choice["choice"] in ("true", True)
    assert [(each["value"], each["label"]) for each in score["probabilities"]] == [(0, "low"), (1, "high")]
    assert score["score"] == pytest.approx(score["probabilities"][1]["probability"])
    assert 0 < predicate["probability"] < 1
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens_details"]["cached_tokens"] > 0


@with_front()
async def test_the_same_request_has_the_same_answer_in_both_shapes(front: FakeFront) -> None:
    one = (await ask(front, SYSTEMONE, questions={"q": {"type": "noul", "instructions": "Is it?"}})).json()
    other = (await ask(front, DECISIONS, questions=[{"type": "predicate", "instructions": "Is it?"}])).json()
    assert one["answers"]["q"]["noul"] == other["answers"][0]["probability"]
    assert one["mlxr"]["labels"][0]["logprobs"] == other["mlxr"]["labels"][0]["logprobs"]


@with_front()
async def test_what_several_speakers_said_is_read_as_a_transcript(front: FakeFront) -> None:
    said = [
        {"role": "user", "content": [{"type": "input_text", "text": "Hi"}, {"type": "input_json", "data": {"a": 1}}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
        {"type": "function_call", "call_id": "1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "nothing"},
        {"type": "custom_tool_call", "call_id": "2", "name": "run", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "a"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]
    text = (
        'user: Hi\n{"a":1}\n\nassistant: Hello\n\nassistant calls look: {}\n\nresult of the call: nothing\n\n'
        "assistant calls run: ls\n\nresult of the call: a\n\nassistant: No."
    )
    transcript, plain = [(await ask(front, DECISIONS, input=each)).json() for each in (said, text)]
    assert transcript["mlxr"]["labels"] == plain["mlxr"]["labels"]
    users, joined = [
        (await ask(front, DECISIONS, input=each)).json() for each in ([said[0]] * 2, 'Hi\n{"a":1}\n\nHi\n{"a":1}')
    ]
    assert users["mlxr"]["labels"] == joined["mlxr"]["labels"]


@with_front()
async def test_a_state_that_is_json_is_shown_as_its_text(front: FakeFront) -> None:
    found = [(await ask(front, SYSTEMONE, state=state)).json()["answers"] for state in ({"a": [1]}, '{"a":[1]}')]
    assert found[0] == found[1]


def of(question: dict[str, Any]) -> dict[str, Any]:
    return {"questions": {"q": question}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": ""}, "model"),
        ({"state": 3}, "state"),
        ({"questions": {}}, "questions"),
        ({"questions": {str(number): NOUL for number in range(MAX_QUESTIONS + 1)}}, "questions"),
        ({"images": ["x"]}, "images"),
        (of({"instructions": "?"}), "questions.q.type"),
        (of({"type": "box", "instructions": "?"}), "questions.q.type"),
        (of({"type": "noul"}), "questions.q.instructions"),
        (of({"type": "noul", "instructions": ""}), "questions.q.instructions"),
        (of({**CHOICE, "criteria": {"one": None}}), "questions.q.criteria"),
        (of({**CHOICE, "criteria": {str(number): "x" for number in range(MAX_OPTIONS + 1)}}), "questions.q.criteria"),
        (of({**CHOICE, "criteria": ["a", "a"]}), "questions.q.criteria"),
        (of({**SCORE, "criteria": {"a": "b"}}), "questions.q.criteria"),
        (of({**NOUL, "criteria": ["a", "b"]}), "questions.q.criteria"),
    ],
)
@with_front()
async def test_system_one_refuses_by_422_and_the_fields_name(
    front: FakeFront, body: dict[str, Any], param: str
) -> None:
    refused = await ask(front, SYSTEMONE, **body)
    assert refused.status_code == 422
    told = refused.json()
    assert told["error"]["param"] == param
    assert told["detail"][0]["loc"] == ["body", *param.split(".")]
    assert told["detail"][0]["msg"] == told["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [{"type": "reasoning"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0]"),
        ({"questions": []}, "questions"),
        ({"questions": LISTED[:1] * (MAX_QUESTIONS + 1)}, "questions"),
        ({"questions": [{"type": "predicate", "instructions": " "}]}, "questions[0].instructions"),
        ({"questions": [{**LISTED[0], "choices": [{"value": "a"}, {"value": "a"}]}]}, "questions[0].choices"),
        ({"questions": [{**LISTED[1], "levels": [{"label": "a"}]}]}, "questions[0].levels"),
        ({"questions": [LISTED[1], {**LISTED[1], "levels": [{"label": "a"}] * 2}]}, "questions[1].levels"),
    ],
)
@with_front()
async def test_openais_shape_refuses_by_400_and_the_fields_name(
    front: FakeFront, body: dict[str, Any], param: str
) -> None:
    refused = await ask(front, DECISIONS, **body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


@with_front()
async def test_what_nobody_knows_is_left_out_and_told_or_refused_where_that_is_asked_for(front: FakeFront) -> None:
    answer = await ask(front, SYSTEMONE, zag=1, questions={"q": {**NOUL, "zig": 2}})
    assert (answer.status_code, answer.headers["x-mlxr-ignored"]) == (200, "zag, questions.q.zig")
    body = {"model": "m", "state": STATE, "questions": QUESTIONS, "zag": 1}
    refused = await front.client.post(SYSTEMONE, json=body, headers={"x-mlxr-strict": "true"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "zag")


@with_front()
async def test_a_state_that_the_context_does_not_hold_is_refused(front: FakeFront) -> None:
    for path, param, status in ((SYSTEMONE, "state", 422), (DECISIONS, "input", 400)):
        refused = await ask(front, path, **{param: "x" * 9000})
        assert (refused.status_code, refused.json()["error"]["code"]) == (status, "context_length_exceeded")
        assert refused.json()["error"]["param"] == param
    assert (await ask(front, SYSTEMONE, model="nobody")).status_code == 404


@with_front(llamacpp=FakeOptions(prefill_s_per_token=0.05))
async def test_a_client_that_leaves_takes_its_questions_along(front: FakeFront) -> None:
    asking = asyncio.create_task(ask(front, SYSTEMONE))
    await until(lambda: bool(front.running), "the request runs")
    asking.cancel()
    await until(lambda: not front.running, "the request was given up")
