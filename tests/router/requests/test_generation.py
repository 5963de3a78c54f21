from typing import Any

import msgspec
import pytest

from backends.errors import (
    CacheGrowthError,
    ConstraintError,
    EngineError,
    ImageError,
    TemplateError,
    UnsupportedByModelError,
)
from backends.fake.engine import FakeOptions
from backends.wire.messages import Failed
from backends.wire.prompts import ForkPrompt, TextPrompt, TokenPrompt
from backends.wire.request import Constraint, ConstraintKind, OutputSpec, SamplingParams, SequenceSpec
from registry.engines import Engine, EngineKind
from router.errors import (
    ContextLengthExceededError,
    InsufficientMemoryError,
    InvalidRequestError,
    RouterError,
    UnsupportedFieldError,
)
from router.models.model_request import ModelRequest
from router.requests.failures import error_of
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent
from router.requests.request import NUM_SEEDS, GenerationRequest, generate_messages
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
            assert isinstance(event, OutputEvent)
            texts[event.index] += event.output.text
            if event.end is not None:
                ends[event.index] = event.end
    assert texts[0] == texts[2] != texts[1]
    assert {end.reason for end in ends.values()} == {"stop"}
    assert [ends[index].usage.num_prompt_tokens for index in range(3)] == [2, 3, 2]
    assert generation.choice is not None
    assert generation.choice.target.engine == Engine(EngineKind.LLAMACPP)


@with_fleet(make_config(parallel=1), llamacpp=FakeOptions(decode_s=0.005))
async def test_leaving_the_iteration_gives_the_place_back(fleet: FakeFleet) -> None:
    events = fleet.generation(max_tokens=None).events()
    await anext(events)
    await events.aclose()
    assert await fleet.answer(max_tokens=2)


@with_fleet(llamacpp=FakeOptions(context_length=16))
async def test_one_bad_prompt_of_several_ends_them_all(fleet: FakeFleet) -> None:
    _, error = await fleet.outcome(prompts=["ok", "x" * 16])
    assert isinstance(error, ContextLengthExceededError)
    assert (error.num_prompt_tokens, error.context_length, error.param) == (16, 16, "prompt")
    await fleet.until(
        lambda: all(w.client is not None and not w.client.progress for w in fleet.supervisor.workers),
        "nothing runs on",
    )
    assert await fleet.answer(prompts=["ok"])


@with_fleet(llamacpp=FakeOptions(fail_at_token=2))
async def test_an_engine_error_ends_the_request_and_keeps_the_worker(fleet: FakeFleet) -> None:
    with pytest.raises(EngineError, match="fake failure before token 2"):
        await fleet.answer()
    assert await fleet.answer(max_tokens=2)
    assert fleet.num_launches["llamacpp"] == 1


@with_fleet(llamacpp=FakeOptions(fail_at_token=4, decode_s=0.02))
async def test_what_came_before_a_failure_is_read_before_it(fleet: FakeFleet) -> None:
    """Also where the reader was slow, and finds both at once."""
    generation = fleet.generation(max_tokens=8)
    read: list[GenerationEvent] = list(await generation.next() or [])

    async def read_on() -> None:
        while (events := await generation.next()) is not None:
            read.extend(events)

    stream = generation._stream
    assert stream is not None
    await fleet.until(lambda: any(isinstance(event, Failed) for event in stream._events), "it has failed")
    assert len(stream._events) > 1
    with pytest.raises(EngineError, match="before token 4"):
        await read_on()
    assert sum(event.num_tokens for event in read if isinstance(event, OutputEvent)) == 4


@pytest.mark.parametrize(
    ("prompt", "words"),
    [(TokenPrompt([1, 2, 999]), "token id 999 is not in the vocabulary"), (TokenPrompt([]), "empty")],
)
def test_a_bad_prompt_names_the_requests_own_field(prompt: TokenPrompt, words: str) -> None:
    @with_fleet()
    async def check(fleet: FakeFleet) -> None:
        generation = fleet.generation()
        generation.request = msgspec.structs.replace(generation.request, prompts=(prompt,))
        with pytest.raises(InvalidRequestError, match=words) as caught:
            await collect(generation)
        assert caught.value.param == "prompt"

    check()


async def collect(generation: Generation) -> list[GenerationEvent]:
    return [event async for events in generation.events() for event in events]


def test_every_failure_of_a_worker_becomes_the_error_of_its_kind() -> None:
    template = error_of(Failed(1, TemplateError.code, "no template", "messages"), "messages")
    assert isinstance(template, TemplateError)
    assert template.param == "messages"
    assert isinstance(error_of(Failed(1, EngineError.code, "boom"), "messages"), EngineError)
    full = error_of(Failed(1, CacheGrowthError.code, "it cannot grow"), "messages")
    assert isinstance(full, InsufficientMemoryError)
    assert str(full) == "it cannot grow"
    other = error_of(Failed(1, "invalid_prompt", "bad id", "prompt"), "messages")
    assert isinstance(other, RouterError)
    assert other.param == "messages"


def test_the_workers_own_param_is_kept_unless_it_is_the_prompt() -> None:
    grammar = error_of(Failed(1, ConstraintError.code, "no root", "grammar"), "messages")
    assert isinstance(grammar, ConstraintError)
    image = error_of(Failed(1, ImageError.code, "the image is empty; send it", "messages[0].content[1]"), "messages")
    assert isinstance(image, ImageError)
    assert image.param == "messages[0].content[1]"
    assert grammar.param == "grammar"
    unsupported = error_of(Failed(1, UnsupportedByModelError.code, "no infill", "suffix"), "prompt")
    assert isinstance(unsupported, UnsupportedFieldError)
    assert unsupported.param == "suffix"
    bias = error_of(Failed(1, "invalid_prompt", "no such id", "logit_bias"), "prompt")
    assert isinstance(bias, InvalidRequestError)
    assert bias.param == "logit_bias"


def request_for(**headers: Any) -> GenerationRequest:
    plain: dict[str, Any] = {"sampling": SamplingParams(), "max_tokens": 5} | headers
    spec = SequenceSpec(**{name: plain.pop(name) for name in SequenceSpec.__struct_fields__ if name in plain})
    return GenerationRequest(
        model_request=ModelRequest("m"), prompts=(TextPrompt("a"), TextPrompt("b")), spec=spec, **plain
    )


def test_answers_to_one_prompt_are_forks_of_its_first_with_seeds_that_follow_it() -> None:
    request = request_for(num_choices=3, sampling=SamplingParams(seed=NUM_SEEDS - 2))
    messages = generate_messages(request)
    assert len(messages) == request.num_sequences == 6
    assert [message.prompt for message in messages] == [
        *(TextPrompt("a"), ForkPrompt(0), ForkPrompt(0)),
        *(TextPrompt("b"), ForkPrompt(3), ForkPrompt(3)),
    ]
    assert [message.spec.sampling.seed for message in messages] == [NUM_SEEDS - 2, NUM_SEEDS - 1, 0] * 2
    unseeded = generate_messages(request_for(num_choices=2))
    assert [message.spec.sampling.seed for message in unseeded] == [None] * 4


def test_the_first_answer_of_several_is_the_one_that_a_single_answer_would_be() -> None:
    sampling = SamplingParams(seed=7)
    assert (
        generate_messages(request_for(num_choices=2, sampling=sampling))[0]
        == (generate_messages(request_for(sampling=sampling))[0])
    )


@pytest.mark.parametrize("is_told_once", [False, True])
def test_the_first_answer_to_a_prompt_tells_of_it(*, is_told_once: bool) -> None:
    sampling = SamplingParams(seed=7, num_prompt_logprobs=2)
    request = request_for(num_choices=2, sampling=sampling, echoes=True, is_prompt_told_once=is_told_once)
    specs = [message.spec for message in generate_messages(request)]
    told = [(spec.echoes, spec.sampling.num_prompt_logprobs) for spec in specs]
    assert told == [(True, 2), (False, None) if is_told_once else (True, 2)] * 2
    assert [spec.sampling.seed for spec in specs] == [7, 8] * 2


def test_every_sequence_gets_the_constraint_and_the_output_wish() -> None:
    constraint = Constraint(ConstraintKind.REGEX, "a+", "regex")
    output = OutputSpec(splits_reasoning=False)
    messages = generate_messages(request_for(num_choices=2, constraint=constraint, output=output))
    assert {(m.spec.constraint == constraint, m.spec.output == output) for m in messages} == {(True, True)}


@with_fleet(llamacpp=FakeOptions(answer_tokens=2))
async def test_progress_comes_before_the_output_when_it_is_asked_for(fleet: FakeFleet) -> None:
    events = await collect(fleet.generation(prompts=["x" * 1500], wants_progress=True))
    progress = [event for event in events if isinstance(event, ProgressEvent)]
    assert events[: len(progress)] == progress
    assert progress[0] == ProgressEvent(0, 0, 1500, 0)
    done = [event.num_done for event in progress]
    assert done == sorted(done)
    assert len(set(done)) >= 3
    assert {event.num_total for event in progress} == {1500}


@with_fleet(llamacpp=[FakeOptions(crash_at_token=0, prefill_s_per_token=1e-5), FakeOptions()])
async def test_a_worker_that_dies_after_progress_and_before_output_is_replaced(fleet: FakeFleet) -> None:
    events = await collect(fleet.generation(prompts=["x" * 1500], wants_progress=True))
    assert fleet.num_launches["llamacpp"] == 2
    assert [event for event in events if isinstance(event, OutputEvent) and event.end is not None]
    assert sum(event == ProgressEvent(0, 0, 1500, 0) for event in events) >= 2
