"""Reads documents for whoever has them, one at a time, and keeps for a while what came of them.

Not here: how one is read (`process`, `formats`), and what a request says of it (`router.protocols.documents`).
"""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from registry.threads import in_thread
from router.config import CurrentConfig
from router.config.documents import DocumentsConfig
from router.documents.kinds import Kind, document_name, kind_of
from router.documents.messages import Reading, ReadingLimits, Task
from router.documents.process import read_in_child
from router.documents.quoting import shown_text
from router.errors import DocumentError, QueueFullError

MAX_WAITING_BYTES: Final = 128 << 20
"""Of all documents that wait to be read."""
_BUSY_RETRY_S: Final = 5.0
_QUICK_BYTES: Final = 1 << 20
"""What is longer is hashed on a thread."""
_LEAST_S: Final = 1.0
"""Between two looks at what is too old."""
_ID_CHARS: Final = 32
_OVERHEAD_BYTES: Final = 1000

ReadInChild = Callable[[Task, bytes], Awaitable[Reading]]


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A document that was read.

    Attributes:
        document_id: `doc_…`: the same bytes of the same name have the same.
        num_pages: Pages, slides or sheets; None = it has none.
        scanned: Numbers of its pages that are pictures without text, from 1.
        pictures: PNG, of the first of these.
        notes: What is to be known of it, a sentence each.
    """

    document_id: str
    name: str
    kind: Kind
    markdown: str
    num_pages: int | None
    is_truncated: bool
    notes: tuple[str, ...]
    scanned: tuple[int, ...]
    pictures: tuple[bytes, ...] = ()

    def shown_text(self, num_pictures: int = 0) -> str:
        """Return what a model is told that it says; errors as of `quoting.shown_text`.

        Args:
            num_pictures: Of `pictures`, that it is shown.
        """
        return shown_text(
            self.name,
            self.markdown,
            is_truncated=self.is_truncated,
            scanned=self.scanned,
            num_pictures=num_pictures,
        )


class DocumentReader:
    """Reads documents.

    Args:
        read: Reads one, in a process of its own.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        current: CurrentConfig,
        *,
        read: ReadInChild = read_in_child,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._read_one = read
        self._kept = KeptDocuments(clock)
        self._turn = asyncio.Lock()
        self._sweeping: asyncio.TimerHandle | None = None
        self._num_waiting_bytes = 0

    @property
    def config(self) -> DocumentsConfig:
        """The limits in force."""
        return self._current.config.documents

    def kept(self, document_id: str, owner: str | None) -> Document | None:
        """Return a document that was read before, for the same key; None where it is not kept any more."""
        return self._kept.get((owner, document_id), self.config)

    def forget(self, document_id: str, owner: str | None) -> bool:
        """Forget one; tell whether it was there."""
        return self._kept.drop((owner, document_id))

    async def read(self, name: str | None, data: bytes, owner: str | None) -> Document:
        """Return what a document says. Cancelling the task ends its process.

        Args:
            name: Of its file, as somebody sent it.
            owner: Id of the key that it belongs to; None = it is the server's owner's.

        Raises:
            DocumentError: It cannot be read.
            QueueFullError: Too many wait already.
        """
        config = self.config
        name = document_name(name)
        if len(data) > config.max_bytes:
            raise DocumentError(f"{name}: {too_large(config)}")
        kind = kind_of(name, data)
        limits = msgspec.convert(config, ReadingLimits, from_attributes=True)
        hashing = partial(_id_of, name, data, limits)
        document_id = hashing() if len(data) <= _QUICK_BYTES else await in_thread(hashing)
        found = self.kept(document_id, owner)
        if found is None:
            found = await self._in_turn(Task(name=name, kind=kind, limits=limits), data, document_id, owner)
        return found

    async def _in_turn(self, task: Task, data: bytes, document_id: str, owner: str | None) -> Document:
        if self._num_waiting_bytes + len(data) > MAX_WAITING_BYTES and self._num_waiting_bytes:
            raise QueueFullError(retry_after_s=_BUSY_RETRY_S)
        self._num_waiting_bytes += len(data)
        try:
            async with self._turn:
                found = self.kept(document_id, owner)  # somebody else may have sent it meanwhile
                if found is not None:
                    return found
                reading = await self._read_one(task, data)
        finally:
            self._num_waiting_bytes -= len(data)
        if reading.problem is not None:
            raise DocumentError(f"{task.name} {reading.problem}")
        document = Document(
            document_id=document_id,
            name=task.name,
            kind=reading.kind,
            markdown=reading.markdown,
            num_pages=reading.num_pages,
            is_truncated=reading.is_truncated,
            notes=tuple(reading.notes),
            scanned=tuple(reading.scanned),
            pictures=tuple(reading.pictures),
        )
        self._kept.put((owner, document_id), document, self.config)
        if self._sweeping is None:
            self._sweep()
        return document

    def _sweep(self) -> None:
        """Let go of what is too old, also where nobody looks any more, and come back as long as something is kept."""
        left_s = self._kept.sweep(self.config)
        loop = asyncio.get_running_loop()
        self._sweeping = None if left_s is None else loop.call_later(max(left_s, _LEAST_S), self._sweep)


class KeptDocuments:
    """What was read a short while ago, in memory; the longest unused goes first.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._documents: OrderedDict[tuple[str | None, str], tuple[float, int, Document]] = OrderedDict()
        self.num_bytes = 0

    def get(self, key: tuple[str | None, str], config: DocumentsConfig) -> Document | None:
        """Return one, by its owner and id."""
        self.sweep(config)
        found = self._documents.get(key)
        if found is None:
            return None
        _, num_bytes, document = found
        self._documents[key] = (self._clock(), num_bytes, document)
        self._documents.move_to_end(key)
        return document

    def put(self, key: tuple[str | None, str], document: Document, config: DocumentsConfig) -> None:
        """Keep one, as long as there is room."""
        self.drop(key)
        num_bytes = len(document.markdown.encode()) + sum(map(len, document.pictures)) + _OVERHEAD_BYTES
        self._documents[key] = (self._clock(), num_bytes, document)
        self.num_bytes += num_bytes
        self.sweep(config)

    def drop(self, key: tuple[str | None, str]) -> bool:
        """Forget one; tell whether it was there."""
        found = self._documents.pop(key, None)
        if found is not None:
            self.num_bytes -= found[1]
        return found is not None

    def sweep(self, config: DocumentsConfig) -> float | None:
        """Forget what is too old or too much; return how many seconds the next one is good for, None = none is left."""
        now = self._clock()
        while self._documents:
            key, (used_at, _, _) = next(iter(self._documents.items()))
            left_s = used_at + config.keep_s - now
            if left_s >= 0 and self.num_bytes <= config.keep_bytes:
                return left_s
            self.drop(key)
        return None


def too_large(config: DocumentsConfig) -> str:
    """Return why a document is not taken, for people."""
    if not config.max_bytes:
        return "documents are not read here (documents.max_bytes of the config is 0)"
    return f"it is larger than {config.max_bytes / (1 << 20):g} MiB (documents.max_bytes of the config)"


def _id_of(name: str, data: bytes, limits: ReadingLimits) -> str:
    """Return the same for what is read in the same way."""
    hashed = hashlib.sha256(f"{name}\n{limits}\n".encode())
    hashed.update(data)
    return f"doc_{hashed.hexdigest()[:_ID_CHARS]}"
