"""What drawing costs: times are printed, and what is asserted is work, which no other process makes more."""

import statistics
from collections.abc import Callable

import pytest

from tests.e2e.web.said import VERY_LONG
from tests.support.browser import Visit

pytestmark = pytest.mark.slow

NUM_STEPS = 300
NUM_TURNS = 500

_DRAW = """async ([text, numSteps]) => {
    const { h, render } = await import("/ui/vendor/preact.js");
    const { Markdown } = await import("/ui/text/markdown.js");
    const place = document.querySelector(".log").appendChild(document.createElement("div"));
    let numNodes = 0;
    new MutationObserver((all) => all.forEach((each) => (numNodes += each.addedNodes.length)))
        .observe(place, {childList: true, subtree: true});
    const times = [];
    for (let step = 1; step <= numSteps; step += 1) {
        const began = performance.now();
        render(h(Markdown, {text: text.slice(0, Math.ceil((text.length * step) / numSteps)), isWhole: false}), place);
        times.push(performance.now() - began);
        await new Promise((resolve) => setTimeout(resolve));
    }
    const {length} = place.querySelectorAll("p");
    place.remove();
    return {times, numNodes, numParagraphs: length};
}"""


def test_a_long_answer_is_drawn_block_by_block(visit: Callable[..., Visit]) -> None:
    page = visit().open()
    drawn = page.evaluate(_DRAW, [VERY_LONG, NUM_STEPS])
    times = drawn["times"]
    late = statistics.median(times[-50:])
    print(
        f"{len(VERY_LONG)} characters in {NUM_STEPS} flushes: median {statistics.median(times):.2f} ms, "
        f"of the last 50 {late:.2f} ms, longest {max(times):.1f} ms"
    )
    num_paragraphs = VERY_LONG.count("\n\n")
    assert drawn["numParagraphs"] == num_paragraphs
    # A paragraph's nodes are made once; the one that grows at a step's end, some more times.
    assert drawn["numNodes"] < 2 * (num_paragraphs + NUM_STEPS)


def test_five_hundred_turns_open(visit: Callable[..., Visit]) -> None:
    opened = visit()
    page = opened.open()
    kept = page.evaluate(
        """async (numTurns) => {
            const post = async (path, body) =>
                (await fetch(path, {method: "POST", body: JSON.stringify(body)})).json();
            const {id} = await post("/v1/conversations", {});
            for (let turn = 0; turn < numTurns; turn += 10) {
                const items = Array.from({length: 10}, (_, index) => [
                    {type: "message", role: "user", content: `Question ${turn + index}?`},
                    {type: "message", role: "assistant", content: `Answer **${turn + index}**, with \\`code\\`.`},
                ]).flat();
                await post(`/v1/conversations/${id}/items`, {items});
            }
            return id;
        }""",
        NUM_TURNS,
    )
    page.reload()
    page.get_by_text("What would you like to know?").wait_for()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(f"{opened.url}/ui/c/{kept}")
    page.get_by_text(f"Answer {NUM_TURNS - 1},").wait_for()
    shown_ms = page.evaluate("performance.now()")
    work = {each["name"]: 1000 * each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    print(
        f"{NUM_TURNS} turns: shown {shown_ms:.0f} ms after the navigation began; the page's thread worked "
        f"{work['TaskDuration']:.0f} ms, {work['ScriptDuration']:.0f} ms of it in scripts"
    )
    assert page.locator(".message").count() < NUM_TURNS
    page.get_by_role("button", name="earlier messages").click()
    assert page.locator(".message").count() > 60
