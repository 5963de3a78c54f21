"""The pages beside the chat by keys alone: no click, no focus but what keys move."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.web.test_keyboard import go_to, press, press_word, tab_to
from tests.e2e.web.test_pages import SHORT_RUN
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response, Route

pytestmark = pytest.mark.slow


def choose(page: "Page", selector: str, text: str) -> None:
    """Choose what begins with a text in a list."""
    tab_to(page, selector)
    page.keyboard.type(text)


def stays_in_sight(page: "Page") -> bool:
    """Tell whether what has the focus can be seen, and that it has it."""
    return bool(
        page.evaluate(
            """() => {
                const {top, bottom, left, right} = document.activeElement.getBoundingClientRect();
                const isIn = top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;
                return isIn && document.activeElement.matches(":focus-visible");
            }"""
        )
    )


def flip_and_back_at_once(page: "Page", gateway: GatewayProcess) -> None:
    """Choose an engine, and another while the page does not know yet what became of the first choice.

    By End and Home: letters that follow each other within a second are one word for a list, those after it the next.
    """
    held: list[Route] = []
    holding = {"GET"}  # what changes the engine is a POST
    page.route(
        "**/v1/mlxr/engine",
        lambda route: held.append(route) if route.request.method in holding else route.continue_(),
    )
    tab_to(page, ".top select")
    with page.expect_response("**/v1/mlxr/engine") as flipped:
        page.keyboard.press("End")
    assert flipped.value.json()["engine"] == "mlx"
    with page.expect_response("**/v1/mlxr/status"):
        pass
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
    assert page.locator(".top select").input_value() == "mlx", "what was chosen stands"
    page.keyboard.press("Home")
    with page.expect_response(_is_flip) as flipped:
        holding.clear()
        for route in held:
            route.continue_()
    assert flipped.value.json()["engine"] == "auto"
    assert gateway.get("/v1/mlxr/engine")["engine"] == "auto"


def _is_flip(answer: "Response") -> bool:
    return bool(answer.request.method == "POST" and answer.url.endswith("/v1/mlxr/engine"))


def test_the_machine(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "first-question"}]}
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    page = visit().open()
    go_to(page, "machine")
    page.locator(".chart canvas").wait_for()
    flip_and_back_at_once(page, gateway)
    press_word(page, "Suspend")
    page.get_by_role("button", name="Resume").wait_for()
    press_word(page, "Resume")
    page.get_by_role("button", name="Suspend").wait_for()
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    page.get_by_role("button", name="Unload tiny").wait_for()
    tab_to(page, "button[aria-label^='Unload tiny']")
    assert stays_in_sight(page)
    page.keyboard.press("Enter")
    page.get_by_text("No worker runs").wait_for()
    tab_to(page, ".events")
    assert stays_in_sight(page)
    press_word(page, "What clients sent")
    press_word(page, "Keep the last 20")
    page.get_by_role("button", name="Keep none").wait_for()
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    press_word(page, "Look again")
    page.get_by_role("button", name="Show chatcmpl").wait_for()
    tab_to(page, "button[aria-label^='Show chatcmpl']")
    page.keyboard.press("Enter")
    tab_to(page, "pre.source")
    press_word(page, "Keep none")
    page.get_by_text("No request is kept").wait_for()


def test_a_request_is_cancelled(visit: Callable[..., Visit], gates: Path) -> None:
    gate = gates / "token-2"
    gate.touch()
    page = visit().open()
    page.keyboard.type("show-long")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop").wait_for()
    go_to(page, "machine")
    page.get_by_role("button", name="Cancel").wait_for()
    press_word(page, "Cancel")
    gate.unlink()
    page.get_by_text("Nobody waits for an answer.").wait_for()


def test_the_history(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    assert '"type":"done"' in gateway.post("/v1/mlxr/bench", SHORT_RUN).text
    page = visit().open()
    go_to(page, "history")
    page.locator(".figures").first.wait_for()
    choose(page, ".top select", "Tiny")
    page.get_by_text("would serve").wait_for()
    press_word(page, "Measure")
    page.get_by_text("Measuring").wait_for()
    press_word(page, "Stop")
    page.get_by_role("button", name="Measure").wait_for()
    wait_until(lambda: gateway.get("/v1/mlxr/bench")["running"] is None, "the benchmark is over")
    press_word(page, "Show")
    page.get_by_text("Kept as ").wait_for()
    tab_to(page, "[aria-label='What auto has learned'] select")
    assert stays_in_sight(page)
    page.keyboard.type("16")
    page.get_by_role("region", name="What auto has learned").get_by_text("not measured").first.wait_for()


def test_the_settings(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    items = [{"type": "message", "role": "user", "content": "hello"}]
    assert gateway.post("/v1/conversations", {"items": items}).status_code == 200
    page = visit().open()
    go_to(page, "settings")
    page.locator(".part").first.wait_for()
    tab_to(page, "main input[type='search']")
    page.keyboard.type("limits.max_queue")
    field_id = page.get_by_label("limits.max_queue", exact=True).get_attribute("id")
    tab_to(page, f"[id='{field_id}']")
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("32")
    page.keyboard.press("Enter")
    page.get_by_text("from the file").wait_for()
    assert gateway.status()["queue"]["limit"] == 32
    press(page, "Use the default of limits.max_queue")
    page.get_by_text("from the file").wait_for(state="detached")
    assert gateway.status()["queue"]["limit"] == 64
    press_word(page, "Delete all conversations")
    page.locator("dialog[open]").wait_for()
    assert stays_in_sight(page)
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    assert page.evaluate("document.activeElement.innerText") == "Delete all conversations"
    page.keyboard.press("Enter")
    press_word(page, "Delete")
    page.get_by_text("All conversations are deleted.").first.wait_for()
    assert gateway.get("/v1/mlxr/conversations")["conversations"] == []
