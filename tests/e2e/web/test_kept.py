"""Conversations that the server keeps, in a real browser."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.e2e.web.said import ANSWERS
from tests.e2e.web.test_page import ask
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def titles(gateway: GatewayProcess) -> list[str]:
    return [each["title"] for each in gateway.get("/v1/mlxr/conversations")["conversations"]]


def sizes(gateway: GatewayProcess) -> dict[str, int]:
    """Return what is kept, without the files, whose log shrinks a while after something was deleted."""
    told: dict[str, int] = gateway.get("/v1/mlxr/conversations/sizes")
    return {name: size for name, size in told.items() if name != "file_bytes"}


def test_a_conversation_is_there_again_with_its_branches(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question again")
    page.click("button[aria-label='Answer again']")
    page.get_by_text("2 of 2").wait_for()
    ask(opened, "second-question")
    page.reload()
    page.get_by_text("The second answer.").wait_for()
    page.get_by_text("2 of 2").wait_for()
    page.locator("button[aria-label='Previous version']").click()
    page.get_by_text("The second answer.").wait_for(state="detached")
    page.reload()
    page.get_by_text("1 of 2").wait_for()
    page.get_by_text("The first answer.").wait_for()


def test_a_reload_in_mid_answer_goes_on_reading(visit: Callable[..., Visit], gates: Path) -> None:
    page = visit().open()
    page.select_option("#model", "tiny")
    gate = gates / "token-60"
    gate.touch()
    page.fill("#composer", "show-long, please")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.reload()
    page.get_by_text("Paragraph 0").wait_for()
    page.locator("article[aria-busy='true']").wait_for()
    gate.unlink()
    page.get_by_text("Paragraph 59 ").wait_for()
    page.locator(".stats").wait_for()
    assert page.locator(".markdown p").count() == 60


def test_a_conversation_that_cannot_be_opened_costs_nothing_of_the_answer_that_runs(
    visit: Callable[..., Visit], gates: Path
) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question in vain")
    page.get_by_role("button", name="New chat", exact=True).click()
    first, second = gates / "token-60", gates / "token-400"
    first.touch()
    second.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.route("**/v1/mlxr/conversations/conv_*", lambda route: route.abort(), times=1)
    page.get_by_role("link", name="first-question in vain").click()
    page.locator(".toast").wait_for()
    first.unlink()
    page.get_by_text("Paragraph 5 ").wait_for()
    assert "Paragraph 0" in page.inner_text(".markdown")
    second.unlink()
    page.locator(".stats").wait_for()
    assert page.locator(".markdown p").count() == 60
    opened.expect_refusals()


def test_a_chat_that_could_not_be_begun_is_kept_the_next_time(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    page.route("**/v1/conversations", lambda route: route.abort(), times=1)
    page.fill("#composer", "first-question")
    page.keyboard.press("Enter")
    page.locator(".message .error").wait_for()
    page.click("button[aria-label='Answer again']")
    page.get_by_text("The first answer.").wait_for()
    assert "/ui/c/" in page.url
    opened.expect_refusals()


def test_conversations_are_found_renamed_pinned_and_deleted(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question about zebras")
    page.get_by_role("button", name="New chat", exact=True).click()
    ask(opened, "second-question about lions")
    assert titles(gateway)[0] == "second-question about lions"
    page.keyboard.press("ControlOrMeta+K")
    page.locator("#search:focus").wait_for()
    page.keyboard.type("zebras")
    page.locator(".conversations mark", has_text="zebras").first.wait_for()
    page.get_by_role("link", name="first-question about zebras").click()
    page.locator(".said", has_text="zebras").wait_for()
    page.get_by_role("button", name="More about first-question about zebras").click()
    page.locator("dialog[open] input[name=title]").fill("Stripes")
    page.get_by_role("button", name="Rename").click()
    page.locator(".conversations .title", has_text="Stripes").wait_for()
    page.get_by_role("button", name="More about Stripes").click()
    page.get_by_role("button", name="Pin", exact=True).click()
    page.locator(".conversations .pin").wait_for()
    assert opened.accessibility() == []
    page.get_by_role("button", name="More about Stripes").click()
    assert opened.accessibility() == []
    page.get_by_role("button", name="Delete").click()
    page.locator(".empty").wait_for()
    assert "Stripes" not in titles(gateway)
    assert page.url.endswith("/ui/")


def test_the_list_goes_on_where_it_ended(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    with gateway.client() as client:
        for number in range(120):
            items = [{"type": "message", "role": "user", "content": f"kept {number}"}]
            client.post("/v1/conversations", json={"items": items}).raise_for_status()
    opened = visit()
    page = opened.open()
    shown = page.locator(".conversations li a")
    page.get_by_role("button", name="Show more").wait_for()
    assert shown.count() == 100
    page.get_by_role("button", name="Show more").press("Enter")
    page.get_by_role("button", name="Show more").wait_for(state="detached")
    assert shown.count() >= 120
    ask(opened, "first-question behind many")
    page.locator(".conversations .title", has_text="first-question behind many").wait_for()
    assert shown.count() > 120
    assert opened.accessibility() == []
    with gateway.client() as client:
        client.delete("/v1/mlxr/conversations").raise_for_status()


def test_what_is_not_to_be_kept_leaves_nothing(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    opened = visit()
    page = opened.open()
    before = sizes(gateway)
    page.get_by_role("button", name="New chat, not kept").click()
    page.get_by_text("kept nowhere").wait_for()
    ask(opened, "first-question of nobody")
    ask(opened, "second-question of nobody")
    assert page.url.endswith("/ui/")
    assert sizes(gateway) == before


def test_what_is_not_kept_can_be_stopped(visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path) -> None:
    page = visit().open()
    page.select_option("#model", "tiny")
    page.get_by_role("button", name="New chat, not kept").click()
    gate = gates / "token-40"
    gate.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Stopped.", exact=True).first.wait_for()
    wait_until(lambda: gateway.get("/v1/mlxr/requests")["requests"] == [], "the engine is told")
    gate.unlink()
    assert "Paragraph 0" in page.inner_text(".markdown")


def test_what_is_not_kept_can_be_stopped_before_its_first_word(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    opened = visit()
    page = opened.open()
    page.select_option("#model", "tiny")
    page.get_by_role("button", name="New chat, not kept").click()
    gate = gates / "load"
    gate.touch()
    page.fill("#composer", "first-question")
    page.keyboard.press("Enter")
    page.locator(".state.loading").wait_for()
    page.keyboard.press("Escape")
    page.locator(".message .note").get_by_text("Stopped.", exact=True).wait_for()
    wait_until(lambda: gateway.get("/v1/mlxr/requests")["requests"] == [], "the server is told")
    gate.unlink()
    opened.expect_refusals()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_server_that_is_killed_in_mid_answer_costs_nothing_that_was_shown(
    browser: "Browser", home: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "token-900"
    gate.touch()
    options = {"answers": ANSWERS, "gates": str(tmp_path), "context_length": 65536}
    port = free_port()
    first = GatewayProcess(home, arguments=(str(port),), fake_options=options)
    opened = Visit(browser, first.url)
    page = opened.open()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 10 ").wait_for()
    wait_until(lambda: "Paragraph 10 " in kept_text(first), "the shown text is kept")
    page.fill("#composer", "a draft")
    workers = first.workers()
    first.process.kill()
    psutil.wait_procs(workers)
    page.get_by_role("alert").filter(has_text="does not answer").first.wait_for()
    gate.unlink()
    second = GatewayProcess(home, arguments=(str(port),), fake_options=options)
    page.get_by_text("Broken off").wait_for()
    assert "Paragraph 10 " in page.inner_text(".markdown")
    assert page.input_value("#composer") == "a draft"
    page.locator(".toast").wait_for(state="detached")
    opened.close()
    assert [each for each in opened.problems if "Failed to load resource" not in each] == []
    first.stop()
    assert second.stop() == 0


def kept_text(gateway: GatewayProcess) -> str:
    newest = gateway.get("/v1/mlxr/conversations")["conversations"][0]["id"]
    return str(gateway.get(f"/v1/mlxr/conversations/{newest}"))
