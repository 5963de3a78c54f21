import asyncio

import msgspec
import pytest

from backends.errors import EngineError, TemplateError
from backends.fake import FakeOptions
from backends.messages import Failed
from backends.prompts import TokenPrompt
from router.errors import ContextLengthExceededError, InvalidRequestError, RouterError
from router.generation import Generation, TextEvent, _error_of
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet


@with_fleet(llamacpp=FakeOptions(answer_tokens=4))
async def test_every_sequence_has_its_text_its_end_and_its_counts(fleet: FakeFleet) -> None:
    generation = fleet.generation(prompts=["aa", "bbb", "aa"], max_tokens=None)
    texts = {0: "", 1: "", 2: ""}
    ends = {}
    async for events in generation.events():
        assert events
        for event in events:
            assert event.index not in ends
            texts[event.index] += event.text
            if event.end is not None:
                ends[event.index] = event.end
    assert texts[0] == texts[2] != texts[1]
    assert {end.reason for end in ends.values()} == {"stop"}
    assert [ends[index].usage.num_prompt_tokens for index in range(3)] == [2, 3, 2]
    assert generation.choice is not None
    assert generation.choice.target.engine == "llamacpp"


@with_fleet(make_config(parallel=1), llamacpp=FakeOptions(decode_s=0.005))
async def test_leaving_the_iteration_gives_the_place_back(fleet: FakeFleet) -> None:
    events = fleet.generation(max_tokens=None).events()
    await anext(events)
    await events.aclose()
    async with asyncio.timeout(1.0):
        assert await fleet.answer(max_tokens=2)


@with_fleet(llamacpp=FakeOptions(context_length=16))
async def test_one_bad_prompt_of_several_ends_them_all(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome(prompts=["ok", "x" * 16])
    assert isinstance(error, ContextLengthExceededError)
    assert (error.num_prompt_tokens, error.context_length, error.param) == (16, 16, "prompt")
    await fleet.until(
        lambda: all(w.client is not None and w.client.num_streams == 0 for w in fleet.supervisor.workers),
        "nothing runs on",
    )
    assert await fleet.answer(prompts=["ok"])


@with_fleet(llamacpp=FakeOptions(fail_at_token=2))
async def test_an_engine_error_ends_the_request_and_keeps_the_worker(fleet: FakeFleet) -> None:
    with pytest.raises(EngineError, match="fake failure before token 2"):
        await fleet.answer()
    assert await fleet.answer(max_tokens=2)
    assert fleet.num_launches["llamacpp"] == 1


@pytest.mark.parametrize(
    ("prompt", "words"),
    [(TokenPrompt([1, 2, 999]), "token id 999 is not in the vocabulary"), (TokenPrompt([]), "empty")],
)
def test_a_bad_prompt_names_the_requests_own_field(prompt: TokenPrompt, words: str) -> None:
    @with_fleet()
    async def check(fleet: FakeFleet) -> None:
        generation = fleet.generation()
        generation._request = msgspec.structs.replace(generation._request, prompts=(prompt,))
        with pytest.raises(InvalidRequestError, match=words) as caught:
            await collect(generation)
        assert caught.value.param == "prompt"

    check()


async def collect(generation: Generation) -> list[TextEvent]:
    return [event async for events in generation.events() for event in events]


def test_every_failure_of_a_worker_becomes_the_error_of_its_kind() -> None:
    template = _error_of(Failed(1, TemplateError.code, "no template", "messages"), "messages")
    assert isinstance(template, TemplateError)
    assert template.param == "messages"
    assert isinstance(_error_of(Failed(1, EngineError.code, "boom"), "messages"), EngineError)
    other = _error_of(Failed(1, "invalid_prompt", "bad id", "prompt"), "messages")
    assert isinstance(other, RouterError)
    assert other.param == "messages"
