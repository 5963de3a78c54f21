"""Comparing both real engines on the bundled model."""

import time
from typing import TYPE_CHECKING

import pytest

from tests.e2e.conftest import BUNDLED
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def test_both_engines_answer_one_after_the_other(browser: "Browser", real_gateway: GatewayProcess) -> None:
    real_gateway.post("/v1/mlxr/models/stop", {"model": BUNDLED})
    opened = Visit(browser, real_gateway.url, viewport={"width": 1100, "height": 820}, color_scheme="light")
    page = opened.page
    began = time.monotonic()
    page.goto(f"{opened.url}/ui/compare")
    side = page.locator(".side-of")
    for place, engine in enumerate(("llamacpp", "mlx")):
        side.nth(place).get_by_label("Model", exact=True).select_option(BUNDLED)
        side.nth(place).get_by_label("Engine", exact=True).select_option(engine)
    page.get_by_role("button", name="Settings of both answers").click()
    page.get_by_label("Longest answer, in tokens").fill("48")
    page.get_by_role("button", name="Close", exact=True).click()
    page.locator(".differences dt", has_text="Weights").wait_for()
    page.fill("#composer", "Name three colours of the rainbow.")
    page.keyboard.press("Enter")
    page.locator(".column .markdown").first.wait_for()
    first_s = time.monotonic() - began
    page.locator(".column").nth(1).locator(".swaps .unload").wait_for()
    page.locator(".outcome").wait_for()
    second_s = time.monotonic() - began
    page.locator(".setup").scroll_into_view_if_needed()
    opened.picture("compare-real")
    swaps = page.locator(".column").nth(1).locator(".swaps").inner_text()
    print(f"first text {first_s:.2f} s after the page was asked for, both answers {second_s:.2f} s after; {swaps!r}")
    unload, load = real_gateway.status()["swaps"][-2:]
    assert (unload["event"], unload["engine"], load["event"], load["engine"]) == ("unload", "llamacpp", "load", "mlx")
    page.get_by_role("button", name="Differences, word by word").click()
    page.locator(".outcome").get_by_text("of the words are in both").or_(
        page.locator(".outcome").get_by_text("the same, to the letter")
    ).wait_for()
    assert opened.accessibility() == []
    opened.close()
    assert opened.problems == []
