"""Fetching pictures: what is public is fetched, by the address that was looked at, and nothing else is ever reached."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx
import pytest

from backends.errors import ImageError
from router.protocols.images import fetching
from router.protocols.images.fetching import PublicFetcher, is_public, resolved

PUBLIC: Final = "93.184.216.34"
ANSWER: Final = "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 3\r\n\r\npng"


class _Web(httpx.AsyncHTTPTransport):
    """The public internet: every address leads to one local server, which is really asked."""

    def __init__(self, port: int) -> None:
        super().__init__(trust_env=False)
        self._port = port
        self.asked: list[tuple[str, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append((request.url.host, request.headers["host"]))
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self._port)
        return await super().handle_async_request(request)


class _Names:
    """A resolver of which each answer is the next of a name's list; the last one stays."""

    def __init__(self, **names: list[Sequence[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        answers = self.names.get(host)
        if answers is None:
            return await resolved(host, _port)  # an address is its own
        return answers.pop(0) if len(answers) > 1 else answers[0]


@asynccontextmanager
async def web(answer: Callable[[str], str], resolve: _Names) -> AsyncIterator[tuple[PublicFetcher, _Web]]:
    """Serve answers to paths, and give what fetches from there."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert "cookie" not in head.lower()
        assert "authorization" not in head.lower()
        writer.write(answer(head.split(" ")[1]).encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        there = _Web(server.sockets[0].getsockname()[1])
        yield PublicFetcher(resolve=resolve, transport=there), there


async def test_a_picture_is_fetched_from_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that means this machine a moment later is not asked for again; proxies of the environment are none."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    names = _Names(pictures_example=[[PUBLIC], ["127.0.0.1"]])
    async with web(lambda _: ANSWER, names) as (fetcher, there):
        assert await fetcher.fetch("http://pictures.example:8080/a.png?b=c") == b"png"
    assert there.asked == [(PUBLIC, "pictures.example:8080")]
    with pytest.raises(ImageError, match="not in the public internet"):
        await fetcher.fetch("http://pictures.example/a.png")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.1", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.7", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1"),
        *("64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "2001:0:7f00:1::"),
        *("", "localhost", "1", "0177.0.0.1", "0x7f.1"),
    ],
)
def test_an_address_that_is_not_public_is_none(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", f"::ffff:{PUBLIC}"])
def test_a_public_address_is_one(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "2130706433", "0177.0.0.1", "0x7f000001", "127.1", "0"),
        *("[::1]", "[::ffff:127.0.0.1]", "[fe80::1]", "169.254.169.254", "localhost", "localhost."),
        *("both.example", "mixed.example", "nobody.example"),
    ],
)
async def test_nothing_that_is_not_public_is_reached(host: str) -> None:
    names = _Names(both_example=[["10.0.0.1", "10.0.0.2"]], mixed_example=[[PUBLIC, "127.0.0.1"]], nobody_example=[[]])
    async with web(lambda _: ANSWER, names) as (fetcher, there):
        with pytest.raises(ImageError, match=r"not in the public internet|is not known|cannot be read"):
            await fetcher.fetch(f"http://{host}/latest/meta-data")
    assert there.asked == []


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("file:///etc/passwd", "none of http or https"),
        ("ftp://pictures.example/a.png", "none of http or https"),
        ("gopher://pictures.example/", "none of http or https"),
        ("http:///a.png", "none of http or https"),
        ("http://me:secret@pictures.example/a.png", "user name or password"),
        ("http://pictures.example:99999/", "cannot be read"),
        ("http://[::1/", "cannot be read"),
        ("http://" + "a" * 9000, "cannot be read"),
    ],
)
async def test_what_is_no_plain_address_is_refused(url: str, words: str) -> None:
    async with web(lambda _: ANSWER, _Names(pictures_example=[[PUBLIC]])) as (fetcher, there):
        with pytest.raises(ImageError, match=words):
            await fetcher.fetch(url)
    assert there.asked == []


def moved(to: str) -> str:
    return f"HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"


async def test_a_redirect_is_followed_where_it_leads_to_the_public() -> None:
    pages = {"/a": moved("/b"), "/b": moved("https://other.example/c"), "/c": ANSWER}
    names = _Names(pictures_example=[[PUBLIC]], other_example=[["1.1.1.1"]])
    async with web(pages.__getitem__, names) as (fetcher, there):
        assert await fetcher.fetch("http://pictures.example/a") == b"png"
    assert there.asked == [
        *((PUBLIC, "pictures.example"), (PUBLIC, "pictures.example")),
        ("1.1.1.1", "other.example"),
    ]


@pytest.mark.parametrize(
    ("to", "words"),
    [
        ("http://127.0.0.1/", "not in the public internet"),
        ("http://169.254.169.254/latest/meta-data", "not in the public internet"),
        ("//localhost/x", "not in the public internet"),
        ("http://rebound.example/", "not in the public internet"),
        ("file:///etc/passwd", "none of http or https"),
        ("http://pictures.example/again", "more than 3 times"),
        ("http://[", "is not known"),
    ],
)
async def test_a_redirect_elsewhere_is_refused(to: str, words: str) -> None:
    names = _Names(pictures_example=[[PUBLIC]], rebound_example=[["127.0.0.1"]])
    async with web(lambda _: moved(to), names) as (fetcher, there):
        with pytest.raises(ImageError, match=words):
            await fetcher.fetch("http://pictures.example/a")
    assert {host for host, _ in there.asked} == {PUBLIC}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "status 404"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "larger than"),
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", "compressed"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "cannot be fetched"),
        ("nonsense\r\n\r\n", "cannot be fetched"),
        ("", "cannot be fetched"),
    ],
)
async def test_an_answer_that_is_no_picture_is_refused(answer: str, words: str) -> None:
    async with web(lambda _: answer, _Names(pictures_example=[[PUBLIC]])) as (fetcher, _):
        with pytest.raises(ImageError, match=words):
            await fetcher.fetch("http://pictures.example/a")


async def test_what_says_nothing_of_its_length_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_IMAGE_BYTES", 1000)
    answer = "HTTP/1.1 200 OK\r\n\r\n" + "x" * 5000
    async with web(lambda _: answer, _Names(pictures_example=[[PUBLIC]])) as (fetcher, _):
        with pytest.raises(ImageError, match="larger than"):
            await fetcher.fetch("http://pictures.example/a")


async def test_a_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.05)

    async def silent(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(ImageError, match="did not answer within"):
        await PublicFetcher(resolve=silent).fetch("http://pictures.example/a")
