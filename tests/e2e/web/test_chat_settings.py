"""What goes with a message in a real browser: pictures, the context, presets."""

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.web.test_page import ask
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow

_DROP = """([selector, base64]) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
    const options = {dataTransfer: data, bubbles: true, cancelable: true};
    document.querySelector(selector).dispatchEvent(new DragEvent("drop", options));
}"""
_PASTE = """(base64) => {
    const bytes = Uint8Array.from(atob(base64), (each) => each.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], "pasted.png", {type: "image/png"}));
    document.getElementById("composer").dispatchEvent(
        new ClipboardEvent("paste", {clipboardData: data, bubbles: true, cancelable: true}));
}"""


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """Return a picture of one colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_pictures_are_attached_shown_and_seen(
    visit: Callable[..., Visit], gateway: GatewayProcess, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(png(3000, 1500, (255, 0, 0)))
    small = base64.b64encode(png(32, 32, (0, 0, 255))).decode()
    opened = visit()
    page = opened.open()
    page.select_option("#model", "seer-1b")
    page.locator("input[type=file]").set_input_files(large)
    page.locator(".attached img").wait_for()
    page.evaluate(_PASTE, small)
    page.evaluate(_DROP, [".chat", small])
    page.locator(".attached img").nth(2).wait_for()
    assert opened.accessibility() == []
    page.get_by_role("button", name="Take dropped.png away").click()
    assert page.locator(".attached img").count() == 2
    ask(opened, "show-colours", of="seer-1b")
    assert "I see red" in page.inner_text(".markdown")
    assert "blue" in page.inner_text(".markdown")
    assert page.locator(".attached img").count() == 0
    assert page.locator(".message.user .pictures img").count() == 2
    kept = gateway.get("/v1/mlxr/conversations/" + page.url.rpartition("/")[2])
    (said,) = [each["item"] for each in kept["items"] if each["item"]["role"] == "user"]
    sizes = page.evaluate(
        """(urls) => Promise.all(urls.map(async (src) => {
            const image = new Image();
            image.src = src;
            await image.decode();
            return [image.naturalWidth, image.naturalHeight];
        }))""",
        [part["image_url"] for part in said["content"] if part["type"] == "input_image"],
    )
    assert sizes == [[1568, 784], [32, 32]]
    page.reload()
    page.locator(".message.user .pictures img").nth(1).wait_for()
    assert opened.accessibility() == []


def test_pictures_are_refused_with_the_reason_where_they_cannot_be_seen(
    visit: Callable[..., Visit], tmp_path: Path
) -> None:
    picture, broken = tmp_path / "a.png", tmp_path / "broken.png"
    picture.write_bytes(png(8, 8, (0, 255, 0)))
    broken.write_bytes(b"no picture")
    page = visit().open()
    page.select_option("#model", "tiny")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(picture)
    page.get_by_role("alert").filter(has_text="Tiny reads text only. These see pictures: Seer 1B.").wait_for()
    page.select_option("#model", "seer-1b")
    chooser.set_input_files(broken)
    page.get_by_role("alert").filter(has_text="broken.png cannot be read").wait_for()
    chooser.set_input_files(picture)
    page.locator(".attached img").wait_for()
    page.select_option("#model", "tiny")
    page.fill("#composer", "look")
    assert page.get_by_role("button", name="Send").is_disabled()
    assert "reads text only" in page.locator(".composer .error").inner_text()


def test_documents_are_read_counted_and_sent(
    visit: Callable[..., Visit], gateway: GatewayProcess, tmp_path: Path
) -> None:
    notes, archive = tmp_path / "notes.md", tmp_path / "archive.zip"
    notes.write_text("# Notes\n\nThe parrot is called Ada.")
    archive.write_bytes(b"PK\x05\x06" + bytes(18))
    opened = visit()
    page = opened.open()
    page.select_option("#model", "thinker-1b")
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(archive)
    page.get_by_role("alert").filter(has_text="archive.zip").wait_for()
    chooser.set_input_files(notes)
    page.locator(".sheet", has_text="of the context").wait_for()
    assert opened.accessibility() == []
    ask(opened, "first-question about notes", of="thinker-1b")
    said = page.locator(".message.user details.sent")
    assert said.locator("summary").inner_text() == "notes.md"
    assert page.locator(".attached").count() == 0
    kept = gateway.get("/v1/mlxr/conversations/" + page.url.rpartition("/")[2])
    (message,) = [each["item"] for each in kept["items"] if each["item"]["role"] == "user"]
    assert "parrot" in next(part["text"] for part in message["content"] if part["type"] == "input_file")
    page.reload()
    said.locator("summary").click()
    said.get_by_text("The parrot is called Ada.").wait_for()
    assert page.locator(".message.user .said").inner_text() == "first-question about notes"
    assert opened.accessibility() == []
    page.keyboard.press("Escape")
    page.locator(".message.user button[aria-label='Edit']").click()
    page.locator(".editor textarea").fill("second-question about notes")
    page.locator(".editor textarea").press("Enter")
    page.get_by_text("The second answer.").wait_for()
    assert said.locator("summary").inner_text() == "notes.md"
    opened.expect_refusals()


def context_choices(page: "Page") -> list[str]:
    choices: list[str] = (
        page.get_by_label("Context", exact=True).locator("option").evaluate_all("all => all.map((each) => each.value)")
    )
    return choices


def test_only_contexts_that_fit_are_offered(visit: Callable[..., Visit]) -> None:
    page = visit().open()

    def less(route: "Route") -> None:
        fit = route.fetch().json()
        for each in fit["models"][0]["engines"]:
            each["largest_context"] = 4352
        route.fulfill(json=fit)

    page.route("**/v1/mlxr/models/fit*", less)
    page.select_option("#model", "thinker-1b")
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_text("Up to 4352 tokens fit here now").wait_for()
    assert context_choices(page) == ["", "2048", "4096"]


def test_a_context_is_of_the_conversation_and_the_model_is_loaded_with_it(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    opened = visit()
    page = opened.open()
    page.select_option("#model", "thinker-1b")
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_text("Another context loads").wait_for()
    assert context_choices(page) == ["", "2048", "4096", "8192"]
    page.get_by_label("Context", exact=True).select_option("2048")
    page.get_by_label("System prompt").fill("Be short.")
    assert opened.accessibility() == []
    page.get_by_role("button", name="Close", exact=True).click()
    ask(opened, "first-question of a short context", of="thinker-1b")
    assert [each["context_length"] for each in gateway.status()["workers"] if each["model"]] == [2048]
    page.get_by_role("button", name="New chat", exact=True).click()
    page.get_by_role("button", name="Settings of this chat").click()
    page.get_by_label("Context", exact=True).select_option("4096")
    page.get_by_role("button", name="Close", exact=True).click()
    ask(opened, "second-question of a longer one", of="thinker-1b")
    assert [each["context_length"] for each in gateway.status()["workers"] if each["model"]] == [4096]
    page.get_by_role("link", name="first-question of a short context").click()
    page.get_by_text("The first answer.").wait_for()
    page.get_by_role("button", name="Settings of this chat").click()
    assert page.get_by_label("Context", exact=True).input_value() == "2048"


def test_settings_get_a_name_and_are_found_again(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    settings = page.get_by_role("button", name="Settings of this chat")
    settings.click()
    page.get_by_label("Temperature").fill("0.2")
    page.get_by_label("Temperature").blur()
    page.get_by_role("button", name="Save these settings as a preset").click()
    page.get_by_label("Name of the preset").fill("precise")
    page.get_by_label("Name of the preset").press("Enter")
    preset = page.get_by_label("Preset", exact=True)
    assert preset.input_value() == "precise"
    page.get_by_label("Temperature").fill("1")
    page.get_by_label("Temperature").blur()
    assert preset.input_value() == ""
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    settings.click()
    preset.select_option("precise")
    assert page.get_by_label("Temperature").input_value() == "0.2"
    assert opened.accessibility() == []
    page.get_by_role("button", name="Forget precise").click()
    assert preset.locator("option").all_inner_texts() == ["None"]
