"""Hostile grammars, schemas and expressions over HTTP, on both real engines: refused or followed, and nobody dies."""

import json
import time
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

# The server's own bound is 2 s for the compilation; the answer's few tokens come on top.
MAX_ANSWER_S = 10.0
MAX_REFUSAL_S = 2.5


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
            started_at = time.monotonic()
            answer = client.post(PATHS[CHAT], content=json.dumps({**plain, **case}))
            duration_s = time.monotonic() - started_at
            assert answer.status_code in {200, 400}, (str(case)[:200], answer.text[:500])
            if answer.status_code == 400:
                num_refused += 1
                assert answer.json()["error"]["message"]
            limit_s = MAX_REFUSAL_S if answer.status_code == 400 else MAX_ANSWER_S
            assert duration_s < limit_s, (str(case)[:200], duration_s)
        assert client.get("/health").status_code == 200
    assert {worker.pid for worker in tooled_gateway.workers()} == pids
    assert num_refused > len(CASES) / 3
