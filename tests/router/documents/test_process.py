"""One document in a real child: what it may, what becomes of one that takes too much, and of one that is cancelled."""

import asyncio
import contextlib
import json
import os
import sys
import zlib
from pathlib import Path

import psutil
import pytest

from router.documents import process
from router.documents.messages import Task
from router.documents.process import read_in_child
from tests.support.document_reading import task_of
from tests.support.documents import docx, ods, ods_row, pdf, pdf_of, stream
from tests.support.waiting import until

pytestmark = pytest.mark.slow  # each is a process

SMALL = 256 << 20


async def problem_of(name: str, data: bytes, **limits: int) -> str:
    reading = await read_in_child(task_of(name, data, **limits), data)
    assert reading.problem is not None
    return reading.problem


async def test_a_document_is_read() -> None:
    data = docx()
    reading = await read_in_child(task_of("a.docx", data), data)
    assert (reading.problem, reading.markdown) == (None, "# Report\n\nThe answer is 42.")


def page_of(content: bytes) -> bytes:
    page = b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>"
    pages = b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"
    return pdf_of([b"<< /Type /Catalog /Pages 2 0 R >>", pages, page, content])


async def test_one_that_takes_too_much_memory_is_ended() -> None:
    packer = zlib.compressobj(9)
    content = b"".join([*(packer.compress(b"0 0 m " * 200_000) for _ in range(400)), packer.flush()])
    bomb = stream(content, b"/Filter /FlateDecode")
    problem = await problem_of("a.pdf", page_of(bomb), max_memory_bytes=SMALL)
    assert "documents.max_memory_bytes" in problem


async def test_one_that_takes_too_long_is_ended() -> None:
    rows = ods_row("x" * 10) * 300_000
    problem = await problem_of("a.ods", ods(rows), max_cpu_s=1, timeout_s=600, max_ratio=100_000, max_chars=100_000_000)
    assert "documents.max_cpu_s" in problem


class Stuck:
    """A child that says nothing for ever, and its process id."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
        monkeypatch.setattr(process, "_ARGV", (sys.executable, "-I", "-c", code))
        self.known = {child.pid for child in psutil.Process().children()}

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in psutil.Process().children() if child.pid not in self.known]


async def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck(monkeypatch, "import time; time.sleep(1000)")
    assert "documents.timeout_s" in await problem_of("a.txt", b"x", timeout_s=1)
    assert stuck.pids == []


async def test_cancelling_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck(monkeypatch, "import time; time.sleep(1000)")
    data = b"x" * (1 << 20)  # more than a pipe holds: nobody reads it
    reading = asyncio.create_task(read_in_child(task_of("a.txt", data), data))
    await until(lambda: bool(stuck.pids), "the child is there")
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading
    assert stuck.pids == []


@pytest.mark.parametrize(
    "code",
    [
        "import os; os.abort()",
        "import os; os._exit(0)",
        "print('no reply of ours')",
        "import sys; [sys.stdout.write('x' * (1 << 20)) for _ in range(100)]",
        "raise SystemExit(3)",
    ],
)
async def test_whatever_becomes_of_it_there_is_an_answer(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    stuck = Stuck(monkeypatch, code)
    assert await problem_of("a.txt", b"x" * 1000)
    assert stuck.pids == []


PROBE = """
import json, os, resource, socket, sys
from router.documents import child
seen = {"environment": dict(os.environ), "folder": os.getcwd()}
seen["descriptors"] = sorted(map(int, os.listdir("/dev/fd")))
def probe(task, data, on_ready):
    def outcome(do):
        try:
            do()
        except (OSError, MemoryError) as exc:
            return type(exc).__name__
        return "done"
    seen["network"] = outcome(lambda: socket.create_connection(("127.0.0.1", int(data)), 5))
    seen["memory"] = outcome(lambda: bytearray(2 << 30))
    on_ready()
    seen["socket"] = outcome(socket.socket)
    seen["program"] = outcome(lambda: os.posix_spawn("/bin/true", ["true"], {}))
    seen["write"] = outcome(lambda: open("/tmp/written-by-a-child", "w"))
    seen["remove"] = outcome(lambda: os.remove("/tmp/nothing-here"))
    seen["core"] = resource.getrlimit(resource.RLIMIT_CORE)[0]
    return child.Reading(kind=task.kind, markdown=json.dumps(seen))
child.read = probe
child.main()
"""


async def test_a_child_has_nothing_but_its_pipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(process, "_ARGV", (sys.executable, "-I", "-B", "-c", PROBE))
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    held = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(held, True)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = str(server.sockets[0].getsockname()[1]).encode()
    try:
        reading = await read_in_child(task_of("a.txt", port), port)
    finally:
        server.close()
        os.close(held)
    assert reading.problem is None, reading.problem
    seen = json.loads(reading.markdown)
    assert [each for each in seen["descriptors"] if each > 2] in ([], [3]), "the listing itself has one"
    assert not [name for name in seen["environment"] if name not in {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"}]
    assert seen["folder"] == "/"
    assert seen["core"] == 0
    refused = [seen[name] for name in ("socket", "program", "write", "remove")]
    assert refused == ["PermissionError"] * 4
    if sys.platform == "linux":
        assert seen["memory"] == "MemoryError"
    if sys.platform == "linux" and await can_unshare():
        assert seen["network"] != "done"


async def can_unshare() -> bool:
    """Whether the kernel lets everybody into a network namespace of their own."""
    code = "import ctypes, sys; sys.exit(0 if ctypes.CDLL(None).unshare(0x50000000) == 0 else 1)"
    child = await asyncio.create_subprocess_exec(sys.executable, "-I", "-c", code)
    return await child.wait() == 0


async def test_the_gateway_is_free_meanwhile() -> None:
    """The loop turns while a child works: nothing of a document is parsed here."""
    data = pdf(["text " * 200] * 300)
    reading = asyncio.create_task(read_in_child(task_of("a.pdf", data), data))
    turns = 0
    while not reading.done():
        await asyncio.sleep(0)
        turns += 1
    assert (await reading).num_pages == 300
    assert turns > 100


def test_a_task_names_no_path() -> None:
    assert not [name for name in Task.__struct_fields__ if "path" in name]
