"""Who gets in: a page with a key, and not the page of another program."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.e2e.web.test_page import ask
from tests.support.browser import Visit
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.keyed_server import WRONG, KeyedServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow


def test_a_server_with_keys_asks_for_one(browser: "Browser", keyed: KeyedServer) -> None:
    opened = Visit(browser, keyed.gateway.url)
    page = opened.page
    page.goto(f"{opened.url}/ui/")
    dialog = page.locator("dialog[open]")
    dialog.get_by_label("API key").fill(WRONG)
    assert opened.accessibility() == []
    dialog.get_by_role("button", name="Use it").click()
    dialog.get_by_role("alert").filter(has_text="API key").wait_for()
    for kind, why in (("expired", "expired on"), ("metrics", "scope")):
        dialog.get_by_label("API key").fill(keyed.secrets[kind])
        dialog.get_by_role("button", name="Use it").click()
        dialog.get_by_role("alert").filter(has_text=why).wait_for()
    page.route("**/v1/models", lambda route: route.abort(), times=1)
    dialog.get_by_role("button", name="Use it").click()
    dialog.get_by_role("alert").filter(has_text="The server does not answer.").wait_for()
    dialog.get_by_label("API key").fill(keyed.secrets["inference"])
    dialog.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#model option", state="attached")
    ask(opened, "a question")
    page.reload()
    page.locator(".stats").wait_for()
    assert page.locator(".conversations .title").inner_text() == "a question"
    assert WRONG not in page.content()
    assert page.evaluate("localStorage.getItem('mlxr.key')") is None
    page.evaluate("key => sessionStorage.setItem('mlxr.key', key)", keyed.secrets["revoked"])
    page.reload()
    dialog.get_by_label("API key").fill(keyed.secrets["inference"])
    dialog.get_by_label("Keep it in this browser").check()
    dialog.get_by_role("button", name="Use it").click()
    page.locator(".stats").wait_for()
    assert page.evaluate("localStorage.getItem('mlxr.key')") == keyed.secrets["inference"]
    opened.close()
    opened.expect_refusals()
    assert opened.problems == []
    assert keyed.gateway.stop() == 0


def test_a_server_that_goes_is_noticed_also_with_a_key_that_hears_no_events(
    browser: "Browser", keyed: KeyedServer
) -> None:
    opened = Visit(browser, keyed.gateway.url)
    page = opened.page
    page.goto(f"{opened.url}/ui/")
    dialog = page.locator("dialog[open]")
    dialog.get_by_label("API key").fill(keyed.secrets["inference"])
    dialog.get_by_role("button", name="Use it").click()
    page.wait_for_selector("#model option", state="attached")
    assert keyed.gateway.stop() == 0
    page.get_by_role("alert").filter(has_text="does not answer").wait_for()
    page.locator(".state.offline").wait_for()
    opened.close()
    opened.expect_refusals()
    assert opened.problems == []


def test_a_code_lets_the_page_in_once_and_leaves_its_address(browser: "Browser", keyed: KeyedServer) -> None:
    address = run_cli(keyed.home, "ui", "--print").stdout.strip()
    opened = Visit(browser, keyed.gateway.url)
    page = opened.page
    page.goto(address)
    page.wait_for_selector("#model option", state="attached")
    assert page.url == f"{keyed.gateway.url}/ui/"
    assert page.locator("dialog[open]").count() == 0
    page.reload()
    page.wait_for_selector("#model option", state="attached")
    assert opened.problems == []
    token = page.evaluate("localStorage.getItem('mlxr.key')")
    (session,) = json.loads(run_cli(keyed.home, "keys", "sessions", "--json").stdout)
    assert "Chrome" in session["client"]
    opened.close()
    assert token.startswith("sk-mlxr-")
    late = Visit(browser, keyed.gateway.url)
    late.page.goto(address)
    late.page.locator("dialog[open]").get_by_label("API key").wait_for()
    assert late.page.evaluate("localStorage.getItem('mlxr.key')") is None
    late.close()
    assert keyed.gateway.stop() == 0


class _Stranger(http.server.BaseHTTPRequestHandler):
    """The page of another program."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>stranger</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


@pytest.fixture
def stranger() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Stranger) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


_TRY = """async ([url, tries]) => {
    const seen = [];
    for (const [method, path, body] of tries) {
        try {
            const answer = await fetch(url + path, {method, body});
            seen.push([method, path, answer.status, answer.ok ? await answer.text() : ""]);
        } catch {
            seen.push([method, path, 0, ""]);
        }
    }
    return seen;
}"""


def test_a_page_on_another_port_reads_and_changes_no_conversation(
    visit: Callable[..., Visit], gateway: GatewayProcess, browser: "Browser", stranger: str
) -> None:
    opened = visit()
    page = opened.open()
    ask(opened, "first-question in private")
    kept = page.url.rpartition("/")[2]
    before = gateway.get(f"/v1/mlxr/conversations/{kept}")
    tries = [
        ("GET", "/v1/mlxr/conversations", None),
        ("GET", f"/v1/mlxr/conversations/{kept}", None),
        ("GET", f"/v1/conversations/{kept}/items", None),
        ("POST", f"/v1/conversations/{kept}/items", '{"items": [{"role": "user", "content": "mine"}]}'),
        ("PATCH", f"/v1/mlxr/conversations/{kept}", '{"title": "mine"}'),
        ("DELETE", f"/v1/conversations/{kept}", None),
        ("DELETE", "/v1/mlxr/conversations", None),
        ("GET", "/v1/mlxr/requests", None),
        ("GET", "/v1/mlxr/events", None),
        ("GET", "/v1/files", None),
        ("GET", "/v1/mlxr/config", None),
        ("PATCH", "/v1/mlxr/config", '{"set": {"standby": true}}'),
        ("POST", "/v1/mlxr/engine", '{"engine": "mlx"}'),
        ("GET", "/v1/mlxr/models/settings?model=tiny", None),
        ("PATCH", "/v1/mlxr/models/settings", '{"model": "tiny", "set": {"seed": 1}}'),
        ("POST", "/v1/mlxr/models/aliases", '{"model": "tiny", "alias": "mine"}'),
        ("GET", "/v1/mlxr/hub/search?q=tiny", None),
        ("POST", "/v1/mlxr/models/stop", '{"model": "tiny"}'),
        ("POST", "/v1/mlxr/suspend", None),
        ("POST", "/v1/mlxr/ui/codes", None),
        ("GET", "/v1/mlxr/ui/sessions", None),
        ("POST", "/api/copy", '{"source": "tiny", "destination": "mine"}'),
        ("DELETE", "/api/delete", '{"model": "tiny"}'),
        ("DELETE", "/v1/models/tiny", None),
    ]
    context = browser.new_context()
    other = context.new_page()
    other.goto(stranger)
    seen = other.evaluate(_TRY, [gateway.url, tries])
    context.close()
    assert [(method, path) for method, path, status, _ in seen if status not in {0, 403}] == []
    assert gateway.get(f"/v1/mlxr/conversations/{kept}") == before
