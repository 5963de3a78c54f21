"""The Responses API with the unmodified OpenAI clients, on both real engines and over restarts of the gateway."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import openai
import pydantic
import pytest
from openai.types.responses import Response

from tests.support import npm
from tests.support.gateway_process import GatewayProcess
from tests.support.response_samples import HONOURED, MODEL_DEPENDENT, PATH, PLAIN, REFUSED, REFUSED_PARTS
from tests.support.waiting import wait_until

StartGateway = Callable[..., GatewayProcess]
ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
SCRIPT = Path(__file__).parent / "clients" / "responses_client.mjs"


class Animal(pydantic.BaseModel):
    """Bounded everywhere, so that a random model comes to an end."""

    kind: Literal["fox", "bear"]
    name: Annotated[str, pydantic.Field(max_length=6)]
    legs: Annotated[int, pydantic.Field(ge=0, le=99)]


class Weather(pydantic.BaseModel):
    """Tell the weather."""

    town: Annotated[str, pydantic.Field(max_length=6)]
    unit: Literal["C", "F"]


def client_of(gateway: GatewayProcess) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0)


@pytest.fixture
def client(tooled_gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    with client_of(tooled_gateway) as client:
        yield client


def strict(answer: Response) -> Response:
    """Read an answer once more, with every type of the client's models held: the client itself does not."""
    return Response.model_validate(answer.model_dump(by_alias=True))


@ENGINES
def test_stream_whole_and_chat_give_the_same_greedy_text(client: openai.OpenAI, engine: str) -> None:
    common: dict[str, Any] = {"model": f"tooled@{engine}", "temperature": 0}
    whole = client.responses.create(**common, input="Say hello to the fox.", max_output_tokens=12)
    events = list(client.responses.create(**common, input="Say hello to the fox.", max_output_tokens=12, stream=True))
    chat = client.chat.completions.create(
        **common, messages=[{"role": "user", "content": "Say hello to the fox."}], max_tokens=12
    )
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole.output_text == chat.choices[0].message.content
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.incomplete"
    assert strict(whole).status == strict(last.response).status == "incomplete"
    assert whole.incomplete_details is not None
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert whole.usage is not None
    assert chat.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (chat.usage.prompt_tokens, 12)
    assert (whole.model_extra or {})["timings"]["engine"] == engine


@ENGINES
def test_three_turns_go_on_from_each_other_and_share_the_cache(client: openai.OpenAI, engine: str) -> None:
    cached: list[int] = []
    previous: str | None = None
    texts: list[str] = []
    for text in ("My name is Reynard.", "I live in a wood.", "Who am I?"):
        answer = client.responses.create(
            model=f"tooled@{engine}", input=text, previous_response_id=previous, temperature=0, max_output_tokens=8
        )
        assert answer.usage is not None
        cached.append(answer.usage.input_tokens_details.cached_tokens)
        previous = answer.id
        texts += [text, answer.output_text]
    assert cached[1] > 0
    assert cached[2] > cached[1]
    assert previous is not None
    items: list[Any] = list(client.responses.input_items.list(previous, order="asc", limit=2))
    assert [item.content[0].text for item in items] == texts[:-1]


@ENGINES
def test_parse_and_the_stream_helper_give_pydantic_objects(client: openai.OpenAI, engine: str) -> None:
    common: dict[str, Any] = {"model": f"tooled@{engine}", "input": "Describe the fox.", "temperature": 0}
    parsed = client.responses.parse(**common, text_format=Animal, max_output_tokens=400)
    assert isinstance(parsed.output_parsed, Animal)
    with client.responses.stream(**common, text_format=Animal, max_output_tokens=400) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert final.output_parsed == parsed.output_parsed
    (done,) = [event for event in events if event.type == "response.output_text.done"]
    assert done.parsed == parsed.output_parsed


@ENGINES
def test_tools_are_called_and_their_results_go_back(client: openai.OpenAI, engine: str) -> None:
    """The loop that every agent runs, with stored responses and without."""
    common: dict[str, Any] = {
        "model": f"tooled@{engine}",
        "tools": [openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}],
        "temperature": 0,
        "max_output_tokens": 400,
    }
    asked: list[Any] = [{"role": "user", "content": "How is the weather?"}]
    answer = client.responses.create(**common, input=asked, tool_choice="required", parallel_tool_calls=False)
    (call,) = [item for item in strict(answer).output if item.type == "function_call"]
    Weather.model_validate_json(call.arguments)
    with client.responses.stream(
        **common, input=asked, tool_choice={"type": "function", "name": "Weather"}, parallel_tool_calls=False
    ) as stream:
        events = list(stream)
    pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    assert "".join(pieces) == call.arguments
    output: Any = {"type": "function_call_output", "call_id": call.call_id, "output": json.dumps({"degrees": 21})}
    common["max_output_tokens"] = 12
    stored = client.responses.create(**common, input=[output], previous_response_id=answer.id)
    sent = client.responses.create(**common, input=[*asked, *answer.output, output], store=False)
    assert stored.output_text == sent.output_text
    assert stored.usage is not None
    assert sent.usage is not None
    assert stored.usage.input_tokens == sent.usage.input_tokens > answer.usage.input_tokens


def test_responses_are_retrieved_and_deleted(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="tooled", input="hi", temperature=0, max_output_tokens=4)
    assert client.responses.retrieve(answer.id) == answer
    client.responses.delete(answer.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(answer.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="tooled", input="hi", previous_response_id=answer.id)
    assert caught.value.code == "previous_response_not_found"
    counted = client.responses.input_tokens.count(model="tooled", input="hi")
    assert answer.usage is not None
    assert counted.input_tokens == answer.usage.input_tokens


def test_background_responses_are_polled_and_followed(client: openai.OpenAI) -> None:
    polled = client.responses.create(model="tooled", input="hi", temperature=0, max_output_tokens=8, background=True)
    assert polled.status in {"queued", "in_progress"}
    wait_until(lambda: client.responses.retrieve(polled.id).status == "incomplete", "the response ends")
    stream = client.responses.create(
        model="tooled", input="hi", temperature=0, max_output_tokens=8, background=True, stream=True
    )
    first = [next(stream) for _ in range(4)]
    stream.close()
    assert first[0].type == "response.created"
    rest = list(client.responses.retrieve(first[0].response.id, stream=True, starting_after=first[-1].sequence_number))
    assert [event.sequence_number for event in [*first, *rest]] == list(range(4 + len(rest)))
    assert rest[-1].type == "response.incomplete"
    assert rest[-1].response.output_text == client.responses.retrieve(polled.id).output_text


def test_a_background_response_is_cancelled_before_it_ends(start_gateway: StartGateway, tmp_path: Path) -> None:
    (tmp_path / "token-3").touch()  # there it stands still
    gateway = start_gateway(fake_options={"gates": str(tmp_path)})
    with client_of(gateway) as client:
        held = client.responses.create(model="tiny", input="hi", background=True)
        wait_until(lambda: client.responses.retrieve(held.id).status == "in_progress", "the response has begun")
        assert client.responses.cancel(held.id).status == "cancelled"
        assert client.responses.retrieve(held.id).status == "cancelled"


@ENGINES
def test_every_honoured_field_is_served_and_every_other_refused_by_name(
    tooled_gateway: GatewayProcess, engine: str
) -> None:
    with tooled_gateway.client() as client:
        for field, sample in HONOURED.items():
            answer = client.post(PATH, json={**PLAIN, **sample, "model": f"tooled@{engine}"})
            if answer.status_code == 400 and field in MODEL_DEPENDENT:
                assert answer.json()["error"]["code"] == "unsupported_parameter", (field, answer.text)
                continue
            assert answer.status_code == 200, (field, answer.text)
            assert "failed" not in answer.text, (field, answer.text)
        for sample, param in [*REFUSED.values(), *REFUSED_PARTS.values()]:
            answer = client.post(PATH, json={**PLAIN, **sample, "model": f"tooled@{engine}"})
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_stored_responses_survive_a_restart_and_a_kill(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    with client_of(gateway) as client:
        first = client.responses.create(model="tiny", input="hello fox", temperature=0, max_output_tokens=6)
        second = client.responses.create(
            model="tiny", input="and bear", temperature=0, max_output_tokens=6, previous_response_id=first.id
        )
    assert gateway.stop() == 0
    gateway = start_gateway()
    with client_of(gateway) as client:
        assert client.responses.retrieve(second.id) == second
        third = client.responses.create(
            model="tiny", input="who?", temperature=0, max_output_tokens=6, previous_response_id=second.id
        )
        workers = gateway.workers()
        for worker in workers:
            worker.suspend()
        running = client.responses.create(model="tiny", input="go on", background=True, max_output_tokens=150)
        assert client.responses.retrieve(running.id).status in {"queued", "in_progress"}
        assert client.responses.retrieve(third.id) == third, "read after what was written behind the answers"
        os.kill(gateway.pid, signal.SIGKILL)
    wait_until(lambda: not any(worker.is_running() for worker in workers), "the workers are gone")
    gateway.stop()
    gateway = start_gateway()
    with client_of(gateway) as client:
        assert client.responses.retrieve(third.id).output_text == third.output_text
        wait_until(lambda: client.responses.retrieve(running.id).status == "failed", "it is told as failed")
        cut_off = client.responses.retrieve(running.id)
        assert cut_off.error is not None
        assert "server ended" in cut_off.error.message


def test_the_npm_client_streams_goes_on_and_looks_up(tooled_gateway: GatewayProcess, node_folder: Path) -> None:
    results = npm.results_of(node_folder, SCRIPT, f"{tooled_gateway.url}/v1", "tooled@llamacpp")
    assert results["streamed"] == results["whole"] != ""
    assert results["cached"] > 0
    assert results["inputTexts"][0] == "Say hello."
    assert results["status"] == "incomplete"
    assert results["deleted"] == 404
