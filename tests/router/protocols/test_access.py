"""What pages of other programs of this machine may ask."""

from router.http.caller import Scope
from router.protocols.table import ENDPOINTS
from tests.support.fake_openai import FakeFront, with_front

STRANGER = "http://localhost:3000"
OPEN = {
    "GET /v1/models",
    "GET /v1/models/{model_id}",
    "GET /v1/responses/{response_id}",
    "GET /v1/responses/{response_id}/input_items",
    "POST /v1/responses/{response_id}/cancel",
    "GET /api/tags",
    "GET /api/ps",
    "POST /api/show",
    "HEAD /api/blobs/{digest}",
    "GET /models",
    "GET /api/v0/models",
    "GET /api/v0/models/{model_id}",
    "GET /v1/mlxr/status",
    "GET /v1/mlxr/capabilities",
    "GET /v1/mlxr/engine",
    "GET /v1/mlxr/engine/explain",
    "GET /v1/mlxr/models/pulls",
    "GET /v1/mlxr/bench",
    "GET /v1/mlxr/bench/{bench_id}",
    "GET /v1/mlxr/keys/me",
    "GET /metrics",
    "GET /v1/metrics",
    "GET /schema",
    "GET /schema/openapi.json",
}
"""Beside asking models and what everybody may know; of answers, those that they have the id of."""


@with_front()
async def test_pages_of_other_programs_may_ask_models_and_nothing_that_is_private_or_changes_more(
    front: FakeFront,
) -> None:
    wrong = []
    for endpoint in ENDPOINTS:
        path = endpoint.url
        for name in endpoint.path_parameters:
            path = path.replace(f"{{{name}}}", "0" if name == "id_slot" else "none")
        request = front.client.build_request(endpoint.method, path, content=b"{}", headers={"Origin": STRANGER})
        answer = await front.client.send(request, stream=True)
        is_refused = answer.status_code == 403
        await answer.aclose()
        is_asking = endpoint.use is not None and endpoint.scope is Scope.INFERENCE
        is_told_everybody = endpoint.scope is Scope.PUBLIC and endpoint.method in {"GET", "HEAD"}
        is_open = is_asking or is_told_everybody or f"{endpoint.method} {endpoint.url}" in OPEN
        if is_refused is is_open:
            wrong.append((endpoint.method, endpoint.path, answer.status_code))
    assert wrong == []
    assert {f"{row.method} {row.url}" for row in ENDPOINTS} >= OPEN


def test_asking_models_is_for_every_page_of_this_machine() -> None:
    assert [row.path for row in ENDPOINTS if row.is_for_own_pages and row.use and row.scope is Scope.INFERENCE] == []
