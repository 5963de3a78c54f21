"""Routes of API keys over HTTP, on a server that has none: whose pages may make them."""

import pytest

from tests.support.fake_openai import FakeFront, with_front


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/mlxr/keys"),
        ("POST", "/v1/mlxr/keys"),
        ("DELETE", "/v1/mlxr/keys/mine"),
        ("GET", "/v1/mlxr/keys/usage"),
    ],
)
@with_front()
async def test_pages_of_other_programs_see_and_make_no_keys(front: FakeFront, method: str, path: str) -> None:
    body = {"name": "mine", "scope": "admin"} if method == "POST" else None
    foreign = await front.client.request(method, path, headers={"Origin": "http://localhost:3000"}, json=body)
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert (await front.client.get("/v1/mlxr/keys")).json() == {"keys": []}
