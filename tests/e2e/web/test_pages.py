"""The pages of the machine, of what was measured, and of the settings: their figures are the server's."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.web.test_page import LOOKS
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.slow

PROMPT = [{"messages": [{"role": "user", "content": "first-question"}]}]
SHORT_RUN = {"model": "tiny", "minutes": 1, "quality": False, "max_tokens": 4, "repeats": 3, "prompts": PROMPT}


def open_page(visit: Visit, name: str, marker: str) -> "Page":
    visit.page.goto(f"{visit.url}/ui/{name}")
    visit.page.locator(marker).first.wait_for()
    return visit.page


def is_narrow_enough(page: "Page") -> bool:
    parts = "[document.documentElement, document.querySelector('.read')]"
    return bool(page.evaluate(f"{parts}.every((each) => each.scrollWidth <= each.clientWidth)"))


@pytest.fixture(scope="module")
def measured(gateway: GatewayProcess) -> list[Any]:
    """Two runs of the benchmark, newest first."""
    for _ in range(2):
        assert '"type":"done"' in gateway.post("/v1/mlxr/bench", SHORT_RUN).text
    return [
        gateway.get(f"/v1/mlxr/bench/{each['bench_id']}")
        for each in gateway.get("/v1/mlxr/bench?model=tiny")["benches"]
    ]


def test_the_first_pages_load_is_not_theirs(visit: Callable[..., Visit]) -> None:
    opened = visit()
    asked: list[str] = []
    opened.page.on("request", lambda request: asked.append(request.url))
    opened.open()
    opened.page.wait_for_load_state("load")
    assert [
        url for url in asked if any(part in url for part in ("uplot", "/machine/", "/models/page", "page_texts"))
    ] == []
    opened.page.get_by_role("link", name="Machine").click()
    opened.page.locator(".chart canvas").wait_for()
    assert any("uplot.js" in url for url in asked)


@pytest.mark.parametrize("look", LOOKS)
def test_the_machine_is_accessible_while_it_works(visit: Callable[..., Visit], gates: Path, look: str) -> None:
    gate = gates / "token-2"
    gate.touch()
    opened = visit(**LOOKS[look])
    page = open_page(opened, "machine", ".chart canvas")
    body = {"model": "tiny", "stream": True, "messages": [{"role": "user", "content": "show-long"}]}
    page.evaluate(
        """(body) => void fetch("/v1/chat/completions", {method: "POST", body: JSON.stringify(body)})
            .then((answer) => answer.text())""",
        body,
    )
    page.get_by_role("button", name="Cancel").wait_for()
    page.locator(".state.generating").first.wait_for()
    opened.picture(f"machine-{look}")
    assert opened.accessibility() == []
    assert is_narrow_enough(page)
    page.get_by_role("button", name="Cancel").click()
    gate.unlink()
    page.get_by_text("Nobody waits for an answer.").wait_for()


def test_the_machine_shows_what_the_server_measured(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_page(visit(), "machine", ".chart canvas")
    for engine in ("llamacpp", "mlx"):
        body = {"model": "tiny", "messages": [{"role": "user", "content": "first-question"}]}
        assert gateway.post("/v1/chat/completions", body, **{"X-Mlxr-Engine": engine}).status_code == 200
    page.locator(".events li", has_text="unload").first.wait_for()
    unload = next(swap for swap in reversed(gateway.status()["swaps"]) if swap["event"] == "unload")
    row = page.get_by_role("row").filter(has_text="unload tiny, llamacpp swap")
    row = row.filter(has_text=f"{unload['freed_bytes'] / 1e6:.1f} MB")
    row.filter(has_text=f"{unload['available_before_bytes'] / 1e9:.1f} GB").first.wait_for()
    load = next(swap for swap in reversed(gateway.status()["swaps"]) if swap["event"] == "load")
    row = page.get_by_role("row").filter(has_text=f"load tiny, {load['engine']}")
    row = row.filter(has_text=f"{load['rss_after_bytes'] / 1e6:.1f} MB")
    row.filter(has_text=f"{load['available_after_bytes'] / 1e9:.1f} GB").first.wait_for()
    worker = page.get_by_role("region", name="Workers").locator(".card")
    worker.get_by_text(str(gateway.status()["workers"][0]["pid"])).first.wait_for()
    page.get_by_text("Tokens of ended answers").wait_for()
    page.get_by_role("button", name="Unload tiny").click()
    page.get_by_text("No worker runs").wait_for()


def test_the_engine_is_flipped_and_the_server_suspended(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_page(visit(), "machine", ".chart canvas")
    for engine in ("mlx", "auto"):
        with page.expect_response(lambda answer: answer.request.method == "POST"):
            page.locator(".top").get_by_label("Engine").select_option(engine)
        assert gateway.get("/v1/mlxr/engine")["engine"] == engine
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Suspend").wait_for()


def test_requests_are_kept_and_shown_where_that_is_wanted(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    opened = visit()
    page = open_page(opened, "machine", ".chart canvas")
    page.locator("summary", has_text="What clients sent").click()
    page.get_by_role("button", name="Keep the last 20").click()
    page.get_by_role("button", name="Look again").wait_for()
    body = {"model": "tiny", "messages": [{"role": "user", "content": "first-question <|im_end|>"}]}
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    page.get_by_role("button", name="Look again").click()
    page.get_by_role("button", name="Show chatcmpl").click()
    page.get_by_role("group", name="As it came").get_by_text("first-question").wait_for()
    page.get_by_role("group", name="As the model is shown it").get_by_text("first-question").wait_for()
    assert opened.accessibility() == []
    page.get_by_role("button", name="Keep none").click()
    page.get_by_text("No request is kept").wait_for()
    assert gateway.get("/v1/mlxr/requests/inspected")["num_kept"] == 0


@pytest.mark.parametrize("look", LOOKS)
def test_the_history_is_accessible(visit: Callable[..., Visit], measured: list[Any], look: str) -> None:
    opened = visit(**LOOKS[look])
    page = open_page(opened, "history", ".figures")
    page.locator(".top").get_by_label("Model").select_option("tiny")
    page.locator(".chart canvas").wait_for()
    page.get_by_role("button", name="Show the run").first.click()
    page.get_by_text(f"Kept as {measured[0]['bench_id']}").wait_for()
    page.get_by_text("would serve").wait_for()
    opened.picture(f"history-{look}")
    assert opened.accessibility() == []
    assert is_narrow_enough(page)


def test_trends_and_what_auto_learned_are_the_servers_figures(
    visit: Callable[..., Visit], gateway: GatewayProcess, measured: list[Any]
) -> None:
    page = open_page(visit(), "history", ".figures")
    page.locator(".top").get_by_label("Model").select_option("tiny")
    trends = page.get_by_role("region", name="Trends")
    trends.locator(".figures tbody tr").nth(1).wait_for()
    for row, run in zip(trends.locator(".figures tbody tr").all(), reversed(measured), strict=True):
        contestants = run["summary"]["scenarios"][0]["contestants"]
        for each in contestants:
            value = each["figures"]["decode_tokens_per_s"]["value"]
            assert (f"{value:,.0f}" if value >= 10000 else f"{value:.0f}")[:3] in row.inner_text()
    learned = page.get_by_role("region", name="What auto has learned")
    learned.locator(".figures tbody tr").nth(1).wait_for()
    explained = gateway.get("/v1/mlxr/engine/explain?model=tiny&prompt_tokens=500&answer_tokens=256")
    assert explained["why"] in learned.inner_text()
    for each in explained["engines"]:
        shown = learned.get_by_role("row").filter(has_text=each["engine"]).inner_text()
        assert str(each["num_samples"]) in shown
    learned.get_by_label("Prompt tokens").select_option("16000")
    learned.get_by_text("not measured").first.wait_for()


def test_a_benchmark_is_begun_and_stopped(visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path) -> None:
    page = open_page(visit(), "history", ".top select")
    page.locator(".top").get_by_label("Model").select_option("thinker-1b")
    (gates / "decode").touch()  # it cannot end by itself
    page.get_by_role("button", name="Measure").click()
    page.get_by_text("Measuring").wait_for()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Measure").wait_for()
    wait_until(lambda: gateway.get("/v1/mlxr/bench")["running"] is None, "the benchmark is over")


def test_a_benchmark_that_others_began_is_shown_and_stopped(
    visit: Callable[..., Visit], gateway: GatewayProcess, gates: Path
) -> None:
    page = open_page(visit(), "history", ".top select")
    gate = gates / "token-2"
    gate.touch()
    with gateway.client() as client, client.stream("POST", "/v1/mlxr/bench", json=SHORT_RUN):
        page.get_by_text("Measuring tiny").wait_for()
    gate.unlink()
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Measuring").wait_for(state="detached")
    wait_until(lambda: gateway.get("/v1/mlxr/bench")["running"] is None, "the benchmark is over")


@pytest.mark.usefixtures("measured")
def test_an_answer_that_comes_late_replaces_none_that_was_asked_for_later(visit: Callable[..., Visit]) -> None:
    page = open_page(visit(), "history", ".figures")
    held: list[Route] = []

    def hold(route: "Route") -> None:
        held.append(route)

    page.route("**/v1/mlxr/bench?*model=tiny*", hold, times=1)
    model = page.locator(".top").get_by_label("Model")
    model.select_option("tiny")
    model.select_option("seer-1b")
    page.get_by_text("Nothing was measured").wait_for()
    with page.expect_response("**/v1/mlxr/bench?*model=tiny*") as late:
        held[0].continue_()
    late.value.finished()
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)))")
    assert page.get_by_text("Nothing was measured").is_visible()


@pytest.mark.parametrize("look", LOOKS)
def test_the_settings_are_accessible(visit: Callable[..., Visit], look: str) -> None:
    opened = visit(**LOOKS[look])
    page = open_page(opened, "settings", ".part")
    opened.picture(f"settings-{look}")
    page.get_by_label("Keys with this").fill("s")
    page.locator(".field").nth(100).wait_for()
    opened.picture(f"settings-keys-{look}")
    assert opened.accessibility() == []
    assert is_narrow_enough(page)


def test_a_key_of_the_config_is_checked_saved_and_put_back(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    opened = visit()
    page = open_page(opened, "settings", ".part")
    page.get_by_label("Keys with this").fill("limits.max_queue")
    field = page.get_by_label("limits.max_queue", exact=True)
    field.fill("none")
    page.keyboard.press("Enter")
    page.locator(".field").get_by_role("alert").filter(has_text="limits.max_queue: expected int").wait_for()
    field.fill("32")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Use the default of limits.max_queue", exact=True).wait_for()
    assert gateway.status()["queue"]["limit"] == 32
    page.get_by_text("from the file").wait_for()
    page.get_by_role("button", name="Use the default of limits.max_queue", exact=True).click()
    page.get_by_text("from the file").wait_for(state="detached")
    assert gateway.status()["queue"]["limit"] == 64
    opened.expect_refusals()


def test_what_needs_a_restart_says_so(visit: Callable[..., Visit], gateway: GatewayProcess) -> None:
    page = open_page(visit(), "settings", ".part")
    page.get_by_label("Keys with this").fill("logging.format")
    page.get_by_label("logging.format", exact=True).select_option("json")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("waits for a restart").wait_for()
    page.get_by_text("In force: text.").wait_for()
    page.get_by_role("button", name="Use the default of logging.format").click()
    page.get_by_text("waits for a restart").wait_for(state="detached")
    assert (
        next(each for each in gateway.get("/v1/mlxr/config")["keys"] if each["key"] == "logging.format")["origin"]
        == "default"
    )


def test_conversations_are_saved_deleted_and_taken_in_again(
    visit: Callable[..., Visit], gateway: GatewayProcess
) -> None:
    created = gateway.post("/v1/conversations", {"items": [{"type": "message", "role": "user", "content": "hello"}]})
    assert created.status_code == 200
    page = open_page(visit(), "settings", ".part")
    with page.expect_download() as saving:
        page.get_by_role("button", name="Save all conversations").click()
    saved = saving.value.path()
    page.get_by_role("button", name="Delete all conversations").click()
    page.locator("dialog[open]").get_by_role("button", name="Delete", exact=True).click()
    page.get_by_text("All conversations are deleted.").first.wait_for()
    assert gateway.get("/v1/mlxr/conversations")["conversations"] == []
    page.locator("input[type=file]").set_input_files(saved)
    page.get_by_text("1 were taken in").first.wait_for()
    assert len(gateway.get("/v1/mlxr/conversations")["conversations"]) == 1


@pytest.fixture
def open_gateway(make_home: Callable[[Path], Path], tmp_path: Path) -> Iterator[GatewayProcess]:
    """A gateway without keys that a test may give some."""
    started = GatewayProcess(make_home(tmp_path / "open"), fake_options={})
    yield started
    started.stop()


def test_keys_and_sessions_are_made_and_ended(browser: "Browser", open_gateway: GatewayProcess) -> None:
    opened = Visit(browser, open_gateway.url)
    page = open_page(opened, "settings", ".part")
    page.get_by_label("Name", exact=True).fill("me")
    page.get_by_role("button", name="Make a key").click()
    dialog = page.locator("dialog[open]")
    secret = dialog.locator("code").inner_text()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("cell", name="admin").wait_for()
    assert secret not in page.content()
    page.get_by_label("Name", exact=True).fill("other")
    page.get_by_role("button", name="Make a key").click()
    dialog.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Revoke other").click()
    dialog.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_role("row").filter(has_text="other").get_by_text("revoked").wait_for()
    code = open_gateway.post("/v1/mlxr/ui/codes", {}, Authorization=f"Bearer {secret}").json()["code"]
    page.goto(f"{opened.url}/ui/settings#code={code}")
    page.reload()
    page.get_by_role("row").filter(has_text="this one").wait_for()
    assert opened.accessibility() == []
    page.get_by_role("button", name="End the session").click()
    page.locator("dialog[open]").get_by_label("API key").wait_for()
    opened.close()
    opened.expect_refusals()
    assert opened.problems == []


def test_a_key_that_may_only_ask_is_told_so_once(browser: "Browser", keyed: KeyedServer) -> None:
    opened = Visit(browser, keyed.gateway.url)
    page = opened.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.removeprefix(opened.url)))
    page.goto(f"{opened.url}/ui/")
    page.evaluate("key => sessionStorage.setItem('mlxr.key', key)", keyed.secrets["inference"])
    for name in ("machine", "history", "settings"):
        page.goto(f"{opened.url}/ui/{name}")
        page.get_by_text("The key of this page may not see this.").first.wait_for()
    page.goto(f"{opened.url}/ui/models")
    page.locator(".card").first.wait_for()
    assert opened.accessibility() == []
    assert asked.count("/v1/mlxr/status") == 1
    opened.close()
    opened.expect_refusals()
    assert opened.problems == []
