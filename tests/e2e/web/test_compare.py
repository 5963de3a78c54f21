"""One prompt, two engines: what is shown, in which order, and that its figures are the API's."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.web.test_page import LOOKS
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.slow

A, B = "A: Tiny, llamacpp", "B: Tiny, mlx"


def open_pair(visit: Visit) -> "Page":
    """Open the page with both engines of a model."""
    page = visit.page
    page.goto(f"{visit.url}/ui/compare")
    for place, engine in enumerate(("llamacpp", "mlx")):
        side = page.locator(".side-of").nth(place)
        side.get_by_label("Model", exact=True).select_option("tiny")
        side.get_by_label("Engine", exact=True).select_option(engine)
    return page


def ask_both(page: "Page", text: str) -> None:
    """Send a prompt, and wait for what follows both answers."""
    num = page.locator(".outcome, .vote").count()
    page.fill("#composer", text)
    page.keyboard.press("Enter")
    page.locator(".outcome, .vote").nth(num).wait_for()


def newest(gateway: GatewayProcess) -> Any:
    found = gateway.get("/v1/mlxr/conversations")["conversations"][0]["id"]
    return gateway.get(f"/v1/mlxr/conversations/{found}")


def test_the_second_answers_after_a_swap_whose_figures_are_shown(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    page = open_pair(visit())
    first, load = gates / "token-40", gates / "load"
    first.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    column_a, column_b = (page.get_by_role("region", name=name) for name in (A, B))
    column_a.get_by_text("tokens/s").wait_for()
    column_b.get_by_text(f"Waits for {A}").wait_for()
    load.touch()
    first.unlink()
    column_b.get_by_text("Loading on mlx").wait_for()
    column_b.locator(".swaps .unload").wait_for()
    load.unlink()
    page.locator(".outcome").wait_for()
    assert column_b.locator(".markdown p").count() == 60
    unload, loaded = gateway.status()["swaps"][-2:]
    assert (unload["event"], loaded["event"]) == ("unload", "load")
    shown = page.evaluate(
        """async ([unload, loaded]) => {
            const {bytes, duration} = await import("/ui/lib/format.js");
            const ofMachine = (each) => [each.available_before_bytes, each.available_after_bytes];
            const all = [unload.freed_bytes, loaded.rss_after_bytes, ...ofMachine(unload), ...ofMachine(loaded)];
            return [duration(unload.unload_ms), duration(loaded.load_ms), ...all.map(bytes)];
        }""",
        [unload, loaded],
    )
    swaps = column_b.locator(".swaps").inner_text()
    assert [each for each in shown if each not in swaps] == []


def test_figures_are_those_of_the_api(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_pair(visit())
    ask_both(page, "first-question of figures")
    tree = newest(gateway)
    timings = {each["facts"]["timings"]["engine"]: each["facts"]["timings"] for each in tree["answers"]}
    expected = page.evaluate(
        """async (both) => {
            const {amount, answerFigures, ANSWER_FIGURES} = await import("/ui/lib/figures.js");
            const figures = both.map(answerFigures);
            const measured = ANSWER_FIGURES.filter((name) => figures.some((each) => each[name] !== null));
            const shown = (name, value) => (value === null ? "\u2013" : amount(name, value));
            return measured.map((name) => figures.map((each) => shown(name, each[name])));
        }""",
        [timings["llamacpp"], timings["mlx"]],
    )
    rows = page.locator(".outcome tbody tr").all()
    assert [row.locator("td").all_inner_texts()[:2] for row in rows] == expected
    assert expected[-1] == [str(timings[engine]["predicted_n"]) for engine in ("llamacpp", "mlx")]


def test_answers_are_siblings_and_the_order_alternates(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    opened = visit()
    page = open_pair(opened)
    ask_both(page, "first-question once")
    ask_both(page, "second-question twice")
    last, before = (
        gateway.get(f"/v1/mlxr/conversations/{each['id']}")
        for each in gateway.get("/v1/mlxr/conversations")["conversations"][:2]
    )
    for tree in (last, before):
        assert [each["item"]["role"] for each in tree["items"]] == ["user", "assistant", "assistant"]
        assert len({each["after_item_id"] for each in tree["answers"]}) == 1
    orders = [[each["facts"]["timings"]["engine"] for each in tree["answers"]] for tree in (before, last)]
    assert orders[0] == orders[1][::-1]
    loads = [each["facts"]["timings"]["load_ms"] > 0 for each in last["answers"]]
    assert loads == [False, True]
    page.get_by_role("button", name="Go on with this answer in the chat").first.click()
    page.get_by_text("1 of 2").or_(page.get_by_text("2 of 2")).wait_for()
    assert "/ui/c/" in page.url


def test_the_next_prompt_can_go_on_from_an_answer(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_pair(visit())
    ask_both(page, "first-question to go on from")
    page.get_by_role("region", name=B).get_by_role("button", name="Ask both behind this answer").click()
    page.locator(".start").wait_for()
    ask_both(page, "second-question behind it")
    tree = newest(gateway)
    items = {each["item"]["id"]: each for each in tree["items"]}
    second = next(each for each in tree["items"] if "behind it" in str(each["item"]))
    assert items[second["parent_id"]]["item"]["role"] == "assistant"
    assert [each["after_item_id"] for each in tree["answers"]].count(second["item"]["id"]) == 2


def test_stop_stops_the_first_and_asks_the_second_nothing(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    page = open_pair(visit())
    gate = gates / "token-40"
    gate.touch()
    page.fill("#composer", "show-long")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Stopped.", exact=True).nth(1).wait_for()
    wait_until(lambda: gateway.get("/v1/mlxr/requests")["requests"] == [], "the engine is told")
    gate.unlink()
    assert len(newest(gateway)["answers"]) == 1


def test_each_step_is_said_once(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_pair(visit())
    page.evaluate(
        """() => {
            window.said = [];
            const region = document.querySelector("[role=status]");
            const hear = () => region.textContent && window.said.push(region.textContent);
            new MutationObserver(hear).observe(region, {childList: true, characterData: true, subtree: true});
        }"""
    )
    ask_both(page, "first-question aloud")
    page.get_by_role("status").filter(has_text="Both answers are complete").wait_for()
    said = page.evaluate("window.said")
    first = newest(gateway)["answers"][0]["facts"]["timings"]["engine"]
    names = [A, B] if first == "llamacpp" else [B, A]
    assert said == [
        f"Asks {names[0]}",
        "The answer begins",
        f"{names[0]}: Answer complete, 3 words. Asks {names[1]}",
        "The answer begins",
        f"{names[1]}: Answer complete, 3 words. Both answers are complete",
    ]


def test_a_reload_in_mid_answer_goes_on_with_both(visit: Callable[..., Visit], gates: Path) -> None:
    page = open_pair(visit())
    gate = gates / "token-60"
    gate.touch()
    page.fill("#composer", "show-long, for both")
    page.keyboard.press("Enter")
    page.get_by_text("Paragraph 0").wait_for()
    page.reload()
    page.get_by_text("Paragraph 0").wait_for()
    page.locator(".compared[aria-busy='true']").wait_for()
    gate.unlink()
    page.locator(".outcome").wait_for()
    assert [column.locator(".markdown p").count() for column in page.locator(".column").all()] == [60, 60]
    page.reload()
    page.locator(".outcome").wait_for()


def test_differences_are_shown_word_by_word(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = open_pair(opened)
    page.locator(".differences dt", has_text="Engine").wait_for()
    page.locator(".side-of").nth(0).get_by_text("Its settings").click()
    page.locator(".side-of").nth(0).get_by_label("Threads").fill("2")
    page.locator(".side-of").nth(0).get_by_label("Threads").blur()
    page.locator(".differences dt", has_text="Threads").wait_for()
    page.locator(".side-of").nth(0).get_by_label("Speculation", exact=True).select_option("off")
    page.locator(".differences dt", has_text="Speculation").wait_for()
    ask_both(page, "first-question with threads")
    page.get_by_role("button", name="Differences, word by word").click()
    page.locator(".outcome").get_by_text("the same, to the letter").wait_for()
    assert opened.accessibility() == []


def test_blind_names_are_told_after_the_vote_and_votes_stay_in_the_browser(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    benches = gateway.get("/v1/mlxr/bench")
    opened = visit()
    page = open_pair(opened)
    page.get_by_label("Blind").check()
    ask_both(page, "first-question in the dark")
    names = page.locator(".column h3").all_inner_texts()
    assert names == ["Answer 1", "Answer 2"]
    assert page.locator(".column .stats, .column .swaps, .outcome").count() == 0
    assert opened.accessibility() == []
    page.get_by_role("button", name="Answer 2 is better").click()
    page.locator(".outcome").wait_for()
    assert sorted(page.locator(".column h3").all_inner_texts()) == [A, B]
    page.locator(".tally summary").click()
    assert opened.accessibility() == []
    tally = page.evaluate("JSON.parse(localStorage.getItem('mlxr.compare-tally'))")
    (count,) = tally.values()
    assert (sum(count["won"]), count["names"]) == (1, ["tiny@llamacpp", "tiny@mlx"])
    assert gateway.get("/v1/mlxr/bench") == benches
    page.get_by_role("button", name="Forget the votes").click()
    page.locator(".tally").wait_for(state="detached")


def test_measuring_starts_the_benchmark_on_the_prompt(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    opened = visit()
    page = open_pair(opened)
    ask_both(page, "first-question to be measured")
    gate = gates / "decode"
    gate.touch()
    page.get_by_role("button", name="Measure", exact=True).click()
    page.get_by_role("button", name="Stop measuring").wait_for()
    gate.unlink()
    page.locator(".bench table").nth(1).wait_for()
    run = gateway.get("/v1/mlxr/bench/" + gateway.get("/v1/mlxr/bench")["benches"][0]["bench_id"])
    assert [each["label"] for each in run["contestants"]] == ["tiny@llamacpp", "tiny@mlx"]
    figure = run["summary"]["scenarios"][0]["contestants"][1]["figures"]["decode_tokens_per_s"]
    expected = page.evaluate(
        """async (figure) => {
            const {withInterval} = await import("/ui/lib/figures.js");
            const {value, between} = withInterval("decode_tokens_per_s", figure);
            return between === null ? value : `${value} (${between[0]} to ${between[1]})`;
        }""",
        figure,
    )
    row = page.locator(".bench tr", has_text="Writing").first
    assert " ".join(row.locator("td").nth(1).inner_text().split()) == expected
    assert opened.accessibility() == []


def begin_unheard(gateway: GatewayProcess, body: Any) -> str:
    """Start a benchmark, and hang up when it has begun; return what came."""
    came = ""
    with gateway.client() as client, client.stream("POST", "/v1/mlxr/bench", json=body) as answer:
        for piece in answer.iter_text():
            came += piece
            if '"started"' in came and came.endswith("\n\n"):
                break
    return came


def test_a_benchmark_whose_stream_breaks_is_followed_by_events(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    page = open_pair(visit())
    before = {each["bench_id"] for each in gateway.get("/v1/mlxr/bench")["benches"]}
    ask_both(page, "first-question to be measured without a stream")

    def broken(route: "Route") -> None:
        body = begin_unheard(gateway, route.request.post_data_json)
        route.fulfill(body=body, content_type="text/event-stream")

    page.route("**/v1/mlxr/bench", broken, times=1)
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator(".bench table").nth(1).wait_for()
    (new_id,) = {each["bench_id"] for each in gateway.get("/v1/mlxr/bench")["benches"]} - before
    page.locator(".bench").get_by_text(new_id).wait_for()
    assert page.locator("[role=alert]").count() == 0, "that the stream broke is nobody's trouble"


def test_a_benchmark_that_the_server_has_forgotten_is_not_waited_for(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = open_pair(opened)
    ask_both(page, "first-question to be measured in vain")
    started = 'data: {"type": "started", "bench_id": "bench_gone"}\n\n'
    page.route("**/v1/mlxr/bench", lambda route: route.fulfill(body=started, content_type="text/event-stream"))
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator(".outcome").get_by_role("alert").filter(has_text="bench_gone").wait_for()
    assert page.get_by_role("button", name="Measure", exact=True).is_enabled()
    opened.expect_refusals()


@pytest.mark.parametrize("look", LOOKS)
def test_every_state_is_accessible(visit: Callable[..., Visit], look: str) -> None:
    opened = visit(**LOOKS[look])
    page = open_pair(opened)
    page.locator(".side-of summary").first.click()
    assert opened.accessibility() == []
    opened.picture(f"compare-begin-{look}")
    ask_both(page, "show-rich")
    opened.picture(f"compare-{look}")
    assert opened.accessibility() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
