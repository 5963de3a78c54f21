"""What pages of other programs of this machine may ask."""

from router.http.caller import Scope
from router.protocols.table import ENDPOINTS
from tests.support.fake_openai import FakeFront, with_front

STRANGER = "http://localhost:3000"
PRIVATE = ("/v1/conversations", "/v1/files", "/v1/batches", "/v1/mlxr/batches", "/v1/mlxr/conversations")
"""Below these nothing is for them."""

MAY_CHANGE = {Scope.INFERENCE, Scope.PUBLIC}
"""What they ask for by a POST: answers."""


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
        must_be = (
            endpoint.method == "DELETE"
            or endpoint.path.startswith(PRIVATE)
            or (endpoint.method == "POST" and endpoint.scope not in MAY_CHANGE)
        )
        if is_refused is not (must_be or endpoint.is_private):
            wrong.append((endpoint.method, endpoint.path, answer.status_code))
    assert wrong == []


def test_asking_models_is_for_every_page_of_this_machine() -> None:
    assert [row.path for row in ENDPOINTS if row.is_for_own_pages and row.use and row.scope is Scope.INFERENCE] == []
