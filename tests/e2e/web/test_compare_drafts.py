"""A model with a draft model against itself without: a difference that is named, shown and measured."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_drafts import drafting
from tests.e2e.web.test_compare import ask_both
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    with drafting(tmp_path_factory.mktemp("drafts"), make_home) as gateway:
        yield gateway


def test_a_draft_model_is_a_difference_that_is_named_and_measured(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    opened = visit()
    page = opened.page
    page.goto(f"{opened.url}/ui/compare")
    for place, way in enumerate(("draft", "off")):
        side = page.locator(".side-of").nth(place)
        side.get_by_label("Model", exact=True).select_option("small")
        side.get_by_text("Its settings").click()
        ways = side.get_by_label("Speculation", exact=True)
        ways.wait_for()
        assert ways.locator("option").evaluate_all("all => all.map((each) => each.value)") == [
            "",
            "auto",
            "lookup",
            "off",
        ]
        side.get_by_label("Model", exact=True).select_option("big")
        side.get_by_text("Small drafts for it.").wait_for()
        ways.select_option(way)
    named = page.locator(".differences div", has_text="Speculation")
    assert named.locator("dd").all_inner_texts() == ["A draft (small)", "B off"]
    assert opened.accessibility() == []
    page.get_by_role("button", name="Settings of both answers").click()
    page.get_by_label("Longest answer, in tokens").fill("48")
    page.get_by_label("Temperature").fill("0")
    page.get_by_role("button", name="Close", exact=True).click()
    ask_both(page, "again " * 12)
    columns = [column.inner_text() for column in page.locator(".column").all()]
    assert ["of drafts right" in each for each in columns] == [True, False]
    assert [each["event"] for each in gateway.status()["swaps"]] == ["load"]
    page.get_by_role("button", name="Measure", exact=True).click()
    page.locator(".bench table").nth(1).wait_for()
    run = gateway.get("/v1/mlxr/bench/" + gateway.get("/v1/mlxr/bench")["benches"][0]["bench_id"])
    assert [each["settings"] for each in run["contestants"]] == [{"speculation": "draft"}, {"speculation": "off"}]
    assert [each["draft"] for each in run["contestants"]] == ["small", "small"]
    contestants = run["summary"]["scenarios"][0]["contestants"]
    assert [each["figures"]["model_drafts_percent"]["value"] for each in contestants] == [100, None]
