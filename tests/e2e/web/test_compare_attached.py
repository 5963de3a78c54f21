"""Pictures and documents that both are shown: as in the chat, before one prompt and two answers."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.web.test_chat_settings import png
from tests.e2e.web.test_compare import ask_both, newest, open_pair
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.slow


def choose(page: "Page", *models: str) -> None:
    for place, name in enumerate(models):
        page.locator(".side-of").nth(place).get_by_label("Model", exact=True).select_option(name)


def said_in(gateway: GatewayProcess) -> list[dict[str, Any]]:
    """Return the parts of the newest prompt, as the server keeps it."""
    (said,) = [each["item"] for each in newest(gateway)["items"] if each["item"]["role"] == "user"]
    parts: list[dict[str, Any]] = said["content"]
    return parts


def test_both_are_shown_a_picture_and_a_reload_has_it_again(
    visit: Callable[..., Visit], gateway: GatewayProcess, tmp_path: Path
) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(png(64, 64, (255, 0, 0)))
    opened = visit()
    page = open_pair(opened)
    choose(page, "seer-1b", "seer-1b")
    page.locator(".side-of").nth(1).get_by_text("Its settings").click()
    page.locator(".side-of").nth(1).get_by_label("Speculation", exact=True).select_option("off")
    page.locator("input[type=file]").set_input_files(picture)
    page.locator(".attached img").wait_for()
    assert opened.accessibility() == []
    ask_both(page, "show-colours")
    assert page.locator(".attached").count() == 0
    assert ["I see red" in each for each in page.locator(".column .markdown").all_inner_texts()] == [True, True]
    url = next(part["image_url"] for part in said_in(gateway) if part["type"] == "input_image")
    shown = page.locator(".compared .pictures img")
    assert shown.get_attribute("src") == url
    assert page.get_by_role("button", name="Measure", exact=True).is_disabled()
    assert base64.b64decode(url.partition(",")[2]).startswith(b"\x89PNG")
    assert opened.accessibility() == []
    page.reload()
    shown.wait_for()
    assert shown.get_attribute("src") == url


def test_a_picture_waits_until_both_see(visit: Callable[..., Visit], tmp_path: Path) -> None:
    picture = tmp_path / "red.png"
    picture.write_bytes(png(8, 8, (255, 0, 0)))
    page = open_pair(visit())
    choose(page, "seer-1b", "seer-1b")
    page.locator("input[type=file]").set_input_files(picture)
    page.locator(".attached img").wait_for()
    choose(page, "tiny")
    page.fill("#composer", "look")
    page.locator(".composer .error").filter(has_text="Tiny reads text only. These see pictures: Seer 1B.").wait_for()
    assert page.get_by_role("button", name="Send").is_disabled()
    choose(page, "seer-1b")
    page.locator(".composer .error").wait_for(state="detached")
    assert page.get_by_role("button", name="Send").is_enabled()


def test_both_are_shown_a_document_whose_share_of_the_shorter_context_is_told(
    visit: Callable[..., Visit], gateway: GatewayProcess, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("# Notes\n\nThe parrot is called Ada.")
    opened = visit()
    page = open_pair(opened)
    choose(page, "thinker-1b", "thinker-1b")
    second = page.locator(".side-of").nth(1)
    second.get_by_text("Its settings").click()
    second.get_by_label("Context", exact=True).select_option("2048")
    page.locator("input[type=file]").set_input_files(notes)
    sheet = page.locator(".sheet", has_text="of the context of B")
    sheet.wait_for()
    counted = int(sheet.locator(".note").inner_text().partition(" tokens")[0].rpartition(" ")[2])
    assert f"{100 * counted / 2048:.0f}"[0] in sheet.inner_text()
    second.get_by_label("Context", exact=True).select_option("")
    page.locator(".sheet", has_text="of the context of B").wait_for(state="detached")
    page.locator(".sheet", has_text="of the context").wait_for()
    ask_both(page, "first-question about notes")
    sent = page.locator(".compared details.sent")
    assert sent.locator("summary").inner_text() == "notes.md"
    assert "parrot" in next(part["text"] for part in said_in(gateway) if part["type"] == "input_file")
    answers = newest(gateway)["answers"]
    assert len({each["facts"]["timings"]["engine"] for each in answers}) == 2
    page.reload()
    sent.locator("summary").click()
    sent.get_by_text("The parrot is called Ada.").wait_for()
    assert opened.accessibility() == []


def test_a_document_that_waits_for_two_answers_loads_nothing_between_them(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path, tmp_path: Path
) -> None:
    notes = tmp_path / "notes.md"
    notes.write_text("The parrot is called Ada.")
    page = open_pair(visit())
    ask_both(page, "first-question to know who is loaded")
    gate = gates / "token-40"
    gate.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.locator("input[type=file]").set_input_files(notes)
    page.locator(".sheet").wait_for()
    num_swaps = len([each for each in gateway.status()["swaps"] if each["event"] == "load"])
    gate.unlink()
    page.locator(".sheet", has_text="of the context").wait_for()
    assert page.locator(".outcome").count() == 2
    assert len([each for each in gateway.status()["swaps"] if each["event"] == "load"]) == num_swaps + 1
