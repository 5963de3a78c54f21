"""Hostile grammars, schemas and expressions over HTTP, on both real engines: refused or followed, and nobody dies."""

import json
from typing import Any

import pytest

from tests.backends.constraints.test_hostile import (
    FOLLOWED_EXPRESSIONS,
    FOLLOWED_GRAMMARS,
    FOLLOWED_SCHEMAS,
    REFUSED_EXPRESSIONS,
    REFUSED_GRAMMARS,
    REFUSED_SCHEMAS,
)
from tests.support.capability_samples import CHAT, PATHS, PLAIN
from tests.support.gateway_process import GatewayProcess


def format_of(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "hostile", "schema": schema}}


CASES: list[dict[str, Any]] = [
    *({"grammar": text} for text in [*REFUSED_GRAMMARS.values(), *FOLLOWED_GRAMMARS.values()]),
    *({"regex": text} for text in [*REFUSED_EXPRESSIONS.values(), *FOLLOWED_EXPRESSIONS.values()]),
    *({"response_format": format_of(schema)} for schema in [*REFUSED_SCHEMAS.values(), *FOLLOWED_SCHEMAS.values()]),
]


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_every_case_is_answered_and_the_worker_stays(tooled_gateway: GatewayProcess, engine: str) -> None:
    plain = {**PLAIN[CHAT], "model": f"tooled@{engine}", "max_tokens": 4}
    assert tooled_gateway.post(PATHS[CHAT], plain).status_code == 200
    pids = {worker.pid for worker in tooled_gateway.workers()}
    num_refused = 0
    with tooled_gateway.client() as client:
        for case in CASES:
            answer = client.post(PATHS[CHAT], content=json.dumps({**plain, **case}))
            assert answer.status_code in {200, 400}, (str(case)[:200], answer.text[:500])
            if answer.status_code == 400:
                num_refused += 1
                assert answer.json()["error"]["message"]
        assert client.get("/health").status_code == 200
    assert {worker.pid for worker in tooled_gateway.workers()} == pids
    assert num_refused > len(CASES) / 3
