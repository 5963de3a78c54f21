"""Reading documents in turn, and what is kept of them; what reads them is stood in for."""

import asyncio

import msgspec
import pytest

from router.config import Config, CurrentConfig
from router.config.documents import DocumentsConfig
from router.documents.kinds import Kind
from router.documents.messages import Reading, Task
from router.documents.reader import MAX_WAITING_BYTES, DocumentReader
from router.errors import DocumentError, QueueFullError
from tests.support.waiting import until


class Child:
    """Stands in for it: echoes; counts; may be held."""

    def __init__(self) -> None:
        self.num_read = 0
        self.num_at_once = 0
        self.most_at_once = 0
        self.free = asyncio.Event()
        self.free.set()

    async def read(self, task: Task, data: bytes) -> Reading:
        self.num_read += 1
        self.num_at_once += 1
        self.most_at_once = max(self.most_at_once, self.num_at_once)
        try:
            await self.free.wait()
        finally:
            self.num_at_once -= 1
        if data == b"bad":
            return Reading(kind=task.kind, problem="is damaged")
        return Reading(kind=Kind.TEXT, markdown=data[:100].decode())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def reader_of(child: Child, clock: Clock | None = None, **config: int) -> DocumentReader:
    current = CurrentConfig(Config(documents=DocumentsConfig(**config)))
    return DocumentReader(current, read=child.read, clock=clock or Clock())


async def test_the_same_document_is_read_once_for_each_key() -> None:
    child = Child()
    reader = reader_of(child)
    first = await reader.read("a.txt", b"text", "k1")
    assert await reader.read("dir/a.txt", b"text", "k1") == first
    assert reader.kept(first.document_id, "k1") == first
    assert reader.kept(first.document_id, "k2") is None, "another key's is not there"
    assert child.num_read == 1
    assert (await reader.read("a.txt", b"text", "k2")).document_id == first.document_id
    assert child.num_read == 2
    assert (await reader.read("b.txt", b"text", "k1")).document_id != first.document_id


async def test_two_that_send_the_same_at_once_share_one_reading_and_others_wait_their_turn() -> None:
    child = Child()
    child.free.clear()
    reader = reader_of(child)
    readings = [asyncio.create_task(reader.read(name, b"text", None)) for name in ("a.txt", "a.txt", "b.txt")]
    await asyncio.sleep(0)
    child.free.set()
    found = await asyncio.gather(*readings)
    assert found[0] == found[1]
    assert (child.num_read, child.most_at_once) == (2, 1)


async def test_one_that_was_cancelled_leaves_its_turn_to_the_next() -> None:
    child = Child()
    child.free.clear()
    reader = reader_of(child)
    first = asyncio.create_task(reader.read("a.txt", b"text", None))
    await asyncio.sleep(0)
    second = asyncio.create_task(reader.read("b.txt", b"text", None))
    await asyncio.sleep(0)
    first.cancel()
    child.free.set()
    assert (await second).markdown == "text"
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_too_many_bytes_that_wait_are_refused() -> None:
    child = Child()
    child.free.clear()
    reader = reader_of(child, max_bytes=MAX_WAITING_BYTES)
    first = asyncio.create_task(reader.read("a.txt", b"x" * (MAX_WAITING_BYTES // 2), None))
    await until(lambda: child.num_at_once == 1, "the first is being read")
    with pytest.raises(QueueFullError):
        await reader.read("b.txt", b"y" * (MAX_WAITING_BYTES // 2 + 1), None)
    child.free.set()
    await first


async def test_what_is_kept_goes_by_age_and_size() -> None:
    child, clock = Child(), Clock()
    reader = reader_of(child, clock, keep_s=10, keep_bytes=2500)
    first = await reader.read("a.txt", b"one", None)
    clock.now = 8
    assert reader.kept(first.document_id, None) is not None, "looking at it keeps it"
    clock.now = 17
    assert reader.kept(first.document_id, None) is not None
    second = await reader.read("b.txt", b"two", None)
    third = await reader.read("c.txt", b"three", None)
    kept = [reader.kept(each.document_id, None) for each in (first, second, third)]
    assert kept == [None, second, third], "the longest unused goes for room"
    clock.now = 28
    assert reader.kept(third.document_id, None) is None


@pytest.mark.slow
async def test_what_is_too_old_goes_also_where_nobody_looks() -> None:
    current = CurrentConfig(Config(documents=DocumentsConfig(keep_s=1)))
    reader = DocumentReader(current, read=Child().read)
    await reader.read("a.txt", b"one", None)
    assert reader._kept.num_bytes > 0
    await until(lambda: reader._kept.num_bytes == 0, "it has gone")
    await reader.read("a.txt", b"one", None)
    await until(lambda: reader._kept.num_bytes == 0, "it has gone once more")


async def test_one_is_forgotten_when_that_is_asked() -> None:
    reader = reader_of(Child())
    found = await reader.read("a.txt", b"one", "k")
    assert not reader.forget(found.document_id, None)
    assert reader.forget(found.document_id, "k")
    assert not reader.forget(found.document_id, "k")


@pytest.mark.parametrize(
    ("data", "config", "words"),
    [
        (b"bad", {}, "a.txt is damaged"),
        (b"x" * 11, {"max_bytes": 10}, "a.txt: it is larger than"),
        (b"x", {"max_bytes": 0}, "documents are not read here"),
    ],
)
async def test_errors_name_the_document(data: bytes, config: dict[str, int], words: str) -> None:
    reader = reader_of(Child(), None, **config)
    with pytest.raises(DocumentError, match=words):
        await reader.read("a.txt", data, None)


async def test_limits_that_are_changed_count_at_once() -> None:
    child = Child()
    current = CurrentConfig(Config())
    reader = DocumentReader(current, read=child.read)
    await reader.read("a.txt", b"text", None)
    current.config = msgspec.structs.replace(current.config, documents=DocumentsConfig(max_chars=1000))
    await reader.read("a.txt", b"text", None)
    assert child.num_read == 2, "what was read by other limits is read anew"
