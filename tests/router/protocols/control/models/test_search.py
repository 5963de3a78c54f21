"""Searching the hub, over HTTP: what it has, and what fits here."""

import pytest

from registry.hub import HubSettings
from tests.support.fake_openai import FakeFront, with_front
from tests.support.stub_hub import StubHub

SEARCH = "/v1/mlxr/hub/search"


@with_front()
async def test_what_the_hub_has_is_told_with_what_fits(front: FakeFront) -> None:
    with StubHub({"tester/Tiny-GGUF": {"tiny-Q4_0.gguf": b"x" * 4000}, "other/Large": {"README.md": b"#"}}) as hub:
        front.hub = HubSettings(endpoint=hub.url)
        found = (await front.client.get(SEARCH, params={"q": "tiny"})).json()
        assert found["weights_budget_bytes"] > 4000
        choice = {"engine": "llamacpp", "quantization": "Q4_0", "size_bytes": 4000, "fits": True}
        model = {"name": "tester/Tiny-GGUF", "downloads": 5, "is_gated": False, "choices": [choice], "fits": True}
        assert found["models"] == [model]
        await front.client.get(SEARCH, params={"q": "tiny @tester", "engine": "mlx", "limit": "3"})
        asked = next(seen.path for seen in reversed(hub.seen) if seen.path.startswith("/api/models?"))
        assert {"search=tiny", "author=tester", "filter=mlx", "limit=3"} <= set(asked.partition("?")[2].split("&"))
        await front.client.get(SEARCH, params={"q": "@tester"})
        assert any("search=&" in seen.path and "author=tester" in seen.path for seen in hub.seen)


@pytest.mark.parametrize(
    ("query", "param"), [({}, "q"), ({"q": "x", "limit": "101"}, "limit"), ({"q": "x", "engine": "cuda"}, "engine")]
)
@with_front()
async def test_nonsense_is_refused_by_its_name(front: FakeFront, query: dict[str, str], param: str) -> None:
    refused = await front.client.get(SEARCH, params=query)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)


@with_front()
async def test_a_hub_that_may_not_be_asked_is_said_so(front: FakeFront) -> None:
    front.hub = HubSettings(is_offline=True)
    refused = await front.client.get(SEARCH, params={"q": "tiny"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "hub_offline")
