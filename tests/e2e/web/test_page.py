"""The page in a real browser: it is drawn, safe and accessible, and the browser has nothing to complain about."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.web.said import HOSTILE
from tests.support.browser import Visit

pytestmark = pytest.mark.slow

MAX_FIRST_LOAD_BYTES = 300_000
NARROW: dict[str, Any] = {"viewport": {"width": 390, "height": 780}, "has_touch": True}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "narrow": NARROW,
}


def ask(visit: Visit, text: str, *, of: str = "tiny") -> None:
    """Send a message, and wait for the end of its answer."""
    page = visit.page
    page.select_option("#model", of)
    num = page.locator(".stats").count()
    page.fill("#composer", text)
    page.keyboard.press("Enter")
    page.locator(".stats").nth(num).wait_for()


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_of_the_page_is_accessible(visit: Callable[..., Visit], look: str) -> None:
    opened = visit(**LOOKS[look])
    page = opened.open()
    assert opened.accessibility() == []
    ask(opened, "show-rich")
    page.wait_for_selector(".katex")
    page.wait_for_selector(".hljs-keyword")
    assert opened.accessibility() == []
    page.click("button[aria-label='Settings of this chat']")
    assert opened.accessibility() == []
    page.keyboard.press("Escape")
    if look == "narrow":
        page.click("button[aria-label='Open the menu']")
        assert opened.accessibility() == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_markdown_is_drawn(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "show-rich")
    text = page.locator(".markdown")
    page.wait_for_selector(".katex-display")
    for selector in ("h3", "strong", "em", "del", "table td", "ul ol li", "li.task input", "blockquote", "figure.code"):
        assert text.locator(selector).count() > 0, selector
    assert text.locator("a").get_attribute("rel") == "noopener noreferrer"
    assert "quoted & decoded" in text.inner_text()
    assert "It costs $3000 and $4000." in text.inner_text()
    page.wait_for_selector(".hljs-keyword")


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_what_a_model_writes_does_nothing(visit: Callable[..., Visit], index: int) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, f"hostile-{index:02}")
    for link in page.locator(".markdown a").all():
        assert (link.get_attribute("href") or "").startswith(("http:", "https:", "mailto:"))
    foreign = "script, style, iframe, form, base, svg:not(.icon):not(.katex svg), img, object, embed, use"
    assert page.locator(".markdown").locator(foreign).count() == 0
    assert page.evaluate("window.isHacked") is None
    assert page.locator(".log").bounding_box() is not None


def test_the_first_load_is_small(visit: Callable[..., Visit]) -> None:
    opened = visit()
    sizes: dict[str, int] = {}
    session: Any = opened.page.context.new_cdp_session(opened.page)
    session.send("Network.enable")
    session.on(
        "Network.loadingFinished", lambda event: sizes.update({event["requestId"]: int(event["encodedDataLength"])})
    )
    opened.open()
    opened.page.wait_for_load_state("load")
    num_bytes = sum(sizes.values())
    print(f"first load: {len(sizes)} requests, {num_bytes} bytes on the wire")
    assert len(sizes) > 10
    assert num_bytes < MAX_FIRST_LOAD_BYTES


def test_a_page_that_is_opened_again_asks_for_none_of_its_files(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    page.wait_for_load_state("load")
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    page.goto(f"{opened.url}/ui/compare")
    page.locator(".side-of").first.wait_for()
    page.goto(f"{opened.url}/ui/")
    page.wait_for_selector("#model option", state="attached")
    sizes = page.evaluate(
        """() => performance.getEntriesByType("resource").filter(({name}) => name.includes("/ui/"))
            .map(({transferSize}) => transferSize)"""
    )
    assert len(sizes) > 50
    assert sum(sizes) == 0
