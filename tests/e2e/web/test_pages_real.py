"""Models and the machine with the real engines and the bundled model: what is shown of a swap is what was measured."""

from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import BUNDLED
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def test_a_swap_of_the_real_engines_is_shown_with_its_memory(browser: "Browser", real_gateway: GatewayProcess) -> None:
    real_gateway.post("/v1/mlxr/models/stop", {"model": BUNDLED})
    opened = Visit(browser, real_gateway.url, viewport={"width": 1100, "height": 820}, color_scheme="light")
    page = opened.page
    page.goto(f"{opened.url}/ui/models")
    card = page.locator(".card").filter(has=page.locator("h3 .note", has_text=BUNDLED))
    card.get_by_text("fits").first.wait_for()
    facts = card.locator(".facts").inner_text()
    page.get_by_label(f"Engine for {BUNDLED}").select_option("mlx")
    page.get_by_role("button", name=f"Load {BUNDLED}").click()
    card.locator(".state.ready").wait_for()
    opened.picture("models-real")
    page.get_by_role("link", name="Machine").click()
    worker = page.get_by_role("region", name="Workers").locator(".card").filter(has_text="mlx")
    worker.locator(".state.ready").wait_for()
    of_mlx = worker.inner_text()
    body = {"model": BUNDLED, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}
    assert real_gateway.post("/v1/chat/completions", body, **{"X-Mlxr-Engine": "llamacpp"}).status_code == 200
    swap = next(each for each in reversed(real_gateway.status()["swaps"]) if each["event"] == "unload")
    rows = page.get_by_role("row").filter(has_text=f"unload {BUNDLED}, mlx")
    row = rows.filter(has_text=f"{swap['freed_bytes'] / 1e6:.0f} MB").first
    row.wait_for()
    shown = page.get_by_role("row").filter(has_text=f"load {BUNDLED}, llamacpp").first.inner_text()
    page.locator(".chart canvas").scroll_into_view_if_needed()
    opened.picture("machine-real")
    print(f"{facts!r}; {of_mlx!r}; {row.inner_text()!r}; {shown!r}")
    opened.close()
    assert opened.problems == []
