"""What is set on one model, over HTTP."""

from typing import Any

import pytest

from registry.settings import SETTING_KEYS
from tests.support.fake_openai import FakeFront, with_front

SETTINGS = "/v1/mlxr/models/settings"


async def setting(front: FakeFront, key: str) -> dict[str, Any]:
    report = (await front.client.get(SETTINGS, params={"model": "m"})).json()
    assert report["model"] == "m"
    assert [each["key"] for each in report["settings"]] == list(SETTING_KEYS)
    return next(each for each in report["settings"] if each["key"] == key)


@with_front()
async def test_every_setting_is_described_with_what_counts_where_it_is_not_set(front: FakeFront) -> None:
    assert await setting(front, "top_p") == {
        "key": "top_p",
        "what": "Smallest set of tokens whose probability reaches this; 0 = the most probable token alone.",
        "kind": "number",
        "takes": "number >= 0 and <= 1, or null",
        "choices": [],
        "is_free": True,
        "minimum": 0,
        "maximum": 1,
        "is_nullable": True,
        "unit": None,
        "engine": None,
        "is_of_load": False,
        "value": None,
        "otherwise": 1.0,
    }
    threads = await setting(front, "threads")
    assert (threads["engine"], threads["is_of_load"], threads["otherwise"]) == ("llamacpp", True, "auto")
    assert (await setting(front, "engine"))["otherwise"] == "llamacpp"


@with_front()
async def test_settings_are_set_and_taken_away_and_count_from_the_next_request(front: FakeFront) -> None:
    body = {"model": "m", "set": {"engine": "mlx", "max_tokens": 3, "stop": ["END"]}}
    report = (await front.client.patch(SETTINGS, json=body)).json()
    assert {each["key"]: each["value"] for each in report["settings"] if each["value"] is not None} == body["set"]
    answer = (await front.chat(max_tokens=None)).json()
    assert (answer["timings"]["engine"], answer["usage"]["completion_tokens"]) == ("mlx", 3)
    undone = {"model": "m", "set": {"max_tokens": None}, "unset": ["engine"]}
    await front.client.patch(SETTINGS, json=undone)
    assert (await setting(front, "engine"))["value"] is None
    assert (await setting(front, "stop"))["value"] == ["END"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"set": {"top_p": 2}}, "top_p"),
        ({"set": {"top_q": 1}}, "top_q"),
        ({"set": {"template": "{% if"}}, "template"),
        ({"set": {"engine": "cuda"}}, "engine"),
        ({"set": {"vision": "on"}}, "vision"),
        ({"set": {"seed": 1}, "unset": ["seed"]}, "seed"),
        ({"unset": ["sed"]}, "sed"),
        ({"sets": {}}, "sets"),
    ],
)
@with_front()
async def test_what_cannot_be_is_refused_by_its_key_and_nothing_is_set(
    front: FakeFront, body: dict[str, Any], param: str
) -> None:
    both = {"model": "m", **body, "set": {"min_p": 0.5} | body.get("set", {})}
    refused = await front.client.patch(SETTINGS, json=both)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert (await setting(front, "min_p"))["value"] is None


@with_front()
async def test_a_model_must_be_named_and_be_there(front: FakeFront) -> None:
    assert (await front.client.get(SETTINGS)).json()["error"]["param"] == "model"
    assert (await front.client.get(SETTINGS, params={"model": "absent"})).status_code == 404
    assert (await front.client.patch(SETTINGS, json={"model": "absent"})).status_code == 404
