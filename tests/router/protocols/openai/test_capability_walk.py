"""The table of capabilities, tried over HTTP: every "no" is a 400 that names the field, every "yes" is served.

The workers run the fake engine here; the end-to-end tests walk the same samples over the real ones.
"""

from typing import Any

import pytest

from registry.engines import EngineKind
from router.protocols.control.capabilities import field_capabilities
from router.protocols.fields.support import Support
from tests.support.capability_samples import CHAT, COMPLETIONS, HONOURED, MODEL_DEPENDENT, PATHS, PLAIN, REFUSED
from tests.support.fake_openai import FakeFront, with_front

Body = dict[str, Any]

ROWS = [(row, row.engines[EngineKind.LLAMACPP]) for row in field_capabilities([EngineKind.LLAMACPP])]
"""Fields, and what becomes of them on the engine that serves here."""


async def ask(front: FakeFront, endpoint: str, sample: Body) -> Any:
    return await front.client.post(PATHS[endpoint], json={"model": "m"} | PLAIN[endpoint] | sample)


@with_front()
async def test_every_no_is_a_400_that_names_the_field_before_any_model_is_touched(front: FakeFront) -> None:
    not_honoured = [row for row, support in ROWS if support in (Support.NEUTRAL_ONLY, Support.REFUSED)]
    refused = [row for row in not_honoured if set(row.endpoints) & set(PATHS)]
    assert len(refused) >= 19
    for row in refused:
        sample, param = REFUSED[row.name]
        for endpoint in set(row.endpoints) & set(PATHS):
            for stream in (False, True):
                response = await ask(front, endpoint, {"stream": stream} | sample)
                error = response.json()["error"]
                assert (response.status_code, error["code"]) == (400, "unsupported_parameter"), (row.name, error)
                assert error["param"] == param
                assert param in error["message"]
                assert (row.hint or "") in error["message"]
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}


@with_front()
async def test_every_neutral_value_is_accepted(front: FakeFront) -> None:
    for row, support in ROWS:
        if support is Support.HONOURED or "[]" in row.name or "." in row.name:
            continue
        for endpoint in set(row.endpoints) & set(PATHS):
            for value in row.neutral:
                response = await ask(front, endpoint, {row.name: value, "max_tokens": 1})
                assert response.status_code == 200, (row.name, value, response.text)


@pytest.mark.parametrize("endpoint", [CHAT, COMPLETIONS])
@with_front()
async def test_every_yes_is_served_or_refused_for_the_models_sake(front: FakeFront, *, endpoint: str) -> None:
    for name, sample in HONOURED[endpoint].items():
        response = await ask(front, endpoint, sample)
        if name in MODEL_DEPENDENT and response.status_code == 400:
            assert response.json()["error"]["code"] == "unsupported_parameter", (name, response.text)
            continue
        assert response.status_code == 200, (name, response.text)
        assert '"error"' not in response.text, (name, response.text)
