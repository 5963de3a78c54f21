"""Chatting in a real browser: stop, branches, keys, and what happens when the server goes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.web.test_page import ask
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow


def requests_of(gateway: GatewayProcess) -> int:
    return len(gateway.get("/v1/mlxr/requests")["requests"])


def test_stop_stops_the_engine_and_keeps_what_came(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    page = visit().open()
    gate = gates / "token-40"
    gate.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    assert requests_of(gateway) == 1
    page.keyboard.press("Escape")
    page.get_by_text("Stopped.", exact=True).first.wait_for()
    wait_until(lambda: requests_of(gateway) == 0, "the engine is told")
    gate.unlink()
    assert "Paragraph 0" in page.inner_text(".markdown")


def test_an_edit_and_a_second_answer_are_branches_of_which_none_is_lost(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question")
    page.click("button[aria-label='Answer again']")
    page.get_by_text("2 of 2").wait_for()
    page.locator(".message.user button[aria-label='Edit']").click()
    page.locator(".editor textarea:focus").wait_for()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("second-question")
    page.keyboard.press("Enter")
    page.get_by_text("The second answer.").wait_for()
    page.locator(".message.user button[aria-label='Previous version']").click()
    page.get_by_text("The first answer.").wait_for()
    assert page.locator(".versions").count() == 2


def test_all_of_it_is_done_by_keys(visit: Callable[..., Visit]) -> None:
    page = visit().open()
    page.keyboard.press("ControlOrMeta+Shift+M")
    assert page.evaluate("document.activeElement.id") == "model"
    page.focus("#composer")
    page.keyboard.type("first-question")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("more")
    assert page.input_value("#composer") == "first-question\nmore"
    page.keyboard.press("Enter")
    page.get_by_text("The first answer.").wait_for()
    page.locator(".stats").wait_for()
    page.keyboard.press("ArrowUp")
    page.locator(".editor textarea").wait_for()
    page.keyboard.press("Escape")
    page.locator(".editor").wait_for(state="detached")
    page.keyboard.press("ControlOrMeta+Shift+O")
    page.locator(".empty").wait_for()
    page.focus(".log")
    page.keyboard.press("?")
    page.locator("dialog[open] .keys").wait_for()


def test_who_looks_at_another_page_by_a_key_comes_back_to_the_conversation(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question to come back to")
    address = page.url
    page.keyboard.press("ControlOrMeta+Shift+E")
    page.locator(".side-of").first.wait_for()
    page.keyboard.press("ControlOrMeta+Shift+E")
    page.get_by_text("The first answer.").wait_for()
    assert page.url == address


def test_a_return_that_ends_a_word_of_an_input_method_sends_nothing(visit: Callable[..., Visit]) -> None:
    page = visit().open()
    page.fill("#composer", "にほ")
    for composing in ("{isComposing: true}", "{keyCode: 229}"):
        page.evaluate(
            f"""document.getElementById("composer").dispatchEvent(
                new KeyboardEvent("keydown", {{key: "Enter", bubbles: true, ...{composing}}}))"""
        )
    assert page.input_value("#composer") == "にほ"
    assert page.locator(".message").count() == 0


def test_the_state_of_the_model_is_a_word_that_follows_the_server(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    page = visit().open()
    page.select_option("#model", "tiny")
    words = {word: page.locator(f".state.{word}") for word in ("idle", "loading", "ready")}
    words["idle"].wait_for()
    said = [words["idle"].inner_text()]
    gate = gates / "load"
    gate.touch()
    page.get_by_role("button", name="Load", exact=True).click()
    words["loading"].wait_for()
    said.append(words["loading"].inner_text())
    assert gateway.get("/health")["resident"] == []
    gate.unlink()
    words["ready"].wait_for()
    said.append(words["ready"].inner_text())
    assert [each["model"] for each in gateway.get("/health")["resident"]] == ["tiny"]
    page.get_by_role("button", name="Unload").click()
    words["idle"].wait_for()
    said.append(words["idle"].inner_text())
    assert all(said), "it is no colour alone"
    assert said[-1] == said[0]
    assert len(set(said)) == len(words)
    assert gateway.get("/health")["resident"] == []


def test_colours_are_chosen_and_remembered(visit: Callable[..., Visit]) -> None:
    opened = visit(color_scheme="light")
    page = opened.open()
    page.get_by_label("Colours").select_option("dark")
    page.reload()
    page.wait_for_selector("#composer")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(22, 23, 26)"


def test_thoughts_are_folded_and_open_by_a_key(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "show-thought", of="thinker-1b")
    thought, answer = page.get_by_text("First I think about it."), page.get_by_text("Then I answer.")
    fold = page.locator(".message details.fold")
    assert answer.is_visible()
    assert not thought.is_visible()
    assert fold.locator("summary").inner_text().startswith("Thought for ")
    fold.locator("summary").press("Enter")
    thought.wait_for()
    assert opened.accessibility() == []
    page.reload()
    answer.wait_for()
    assert not thought.is_visible()


def test_tokens_are_counted_while_they_come(visit: Callable[..., Visit], gates: Path) -> None:
    page = visit().open()
    page.select_option("#model", "tiny")
    gate = gates / "token-40"
    gate.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.locator(".live", has_text="tokens/s").wait_for()
    gate.unlink()
    page.locator(".stats").wait_for()
    assert page.locator(".live").count() == 0


def test_how_far_the_prompt_is_stands_where_the_answer_will_be(visit: Callable[..., Visit], gates: Path) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question")
    gate = gates / "prefill"
    gate.touch()
    page.fill("#composer", "second-question")
    page.keyboard.press("Enter")
    bar = page.locator(".bar", has_text="Reading the prompt")
    bar.wait_for()
    assert page.locator(".message").last.locator(".bar").count() == 1
    gate.unlink()
    page.get_by_text("The second answer.").wait_for()
    bar.wait_for(state="detached")
    assert "The second answer." in page.locator(".message").last.inner_text()
