"""The unmodified OpenAI Python client against a real server."""

from collections.abc import Iterator

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.gateway_process import GatewayProcess

ENGINES = ["llamacpp", "mlx"]
FOX: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Say hello to the fox."}]


@pytest.fixture
def client(shared_gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{shared_gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def real_client(real_gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{real_gateway.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("engine", ENGINES)
def test_chat_streamed_and_whole_give_the_same_greedy_text(client: openai.OpenAI, engine: str) -> None:
    whole = client.chat.completions.create(model=f"tiny@{engine}", messages=FOX, max_tokens=12, temperature=0)
    stream = client.chat.completions.create(
        model=f"tiny@{engine}",
        messages=FOX,
        max_tokens=12,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert whole.choices[0].finish_reason == choices[-1].finish_reason == "length"
    assert "".join(choice.delta.content or "" for choice in choices) == whole.choices[0].message.content
    assert [choice.delta.role for choice in choices] == ["assistant"] + [None] * (len(choices) - 1)
    assert whole.usage is not None
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 12
    assert len({chunk.id for chunk in chunks}) == 1
    assert (whole.model_extra or {})["timings"]["engine"] == engine


def test_both_engines_give_the_same_greedy_text_on_the_same_weights(client: openai.OpenAI) -> None:
    texts = [
        client.completions.create(model=f"tiny@{engine}", prompt="the fox", max_tokens=24, temperature=0)
        .choices[0]
        .text
        for engine in ENGINES
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_completions_take_a_text_texts_and_token_ids(client: openai.OpenAI, engine: str) -> None:
    model = f"tiny@{engine}"
    one = client.completions.create(model=model, prompt="abc", max_tokens=5, temperature=0)
    two = client.completions.create(model=model, prompt=["abc", "xyz"], max_tokens=5, temperature=0)
    ids = client.completions.create(model=model, prompt=list(b"abc"), max_tokens=5, temperature=0)
    many = client.completions.create(model=model, prompt=[list(b"abc"), list(b"xyz")], max_tokens=5, temperature=0)
    assert [choice.index for choice in two.choices] == [0, 1]
    assert [choice.text for choice in two.choices] == [choice.text for choice in many.choices]
    assert one.choices[0].text == two.choices[0].text
    # Byte b has id b in GPT-2's order only for the moved bytes; what matters is that ids are taken as they are.
    assert ids.usage is not None
    assert ids.usage.prompt_tokens == 3


def test_a_streamed_completion_of_two_prompts_keeps_them_apart(client: openai.OpenAI) -> None:
    whole = client.completions.create(model="tiny", prompt=["abc", "xyz"], max_tokens=8, temperature=0)
    texts = {0: "", 1: ""}
    for chunk in client.completions.create(
        model="tiny", prompt=["abc", "xyz"], max_tokens=8, temperature=0, stream=True
    ):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert [texts[0], texts[1]] == [choice.text for choice in whole.choices]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_same_seed_gives_the_same_text(client: openai.OpenAI, engine: str) -> None:
    def text(seed: int) -> str | None:
        answer = client.chat.completions.create(
            model=f"tiny@{engine}", messages=FOX, max_tokens=12, temperature=1.0, seed=seed
        )
        return str(answer.choices[0].message.content)

    assert text(7) == text(7)
    assert text(7) != text(8)


def test_models_are_listed_and_described(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "mlxr"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("no-such-model")
    assert caught.value.code == "model_not_found"


def test_errors_reach_the_client_as_its_own_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=FOX)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=FOX, top_logprobs=21, logprobs=True)
    assert caught.value.param == "top_logprobs"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="x" * 2000, max_tokens=5)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="tiny", prompt="x", temperature=-1)
    assert caught.value.param == "temperature"


@pytest.mark.real_model
@pytest.mark.parametrize("engine", ENGINES)
def test_the_real_model_answers_on_both_engines(real_client: openai.OpenAI, engine: str) -> None:
    messages: list[ChatCompletionMessageParam] = [
        {"role": "user", "content": "What is the capital of France? Answer in one sentence."}
    ]
    num_tokens = 16 if engine == "llamacpp" else 10
    whole = real_client.chat.completions.create(
        model=f"smollm2-135m-instruct@{engine}", messages=messages, max_tokens=num_tokens, temperature=0
    )
    assert "Paris" in (whole.choices[0].message.content or "")
    stream = real_client.chat.completions.create(
        model=f"smollm2-135m-instruct@{engine}", messages=messages, max_tokens=num_tokens, temperature=0, stream=True
    )
    deltas = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(deltas) == whole.choices[0].message.content
    assert (whole.model_extra or {})["timings"]["engine"] == engine
