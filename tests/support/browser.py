"""The system's Chromium, driven by Playwright, for tests that open the page; whatever it complains about fails them.

Where there is no browser the tests are skipped, unless `MLXR_TESTS_NEED_BROWSER` is set, as it is in CI.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.support.waiting import WITHIN_S

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

CHROMIUM: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WEB: Final = Path(__file__).parents[2] / "router" / "web"
_AXE: Final = WEB / "node_modules" / "axe-core" / "axe.min.js"
_MUST: Final = "MLXR_TESTS_NEED_BROWSER"
_NO_OTHER_HOSTS: Final = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"

# Policies that were violated are told to the console too, but not those of Trusted Types in every version.
_WATCH: Final = """addEventListener("securitypolicyviolation",
    (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`))"""


def skip_or_fail(reason: str) -> None:
    """Skip a test that needs what is not here; in CI it fails."""
    if os.environ.get(_MUST):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Start the browser."""
    playwright = pytest.importorskip("playwright.sync_api") if not os.environ.get(_MUST) else _playwright()
    if CHROMIUM is None:
        skip_or_fail("no Chromium here (Debian: apt-get install chromium)")
    if not (WEB / "vendor" / "preact.js").exists():
        skip_or_fail("the page's libraries are not built (scripts/web)")
    with playwright.sync_playwright() as running:
        # Chromium refuses to run as root with its sandbox.
        arguments = [_NO_OTHER_HOSTS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments, timeout=WITHIN_S * 1000)
        try:
            yield browser
        finally:
            browser.close()


def _playwright() -> Any:
    import playwright.sync_api

    return playwright.sync_api


_REFUSAL = "Failed to load resource"
_SCREENSHOTS: Final = "MLXR_TESTS_SCREENSHOTS"
"""Names a folder for pictures, of which docs/web.md shows some."""


class Visit:
    """A page in a window of its own.

    Attributes:
        problems: What the browser complained about, and requests to other hosts.
    """

    def __init__(self, browser: "Browser", url: str, **options: Any) -> None:
        self.url = url
        self.problems: list[str] = []
        self._expects_refusals = False
        self._context = browser.new_context(**({"viewport": {"width": 1200, "height": 800}} | options))
        self._context.set_default_timeout(WITHIN_S * 1000)
        self._context.add_init_script(_WATCH)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        # Only watched: a request that passes through the test would stand still while the test waits for its effect.
        self.page.on("request", self._on_request)

    def expect_refusals(self) -> None:
        """Leave out what the browser says of answers that were meant to be errors, also where it says so late."""
        self._expects_refusals = True
        self.problems[:] = [each for each in self.problems if _REFUSAL not in each]

    def _on_console(self, message: "ConsoleMessage") -> None:
        is_expected = self._expects_refusals and _REFUSAL in message.text
        if message.type in {"error", "warning"} and not is_expected:
            self.problems.append(f"{message.type}: {message.text}")

    def _on_request(self, request: "Request") -> None:
        if not request.url.startswith((self.url + "/", "data:", "blob:")):
            self.problems.append(f"foreign: {request.url}")

    def open(self, path: str = "/ui/") -> "Page":
        """Open an address of the server, and wait until the page stands and knows the models."""
        self.page.goto(self.url + path)
        self.page.wait_for_selector("#model option", state="attached")
        return self.page

    def accessibility(self) -> list[str]:
        """Return what axe finds wrong."""
        if not _AXE.exists():
            skip_or_fail("axe-core is not installed (scripts/web --check)")
        self.page.evaluate(_AXE.read_text())
        found = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            f"{violation['id']}: {node['html'][:120]} {node['failureSummary'][:300]}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def picture(self, name: str) -> None:
        """Write a picture of what is shown, where that is wanted."""
        if folder := os.environ.get(_SCREENSHOTS):
            self.page.screenshot(path=Path(folder, f"{name}.png"))

    def close(self) -> None:
        """Close the window."""
        self._context.close()
