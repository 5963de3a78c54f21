"""The routes of the page, asked as a browser asks them."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar

from router.protocols.ollama.routes import say_hello
from router.web.assets import Assets
from router.web.policy import PAGE_HEADERS
from router.web.routes import page_routes

NAVIGATION = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8", "sec-fetch-mode": "navigate"}
OURS = Path(__file__).parents[3] / "router" / "web"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "static").mkdir()
    (tmp_path / "vendor").mkdir()
    page = '<!doctype html><script type="module" src="/ui/app.js"></script>'
    (tmp_path / "static" / "index.html").write_text(page + "x" * 500)
    (tmp_path / "static" / "app.js").write_text("run()")
    (tmp_path / "vendor" / "preact.js").write_text("preact")
    return tmp_path


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    app: Any = Litestar([say_hello, *page_routes(Assets(folder))], openapi_config=None, logging_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/models", "/ui/c/conv_12"])
async def test_addresses_within_the_page_are_the_page(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.text.startswith("<!doctype html>")
    for name, value in PAGE_HEADERS:
        assert answer.headers[name.decode()] == value.decode()


async def test_what_is_known_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/ui/app.js")
    again = await client.get("/ui/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]


async def test_what_the_page_names_is_never_asked_for_again_until_a_file_changes(
    client: httpx.AsyncClient, folder: Path
) -> None:
    async def named() -> str:
        page = await client.get("/ui/")
        assert page.headers["cache-control"] == "no-cache"
        (address,) = re.findall(r'src="(/ui/@[0-9a-f]{16}/app\.js)"', page.text)
        return str(address)

    before = await named()
    assert await named() == before
    file = await client.get(before)
    assert (file.text, file.headers["cache-control"]) == ("run()", "public, max-age=31536000, immutable")
    library = await client.get(before.replace("app.js", "vendor/preact.js"))
    assert (library.text, "immutable" in library.headers["cache-control"]) == ("preact", True)
    (folder / "static" / "app.js").write_text("run(anew)")
    after = await named()
    assert after != before
    assert "immutable" in (await client.get(after)).headers["cache-control"]
    for path in (before, "/ui/app.js", "/ui/@/app.js"):
        old = await client.get(path)
        assert (old.text, old.headers["cache-control"]) == ("run(anew)", "no-cache")
    for path in (f"{after}.map", "/ui/@x/../index.js", "/ui/@app.js"):
        assert (await client.get(path)).status_code == 404


async def test_files_are_sent_smaller_to_whoever_takes_that(client: httpx.AsyncClient) -> None:
    small = await client.get("/ui/", headers={"accept-encoding": "gzip"})
    plain = await client.get("/ui/", headers={"accept-encoding": "identity"})
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert small.content == plain.content


@pytest.mark.parametrize("path", ["/ui/missing.js", "/ui/../pyproject.toml", "/ui/vendor/..%2f..%2fassets.py"])
async def test_what_is_not_there_is_a_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_without_its_libraries_the_page_says_how_to_build_them(client: httpx.AsyncClient, folder: Path) -> None:
    (folder / "vendor" / "preact.js").unlink()
    answer = await client.get("/ui/")
    assert answer.status_code == 503
    assert "scripts/web" in answer.text


async def test_a_browsers_user_is_sent_to_the_page_and_everybody_else_gets_ollamas_answer(
    client: httpx.AsyncClient,
) -> None:
    sent = await client.get("/", headers=NAVIGATION)
    assert (sent.status_code, sent.headers["location"]) == (302, "/ui/")
    for headers in ({}, {"accept": "*/*"}, NAVIGATION | {"sec-fetch-mode": "cors"}, {"accept": "application/json"}):
        answer = await client.get("/", headers=headers)
        assert (answer.status_code, answer.text) == (200, "Ollama is running")


def test_the_page_has_no_inline_script_style_or_other_origin() -> None:
    index = (OURS / "static" / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=\"/ui/)[^>]*>", index) == []
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://", index)
    for file in (OURS / "static").rglob("*.js"):
        text = file.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|dangerouslySet|\beval\(|new Function", text), file
