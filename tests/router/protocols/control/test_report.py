"""POST /v1/mlxr/report over the fake engine, which answers with the colours that it sees."""

import asyncio
import json
from typing import Any

import pytest

from backends.fake.engine import FakeOptions
from router.config import Config, ImagesConfig
from router.protocols.control import report
from router.protocols.serving import Answering, RequestService
from router.requests.register import RunningRequest
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, data_uri, photo

PATH = "/v1/mlxr/report"
WHOLE = '{"title":"{colours}","description":"","objects":[],"text":[],"colours":[]}'
RED, BLUE = (data_uri(photo(colour=colour)) for colour in ("red", "blue"))
SIMPLE: dict[str, Any] = {"type": "object", "properties": {"title": {"type": "string"}}}


async def reported(front: FakeFront, **fields: Any) -> Any:
    response = await front.client.post(PATH, json=fields)
    assert response.status_code == 200, response.text
    return response.json()


async def refused(front: FakeFront, **fields: Any) -> tuple[int, str, str]:
    response = await front.client.post(PATH, json=fields)
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


@with_front(llamacpp=FakeOptions(answers=(("", WHOLE),)))
async def test_pictures_become_one_report_and_the_answer_says_what_was_seen(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    answer = await reported(front, images=[RED, BLUE])
    assert answer["report"] == {"title": "red, blue", "description": "", "objects": [], "text": [], "colours": []}
    assert (answer["model"], answer["attempts"]) == (SEEING, 1)
    assert [(seen["original"], seen["cached"]) for seen in answer["images"]] == [([90, 60], False)] * 2
    assert answer["usage"]["prompt_tokens_details"]["image_tokens"] == sum(seen["tokens"] for seen in answer["images"])
    assert (await reported(front, images=[RED], model=SEEING))["images"][0]["cached"]


@with_front(llamacpp=FakeOptions(answers=(("one word", '{"title":"{colours}"}'), ("", "{}"))))
async def test_a_schema_and_a_prompt_of_the_users_own(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    answer = await reported(front, images=[BLUE], schema=SIMPLE, prompt="In one word:")
    assert answer["report"] == {"title": "blue"}
    assert (await reported(front, images=[BLUE], schema=SIMPLE))["report"] == {}


@with_front(llamacpp=[FakeOptions(answers=(("", '{"title":"' + "x" * 100 + '"}'),))])
async def test_a_report_that_was_cut_is_asked_for_once_more_and_never_given_out_half(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    answer = await reported(front, images=[RED], schema=SIMPLE, max_tokens=60)
    assert (answer["attempts"], answer["report"]) == (2, {"title": "x" * 100})
    status, code, words = await refused(front, images=[RED], schema=SIMPLE, max_tokens=50)
    assert (status, code) == (400, "report_cut")
    assert words.startswith("max_tokens: the report was not complete after 100 tokens")


@with_front(
    config=make_config(context_length=512), llamacpp=FakeOptions(answers=(("", '{"title":"' + "x" * 500 + '"}'),))
)
async def test_a_report_that_fills_the_context_is_not_asked_for_again(
    front: FakeFront, *, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_seeing_model(front.registry)
    started: list[str] = []
    start = RequestService.start

    def noted(serving: RequestService, answering: Answering, **more: Any) -> RunningRequest:
        started.append(answering.answer_id)
        return start(serving, answering, **more)

    monkeypatch.setattr(RequestService, "start", noted)
    _, code, words = await refused(front, images=[RED], schema=SIMPLE, prompt="P")
    assert (code, len(started)) == ("report_cut", 1)
    assert 0 < int(words.partition("after ")[2].split()[0]) < 512 - 256


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({}, 400, "images"),
        ({"images": []}, 400, "images"),
        ({"images": ["data:image/png;base64,AAAA"]}, 400, "images[0]"),
        ({"images": [RED, "https://example.org/a.png"]}, 400, "images[1]"),
        ({"images": [RED], "schema": {"type": "nonsense"}}, 400, "schema"),
        ({"images": [RED], "model": "m"}, 400, "images[0]: the model 'm' cannot see"),
        ({"images": [RED], "model": "nobody"}, 404, "nobody"),
        ({"images": [RED], "max_tokens": 0}, 400, "max_tokens"),
    ],
)
@with_front(llamacpp=FakeOptions(answers=(("", WHOLE),)))
async def test_what_cannot_be_reported_is_told_by_its_field(
    front: FakeFront, *, fields: dict[str, Any], status: int, words: str
) -> None:
    add_seeing_model(front.registry)
    found = await refused(front, **fields)
    assert found[0] == status, found
    assert words in found[2]


@with_front()
async def test_where_nobody_sees_a_model_has_to_be_named(front: FakeFront) -> None:
    status, code, words = await refused(front, images=[RED])
    assert (status, code) == (400, "missing_required_parameter")
    assert "mlxr models pull" in words


def with_stand_in(name: str) -> Config:
    return Config(
        engine=make_config().engine,
        generation=make_config().generation,
        limits=make_config().limits,
        images=ImagesConfig(model=name),
    )


@with_front(config=with_stand_in("second"), llamacpp=FakeOptions(answers=(("", WHOLE),)))
async def test_the_configs_model_reports_where_the_request_names_none(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    add_seeing_model(front.registry, "second")
    assert (await reported(front, images=[RED]))["model"] == "second"


@with_front(llamacpp=FakeOptions(answers=(("", WHOLE),)))
async def test_it_is_background_work_that_is_listed_and_ends_with_its_client(front: FakeFront) -> None:
    add_seeing_model(front.registry)
    front.fleet.hold("decode")
    asking = asyncio.create_task(front.client.post(PATH, json={"images": [RED]}))
    await front.fleet.until(lambda: bool(front.running), "it runs")
    (listed,) = (await front.client.get("/v1/mlxr/requests")).json()["requests"]
    assert (listed["protocol"], listed["priority"], listed["id"][:7]) == ("mlxr", "background", "report-")
    asking.cancel()
    await front.fleet.until(lambda: not front.running, "it has ended")
    front.fleet.let_go("decode")


def test_the_usual_schema_has_an_end() -> None:
    """Every text and list of it is bounded, so that a model that repeats itself comes to an end."""

    def check(schema: dict[str, Any]) -> None:
        match schema["type"]:
            case "object":
                assert schema["additionalProperties"] is False
                for each in schema["properties"].values():
                    check(each)
            case "array":
                assert schema["maxItems"] <= 8
                check(schema["items"])
            case "string":
                assert schema["maxLength"] <= 400
            case "integer":
                assert schema["maximum"] < 1000

    check(report.SCHEMA)
    assert json.dumps(report.SCHEMA)
