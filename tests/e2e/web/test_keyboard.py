"""All of it by keys alone: no click, no focus but what keys move."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow

MAX_TABS = 150


def tab_to(page: "Page", selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(MAX_TABS):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by {MAX_TABS} tabs")


def press(page: "Page", label: str) -> None:
    """Press a button by its name."""
    tab_to(page, f"button[aria-label='{label}']")
    page.keyboard.press("Enter")


def go_to(page: "Page", name: str) -> None:
    """Open another page by its link at the side."""
    tab_to(page, f".pages a[href='/ui/{name}']")
    page.keyboard.press("Enter")
    page.locator(f".pages a[href='/ui/{name}'][aria-current='page']").wait_for()


def press_word(page: "Page", word: str) -> None:
    """Press a button by what stands on it."""
    for _ in range(MAX_TABS):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.matches('button, summary') && document.activeElement.innerText")
        if focused and focused.strip() == word:
            page.keyboard.press("Enter")
            return
    raise AssertionError(f"{word} is not reached by {MAX_TABS} tabs")


def test_load_chat_stop_branch_compare_and_delete(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    page = visit().open()
    page.keyboard.press("ControlOrMeta+Shift+M")
    page.keyboard.type("Tiny")
    tab_to(page, ".picker button")
    page.keyboard.press("Enter")
    page.locator(".state.ready").wait_for()

    tab_to(page, "#composer")
    page.keyboard.type("first-question by keys")
    page.keyboard.press("Enter")
    page.get_by_text("The first answer.").wait_for()
    page.locator(".stats").wait_for()

    gate = gates / "token-40"
    gate.touch()
    page.keyboard.type("show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Stopped.", exact=True).first.wait_for()
    gate.unlink()
    page.get_by_role("button", name="Send").wait_for()

    page.keyboard.press("ArrowUp")
    page.locator(".editor textarea:focus").wait_for()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("second-question by keys")
    page.keyboard.press("Enter")
    page.get_by_text("The second answer.").wait_for()
    page.get_by_role("button", name="Send").wait_for()
    press(page, "Previous version")
    page.get_by_text("Stopped.", exact=True).first.wait_for()

    page.keyboard.press("ControlOrMeta+Shift+E")
    page.locator(".side-of").first.wait_for()
    page.locator("#composer:focus").wait_for()
    page.keyboard.type("first-question for both")
    page.keyboard.press("Enter")
    page.locator(".outcome").wait_for()
    tab_to(page, ".outcome button[aria-expanded]")
    page.keyboard.press("Enter")
    page.get_by_text("the same, to the letter").wait_for()

    page.keyboard.press("ControlOrMeta+K")
    page.locator("#search:focus").wait_for()
    page.keyboard.type("by keys")
    page.locator(".conversations .snippet").wait_for()
    press(page, "More about first-question by keys")
    tab_to(page, "dialog[open] button.danger")
    page.keyboard.press("Enter")
    page.locator(".conversations .snippet").wait_for(state="detached")
    titles = [each["title"] for each in gateway.get("/v1/mlxr/conversations")["conversations"]]
    assert "first-question by keys" not in titles
    assert "first-question for both" in titles
