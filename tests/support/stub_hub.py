"""A hub on loopback for tests: repositories in memory, a second origin as content network, and faults on demand.

Runs in a thread with an event loop of its own, so that it serves any process. Use as a context manager.
"""

import asyncio
import hashlib
import json
import re
import socket
import struct
import threading
import zlib
from collections import defaultdict
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.support.hub_faults import Fault
from tests.support.waiting import POLL_S, WITHIN_S

COMMIT = "a" * 39 + "1"
LFS_BYTES = 1_000
CHUNK = 16 * 1024


class Seen(NamedTuple):
    origin: str
    path: str
    headers: dict[str, str]


class Served(NamedTuple):
    path: str
    authorization: str | None
    start: int
    end: int


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class StubHub:
    """Serves `repos`: name -> path -> bytes. Files of 1,000 bytes and more are LFS files.

    Attributes:
        held_after: Files creep after so many bytes, as long as this is set: bytes still come, so that nobody takes the
            connection for dead, but no file ends.
    """

    def __init__(self, repos: dict[str, dict[str, bytes]] | None = None, *, bytes_per_s: float | None = None) -> None:
        self.repos = repos or {}
        self.bytes_per_s = bytes_per_s
        self.held_after: int | None = None
        self.faults: defaultdict[tuple[str, str], list[Fault]] = defaultdict(list)
        self.api_answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.renamed: dict[str, str] = {}
        self.seen: list[Seen] = []
        self.served: list[Served] = []
        self.is_redirecting = False
        self.token: str | None = None
        self._is_ready = threading.Event()
        self._has_served = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="stub-hub")
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.url = ""
        self.cdn_url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(WITHIN_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(WITHIN_S)

    def wait_served(self, num_bytes: int) -> None:
        """Wait until so many bytes of files were handed to the system."""
        with self._has_served:
            assert self._has_served.wait_for(
                lambda: sum(served.end - served.start for served in self.served) >= num_bytes, timeout=WITHIN_S
            )

    def file_requests(self, path: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.endswith(path) and "/api/" not in seen.path]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connections: set[asyncio.Task[None]] = set()

        async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str) -> None:
            task = asyncio.current_task()
            assert task is not None
            connections.add(task)
            try:
                await self._connection(reader, writer, origin)
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                connections.discard(task)
                writer.transport.abort()

        hub = await asyncio.start_server(lambda r, w: on_connection(r, w, "hub"), "127.0.0.1", 0)
        cdn = await asyncio.start_server(lambda r, w: on_connection(r, w, "cdn"), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{hub.sockets[0].getsockname()[1]}"
        self.cdn_url = f"http://127.0.0.1:{cdn.sockets[0].getsockname()[1]}"
        self._is_ready.set()
        await self._stop.wait()
        hub.close()
        cdn.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, origin: str) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            target = head[0].split(" ")[1]
            self.seen.append(Seen(origin, unquote(target), headers))
            if not await self._answer(writer, origin, target, headers):
                return

    async def _answer(self, writer: asyncio.StreamWriter, origin: str, target: str, headers: dict[str, str]) -> bool:
        url = urlsplit(target)
        path = unquote(url.path)
        if path in self.api_answers:
            status, extra, body = self.api_answers[path]
        elif self.token is not None and origin == "hub" and headers.get("authorization") != f"Bearer {self.token}":
            status, extra, body = 401, {}, b"{}"
        elif path == "/api/models":
            text = parse_qs(url.query).get("search", [""])[0].lower()
            found = [self._model(repo) for repo in self.repos if text in repo.lower()]
            status, extra, body = 200, {}, json.dumps(found).encode()
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return await self._api(writer, match[1], match[2])
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return await self._resolve(writer, origin, match[1], match[3], headers)
        else:
            status, extra, body = 404, {}, b"{}"
        return await self._send(writer, status, body, extra)

    async def _api(self, writer: asyncio.StreamWriter, repo: str, revision: str | None) -> bool:
        if repo in self.renamed:
            return await self._send(writer, 307, b"", {"Location": f"/api/models/{self.renamed[repo]}?blobs=true"})
        if repo not in self.repos:
            return await self._send(writer, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if revision not in {None, "main", COMMIT}:
            return await self._send(writer, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        return await self._send(writer, 200, json.dumps(self._model(repo)).encode())

    def _model(self, repo: str) -> dict[str, Any]:
        siblings = []
        for path, data in self.repos[repo].items():
            sibling: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_sha1(data)}
            if len(data) >= LFS_BYTES:
                sibling["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
            siblings.append(sibling)
        return {"id": repo, "sha": COMMIT, "siblings": siblings, "downloads": 5, "tags": ["gguf"], "gated": False}

    async def _resolve(
        self, writer: asyncio.StreamWriter, origin: str, repo: str, path: str, headers: dict[str, str]
    ) -> bool:
        data = self.repos.get(repo, {}).get(path)
        if data is None:
            return await self._send(writer, 404, b"{}", {"X-Error-Code": "EntryNotFound"})
        if self.is_redirecting and origin == "hub":
            location = f"{self.cdn_url}/{repo}/resolve/{COMMIT}/{quote(path)}?signed=1"
            return await self._send(writer, 302, b"", {"Location": location})
        script = self.faults[repo, path]
        fault = script[0] if script else Fault("none")
        if script and not fault.is_forever:
            script.pop(0)
        if fault.kind == "redirect" and origin == "cdn":
            fault = Fault("none")
        plain = await self._plain_fault(writer, fault, f"/{repo}/resolve/{COMMIT}/{quote(path)}")
        if plain is not None:
            return plain
        return await self._blob(writer, path, data, headers, fault)

    async def _plain_fault(self, writer: asyncio.StreamWriter, fault: Fault, target: str) -> bool | None:
        """Answer without a body of the file."""
        match fault.kind:
            case "status":
                extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
                return await self._send(writer, fault.status, b"{}", extra)
            case "redirect" | "redirect_loop" | "redirect_http":
                locations = {"redirect": f"{self.cdn_url}{target}?signed=1", "redirect_loop": target}
                location = locations.get(fault.kind, "http://203.0.113.7:1/x")
                return await self._send(writer, 302, b"", {"Location": location})
            case "encoded":
                body = zlib.compress(b"\0" * 100_000)
                return await self._send(writer, 200, body, {"Content-Encoding": "gzip"})
            case "junk":
                writer.write(b"HTTP/1.1 what\r\nnever\r\n\r\n")
                await writer.drain()
                return False
        return None

    async def _blob(
        self, writer: asyncio.StreamWriter, path: str, data: bytes, headers: dict[str, str], fault: Fault
    ) -> bool:
        etag: str | None = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
        if fault.kind in {"new_etag", "no_etag", "weak_etag"}:
            etag = {"new_etag": '"other"', "no_etag": None, "weak_etag": f"W/{etag}"}[fault.kind]
        size, start, end, status = len(data), 0, len(data), 200
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        is_same = headers.get("if-range", etag) == etag
        if match is not None and is_same and fault.kind != "ignore_range":
            start, end, status = int(match[1]), min(int(match[2]) + 1, size), 206
        body = bytearray(data[start:end])
        if fault.kind == "flip" and body:
            body[fault.after % len(body)] ^= 1
        if fault.kind == "short":
            del body[len(body) // 2 :]
        if fault.kind in {"long", "chunked_long"}:
            body += b"more"
        lines = [f"HTTP/1.1 {status} X", *([f"ETag: {etag}"] if etag is not None else [])]
        if status == 206:
            shift, more = int(fault.kind == "wrong_range"), int(fault.kind == "wrong_total")
            lines.append(f"Content-Range: bytes {start + shift}-{end - 1 + shift}/{size + more}")
        is_chunked = fault.kind == "chunked_long"
        is_endless = fault.kind == "no_length"
        if is_chunked:
            lines.append("Transfer-Encoding: chunked")
        elif not is_endless:
            lines.append(f"Content-Length: {len(body)}")
        writer.write("\r\n".join([*lines, "", ""]).encode())
        self.served.append(Served(path, headers.get("authorization"), start, start))
        is_whole = await self._body(writer, bytes(body), fault, is_chunked=is_chunked)
        return is_whole and not is_endless

    async def _body(self, writer: asyncio.StreamWriter, body: bytes, fault: Fault, *, is_chunked: bool) -> bool:
        place = len(self.served) - 1
        limit = min(fault.after, len(body)) if fault.kind in {"drop", "reset", "stall"} else None
        if fault.kind == "stall" and limit == len(body) > 0:
            limit -= 1  # whole, it would leave a connection that looks fit for the next request, and answers none
        sent = 0
        until = len(body) if limit is None else limit
        while sent < until:
            creeps = self.held_after is not None and sent >= self.held_after
            step = 1 if creeps else 2_048 if fault.kind == "slow" else CHUNK
            piece = body[sent : min(sent + step, until)]
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
            await writer.drain()
            sent += len(piece)
            with self._has_served:
                self.served[place] = self.served[place]._replace(end=self.served[place].start + sent)
                self._has_served.notify_all()
            if creeps:
                await asyncio.sleep(POLL_S)
            elif self.bytes_per_s is not None:
                await asyncio.sleep(len(piece) / self.bytes_per_s)
            elif fault.kind == "slow":
                await asyncio.sleep(0.001)
        if limit is None:
            if is_chunked:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            return True
        if fault.kind == "stall":
            await self._stop.wait()
        if fault.kind == "reset":
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            writer.close()
            await writer.wait_closed()
        return False

    async def _send(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str] | None = None
    ) -> bool:
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        return True
