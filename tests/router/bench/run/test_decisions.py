"""Decisions as benchmarks ask for them: of a real endpoint over the fake engine, and of servers that have none."""

import json
from typing import Any

import httpx
import pytest

from router.bench.plan.deciding import decision_body
from router.bench.run.decisions import decide
from tests.support.fake_openai import FakeFront, with_front

BODY: dict[str, Any] = {
    "state": "x",
    "questions": {
        "c": {"type": "choice", "instructions": "?", "criteria": {"a": None, "b": None}},
        "s": {"type": "score", "instructions": "?", "criteria": ["l", "h"]},
        "n": {"type": "noul", "instructions": "?"},
    },
}


@with_front()
async def test_every_options_probability_is_told_in_the_order_of_the_options(front: FakeFront) -> None:
    answer, opinions = await decide(front.client, decision_body(seed=3, round_number=0), model="m", headers={})
    assert (answer.error, answer.total_ms > 0, answer.num_output_tokens) == (None, True, 6)
    assert answer.num_prompt_tokens is not None
    assert (answer.num_cached_tokens or 0) > 0
    assert opinions is not None
    assert all(sum(each) == pytest.approx(1) for each in opinions if len(each) > 1)
    assert [len(each) for each in opinions][2:] == [4, 4, 1, 1]
    again, same = await decide(front.client, decision_body(seed=3, round_number=0), model="m", headers={})
    assert (again.error, same) == (None, opinions)
    refused, nothing = await decide(front.client, BODY, model="nobody", headers={})
    assert (nothing, (refused.error or "")[:4]) == (None, "404:")


SORTED = {"c": {"probabilities": {"b": 0.25, "a": 0.75}}, "s": {"probabilities": {"1": 1, "0": 0}}, "n": {"noul": 0.5}}


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (200, SORTED, ((0.75, 0.25), (0.0, 1.0), (0.5,))),
        (200, {"c": {"probabilities": {"b": 1}}, "s": {}, "n": {}}, None),
        (200, {}, None),
        (404, {}, None),
    ],
)
async def test_other_servers_may_sort_options_and_what_is_no_decision_is_an_error(
    status: int, said: dict[str, Any], expected: object
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["model"] == "m"
        return httpx.Response(status, json={"answers": said})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://there") as http:
        answered, opinions = await decide(http, BODY, model="m", headers={})
    assert (opinions, answered.error is None) == (expected, expected is not None)
