"""Several answers, log probabilities, echoes and constraints over HTTP, on the fake engine."""

import json
from typing import Any

import openai
import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, sse_objects, with_front


def texts(body: dict[str, Any]) -> list[str]:
    return [choice["text"] if "text" in choice else choice["message"]["content"] for choice in body["choices"]]


def streamed_texts(objects: list[Any]) -> dict[int, str]:
    found: dict[int, str] = {}
    for chunk in objects[:-1]:
        for choice in chunk["choices"]:
            text = choice["text"] if "text" in choice else choice["delta"].get("content") or ""
            found[choice["index"]] = found.get(choice["index"], "") + text
    return found


@with_front()
async def test_answers_to_one_prompt_differ_and_the_first_is_that_of_a_single_one(front: FakeFront) -> None:
    fields = {"temperature": 1, "seed": 7, "max_tokens": 12}
    several = (await front.chat(**fields, n=4)).json()
    assert [choice["index"] for choice in several["choices"]] == [0, 1, 2, 3]
    assert len(set(texts(several))) == 4
    alone = (await front.chat(**fields)).json()
    assert texts(alone) == texts(several)[:1]
    assert several["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]
    assert several["usage"]["completion_tokens"] == 48
    second = (await front.chat(**(fields | {"seed": 8}))).json()
    assert texts(second) == texts(several)[1:2]


@with_front()
async def test_choices_of_several_prompts_are_numbered_as_openai_does(front: FakeFront) -> None:
    fields = {"temperature": 1, "seed": 7, "max_tokens": 12}
    both = (await front.complete(prompt=["one", "two"], n=2, **fields)).json()
    assert [choice["index"] for choice in both["choices"]] == [0, 1, 2, 3]
    assert texts(both)[2:] == texts((await front.complete(prompt="two", n=2, **fields)).json())
    assert both["usage"]["prompt_tokens"] == 6
    streamed = await front.complete(prompt=["one", "two"], n=2, stream=True, **fields)
    assert streamed_texts(sse_objects(streamed)) == dict(enumerate(texts(both)))


@with_front()
async def test_an_echo_puts_the_prompt_before_each_answer(front: FakeFront) -> None:
    plain = texts((await front.complete(prompt=["ab", "cd"])).json())
    echoed = texts((await front.complete(prompt=["ab", "cd"], echo=True)).json())
    assert echoed == ["ab" + plain[0], "cd" + plain[1]]
    streamed = await front.complete(prompt=["ab", "cd"], echo=True, stream=True)
    assert streamed_texts(sse_objects(streamed)) == dict(enumerate(echoed))


@with_front()
async def test_the_prompts_log_probabilities_are_those_with_which_it_would_have_been_drawn(front: FakeFront) -> None:
    drawn = (await front.complete(prompt="ab", logprobs=2, temperature=0, max_tokens=8)).json()["choices"][0]
    scored = await front.complete(
        prompt="ab" + drawn["text"], echo=True, logprobs=2, prompt_logprobs=0, temperature=0, max_tokens=0
    )
    body = scored.json()
    choice = body["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("ab" + drawn["text"], "length")
    assert choice["logprobs"]["token_logprobs"][0] is None
    for name in ("tokens", "token_logprobs", "top_logprobs"):
        assert choice["logprobs"][name][2:] == drawn["logprobs"][name]
    assert choice["logprobs"]["text_offset"] == list(range(10))
    ranks = [next(iter(place.values()))["rank"] for place in choice["prompt_logprobs"][2:]]
    assert ranks == [1] * 8
    assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (10, 0)


@with_front()
async def test_a_streamed_echo_of_token_ids_adds_up_to_the_whole_one(front: FakeFront) -> None:
    fields = {"prompt": [[*b"one"], [*b"two"]], "n": 2, "echo": True, "logprobs": 1, "temperature": 0, "max_tokens": 4}
    whole = (await front.complete(**fields)).json()["choices"]
    objects = sse_objects(await front.complete(**fields, stream=True))
    assert streamed_texts(objects) == {index: choice["text"] for index, choice in enumerate(whole)}
    logprobs: dict[int, list[Any]] = {}
    for chunk in objects[:-1]:
        for choice in chunk["choices"]:
            logprobs.setdefault(choice["index"], []).extend((choice["logprobs"] or {}).get("token_logprobs", []))
    assert logprobs == {index: choice["logprobs"]["token_logprobs"] for index, choice in enumerate(whole)}


@with_front()
async def test_several_answers_share_what_is_told_of_their_prompt(front: FakeFront) -> None:
    fields = {"echo": True, "logprobs": 1, "prompt_logprobs": 1, "temperature": 1, "seed": 3, "max_tokens": 4}
    alone = (await front.complete(prompt="ab cd", **fields)).json()
    first, second = (await front.complete(prompt="ab cd", n=2, **fields)).json()["choices"]
    assert first == alone["choices"][0]
    assert second["text"].startswith("ab cd")
    assert second["text"] != first["text"]
    assert second["prompt_logprobs"] == first["prompt_logprobs"]
    for name, values in first["logprobs"].items():
        assert second["logprobs"][name][:5] == values[:5]


@with_front()
async def test_token_ids_of_prompt_and_answer_are_told_where_they_are_wanted(front: FakeFront) -> None:
    (choice,) = (await front.complete(prompt="ab", return_token_ids=True, max_tokens=3)).json()["choices"]
    assert (choice["prompt_token_ids"], bytes(choice["token_ids"]).decode()) == ([*b"ab"], choice["text"])
    chat = (await front.chat(return_token_ids=True, max_tokens=3, n=2)).json()
    assert len(chat["prompt_token_ids"]) == chat["usage"]["prompt_tokens"]
    for one in chat["choices"]:
        assert bytes(one["token_ids"]).decode() == one["message"]["content"]


@with_front()
async def test_one_text_of_several_is_the_answer(front: FakeFront) -> None:
    options = ['say "no"', "back\\slash", "two\nlines", "é"]
    for seed in range(4):
        answer = await front.chat(structured_outputs={"choice": options}, temperature=1, seed=seed, max_tokens=50)
        assert texts(answer.json())[0] in options


@with_front()
async def test_a_regular_expression_is_obeyed_also_in_a_stream(front: FakeFront) -> None:
    response = await front.chat(regex="[0-9]{4}", temperature=1, seed=1, max_tokens=50, n=2)
    assert response.status_code == 200, response.text
    assert all(len(text) == 4 and text.isdigit() for text in texts(response.json()))
    streamed = streamed_texts(sse_objects(await front.chat(regex="(ab){3}", max_tokens=50, stream=True)))
    assert streamed == {0: "ababab"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"regex": "("}, "regex"),
        ({"grammar": "root ::= ("}, "grammar"),
        ({"grammar": "start ::= 'a'"}, "grammar"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"$ref": "https://example.com/x"}},
                }
            },
            "response_format",
        ),
    ],
)
@with_front()
async def test_a_grammar_that_does_not_compile_is_a_plain_400(
    front: FakeFront, *, body: dict[str, Any], param: str, stream: bool
) -> None:
    response = await front.chat(**body, stream=stream)
    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["code"], error["param"], error["type"]) == ("invalid_grammar", param, "invalid_request_error")
    assert (await front.chat(max_tokens=1)).status_code == 200
    assert front.fleet.num_launches["llamacpp"] == 1


@with_front()
async def test_a_bias_for_a_token_that_does_not_exist_is_a_400(front: FakeFront) -> None:
    response = await front.chat(logit_bias={"1000000": 5})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "logit_bias"


@with_front(llamacpp=FakeOptions(answer_tokens=3))
async def test_the_openai_client_reads_choices_progress_and_usage(front: FakeFront) -> None:
    client = openai.AsyncOpenAI(base_url=f"{front.client.base_url}/v1", api_key="none", max_retries=0)
    async with client:
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "hi"}],
            n=2,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"return_progress": True, "timings_per_token": True},
        )
        found: dict[int, str] = {}
        async for chunk in stream:
            for choice in chunk.choices:
                found[choice.index] = found.get(choice.index, "") + (choice.delta.content or "")
        assert found[0] == found[1] != ""
        assert chunk.usage is not None
        assert chunk.usage.completion_tokens == 2 * 4
        assert chunk.usage.completion_tokens_details is not None
        with pytest.raises(openai.BadRequestError) as caught:
            await client.completions.create(model="m", prompt="x", best_of=3)
        assert (caught.value.param, caught.value.code) == ("best_of", "unsupported_parameter")
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "x"}], extra_body={"grammar": "("}
            )
        assert json.loads(caught.value.response.text)["error"]["code"] == "invalid_grammar"
