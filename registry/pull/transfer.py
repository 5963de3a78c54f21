"""One file over the network into a PartialFile, verified: ranges side by side, marks, retries, hash.

The first answer shows whether the server knows ranges; only then further connections are opened. The hash follows the
file's growing beginning, so that little is left to verify at the end. Not here: which file, where it goes afterwards,
and whether somebody else is fetching it already (`fetching.py`).
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from functools import partial as bind

import msgspec

from registry.errors import HubAuthError, HubBusyError, HubNotFoundError, PullError, TransferError, WrongHashError
from registry.hub.addresses import origin_of
from registry.hub.retry import Backoff, RetryPolicy, TroubleError
from registry.hub.web import Answer, Web
from registry.pull.events import Listener, Retrying, Verifying
from registry.pull.partial import HASH_BYTES, FileHasher, PartialFile, Segment, prefix_end
from registry.pull.progress import ProgressMeter
from registry.pull.ranges import PARTIAL, Span, announced_span
from registry.pull_record import PlannedFile
from registry.threads import in_thread


class TransferSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How files are fetched.

    Attributes:
        large_bytes: Files from this size on are fetched over several connections.
        num_connections: For one file; also the small files that are fetched at the same time.
        mark_bytes: Written between two marks. A crash costs at most twice that: what came while a mark was stored, too.
        buffer_bytes: In memory, per connection.
        max_restarts: How often a file is begun anew because it changed on the server.
    """

    large_bytes: int = 64 << 20
    num_connections: int = 4
    segment_bytes: int = 64 << 20
    mark_bytes: int = 32_000_000
    buffer_bytes: int = 1 << 20
    max_restarts: int = 3
    retry: RetryPolicy = RetryPolicy()


class TransferWatch:
    """Turns what a transfer reports into events.

    Args:
        key: Of the file in the meter.
        tell: Takes the events; returns at once.
    """

    def __init__(self, key: str, file: PlannedFile, meter: ProgressMeter, tell: Listener) -> None:
        self._key = key
        self._file = file
        self._meter = meter
        self._tell = tell

    def on_bytes(self, num_done: int) -> None:
        """Take note of how many bytes are there; fewer than before after a restart."""
        event = self._meter.on_bytes(self._key, num_done, time.monotonic())
        if event is not None:
            self._tell(event)

    def on_retry(self, reason: str, delay_s: float) -> None:
        """Take note of a failure that is not the last."""
        self._tell(Retrying(path=self._file.path, reason=reason, delay_s=delay_s))

    def on_verifying(self) -> None:
        """Take note that all bytes are there and the hash is not ready yet."""
        self._tell(Verifying(path=self._file.path))


class _RestartError(Exception):
    """What is there is of no use; leaves the group of connections. Never leaves this module."""

    def __init__(self, reason: str, *, is_counted: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_counted = is_counted


class Transfer:
    """Fetches one file. For one `run`."""

    def __init__(
        self, web: Web, file: PlannedFile, partial: PartialFile, settings: TransferSettings, watch: TransferWatch
    ) -> None:
        self._web = web
        self._file = file
        self._partial = partial
        self._settings = settings
        self._watch = watch
        self._backoff = Backoff(settings.retry, now=time.monotonic(), draw=random.random)
        self._expected = file.sha256 or file.git_sha1
        self._hasher = self._new_hasher()
        self._direct_url: str | None = None
        """Where the hub redirected to: a signed address that is good for some time."""
        self._has_ranges = True
        self._is_if_range_used = True
        self._num_ignored = 0
        self._num_unmarked = 0
        self._high_water = partial.num_done
        self._pending: deque[Segment] = deque()
        self._is_marking = asyncio.Lock()
        self._has_grown = asyncio.Event()
        self._is_open = asyncio.Event()

    async def run(self) -> None:
        """Fetch what is missing and verify the whole.

        Raises:
            PullError: What came so far is kept, unless its hash is wrong.
        """
        try:
            for is_last in (False, True):
                await self._fetch_all()
                digest = self._hasher.hexdigest()
                if self._expected is None or digest == self._expected:
                    return
                await self._reset()
                if not is_last:
                    self._watch.on_retry("the hash is wrong; the file is fetched once more", 0.0)
        except BaseException:
            self._store_marks_at_end()
            raise
        raise WrongHashError(
            f"{self._file.path}: the server sent bytes with the hash {digest}, twice; {self._expected} was announced. "
            "They were thrown away. Try another time, or another revision or repository."
        )

    async def _fetch_all(self) -> None:
        num_restarts = 0
        while True:
            try:
                await self._fetch_side_by_side()
            except _RestartError as exc:
                num_restarts += exc.is_counted
                if num_restarts > self._settings.max_restarts:
                    raise TransferError(f"{self._file.path}: {exc.reason}, again and again. Try again later.") from exc
                self._watch.on_retry(exc.reason, 0.0)
                await self._reset()
            else:
                return

    async def _fetch_side_by_side(self) -> None:
        self._pending = deque(segment for segment in self._partial.segments if not segment.is_complete)
        self._is_open.clear()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hash_along())
                group.create_task(self._lead())
                for _ in range(min(len(self._pending), self._settings.num_connections) - 1):
                    group.create_task(self._follow())
        except BaseExceptionGroup as group:
            raise _worst(group) from None

    async def _lead(self) -> None:
        try:
            await self._fill_pending()
        finally:
            self._is_open.set()

    async def _follow(self) -> None:
        await self._is_open.wait()
        await self._fill_pending()

    async def _fill_pending(self) -> None:
        while self._pending:
            await self._fill(self._pending.popleft())

    async def _fill(self, segment: Segment) -> None:
        while not segment.is_complete:
            try:
                await self._request(segment)
            except TroubleError as exc:
                if segment.done == segment.end:
                    return  # What went wrong came behind the last byte.
                delay_s = self._backoff.delay_after(exc, time.monotonic())
                if delay_s is None:
                    raise self._given_up(exc) from exc
                self._watch.on_retry(exc.reason, delay_s)
                await asyncio.sleep(delay_s)

    async def _request(self, segment: Segment) -> None:
        """Ask for what a segment misses, once, and take what comes."""
        if self._expected is None and self._partial.etag is None and self._partial.num_done:
            raise _RestartError("nothing shows that the file on the server is still the same", is_counted=True)
        url = self._direct_url or self._file.url
        asked = Span(segment.done, segment.end)
        headers = self._range_of(asked)
        try:
            async with self._web.get(url, headers) as answer:
                span = self._judge(answer, asked, is_ranged=bool(headers))
                await self._receive(answer, segment, span)
        except (HubAuthError, HubNotFoundError) as exc:
            if url == self._file.url:
                raise
            self._direct_url = None
            raise TroubleError("the address that the hub redirected to has expired", is_violation=True) from exc

    def _range_of(self, asked: Span) -> dict[str, str]:
        if asked == (0, self._file.size_bytes):
            return {}
        headers = {"Range": f"bytes={asked.start}-{asked.end - 1}"}
        if self._partial.etag is not None and self._is_if_range_used:
            headers["If-Range"] = self._partial.etag
        return headers

    def _judge(self, answer: Answer, asked: Span, *, is_ranged: bool) -> Span:
        """Decide what an answer's header makes of it: bytes to take, trouble, or a new beginning."""
        etag = answer.headers.get("etag")
        is_changed = self._partial.etag is not None and etag is not None and etag != self._partial.etag
        if is_changed and self._is_if_range_used:
            self._on_changed()
        if is_ranged and answer.status != PARTIAL:
            self._on_range_ignored()
        if not is_ranged and answer.status == PARTIAL:
            raise TroubleError("the server sends a part although all was asked for", is_violation=True)
        span = announced_span(answer.status, answer.headers, asked, self._file.size_bytes)
        if self._partial.etag is None:
            self._partial.note_etag(etag)
        if answer.status == PARTIAL:
            self._check_can_be_pieced()
            self._is_open.set()
        if origin_of(answer.url) != self._web.origin and answer.url != self._file.url:
            self._direct_url = answer.url
        return span

    def _check_can_be_pieced(self) -> None:
        """Without a hash and without a validator, only one answer can be known to be of one piece."""
        if self._expected is None and self._partial.etag is None:
            self._has_ranges = False
            raise _RestartError("nothing would show that the file's parts are of one version", is_counted=False)

    def _on_changed(self) -> None:
        """With a hash that was announced beforehand, other mirrors' validators do not matter: the hash decides."""
        if self._expected is None:
            raise _RestartError("the file changed on the server", is_counted=True)
        self._is_if_range_used = False
        raise TroubleError("the server's validator for the file changed")

    def _on_range_ignored(self) -> None:
        """A single answer does not cost what is there; a server that never knows ranges is asked for everything."""
        self._num_ignored += 1
        is_at_once = self._partial.num_done == 0 or len(self._partial.segments) == 1
        if not is_at_once and self._num_ignored <= self._settings.num_connections:
            raise TroubleError("the server ignored which part of the file was asked for")
        self._has_ranges = False
        raise _RestartError("the server does not send parts of a file", is_counted=False)

    async def _receive(self, answer: Answer, segment: Segment, span: Span) -> None:
        buffer = bytearray()
        flushed_at = time.monotonic()
        try:
            async for chunk in answer.chunks():
                if len(chunk) > span.end - segment.done - len(buffer):
                    buffer.clear()
                    raise _RestartError("the server sent more than it announced", is_counted=True)
                buffer += chunk
                if len(buffer) >= self._settings.buffer_bytes or time.monotonic() - flushed_at > 1.0:
                    await self._flush(buffer, segment)
                    flushed_at = time.monotonic()
        except TroubleError:
            await self._flush(buffer, segment)
            raise
        await self._flush(buffer, segment)
        if segment.done < span.end:
            raise TroubleError("the server ended the answer early")

    async def _flush(self, buffer: bytearray, segment: Segment) -> None:
        if not buffer:
            return
        data = bytes(buffer)
        buffer.clear()
        await in_thread(bind(self._partial.write, data, segment.done))
        segment.done += len(data)
        num_done = self._partial.num_done
        if num_done > self._high_water:
            self._high_water = num_done
            self._backoff.on_progress(time.monotonic())
        self._watch.on_bytes(num_done)
        self._has_grown.set()
        self._num_unmarked += len(data)
        await self._mark()

    async def _mark(self) -> None:
        """Store a mark when it is time. Who comes to the next one while a slow disk has not stored this one waits."""
        if self._num_unmarked < self._settings.mark_bytes:
            return
        async with self._is_marking:
            if self._num_unmarked >= self._settings.mark_bytes:
                self._num_unmarked = 0
                await in_thread(bind(self._partial.store, self._partial.snapshot()))

    def _store_marks_at_end(self) -> None:
        # If that fails, the marks before stay; what ended the transfer says more than this would.
        with contextlib.suppress(PullError):
            self._partial.store(self._partial.snapshot())

    async def _hash_along(self) -> None:
        is_told = False
        while self._hasher.position < self._file.size_bytes:
            end = prefix_end(self._partial.segments)
            is_all_there = end == self._file.size_bytes
            if is_all_there and not is_told:
                is_told = True
                self._watch.on_verifying()
            if is_all_there or end - self._hasher.position >= HASH_BYTES:
                await in_thread(bind(self._hasher.advance, end))
            else:
                self._has_grown.clear()
                await self._has_grown.wait()

    async def _reset(self) -> None:
        segment_bytes = segment_bytes_for(self._file, self._settings, has_ranges=self._has_ranges)
        await in_thread(bind(self._partial.reset, segment_bytes))
        self._hasher = self._new_hasher()
        self._direct_url = None
        self._num_unmarked = 0
        self._watch.on_bytes(0)

    def _new_hasher(self) -> FileHasher:
        return self._partial.hasher("git_sha1" if self._file.git_sha1 is not None else "sha256")

    def _given_up(self, trouble: TroubleError) -> PullError:
        kept = f"{self._partial.num_done} of {self._file.size_bytes} bytes are kept; pull again to go on"
        if trouble.retry_after_s is not None:
            return HubBusyError(
                f"{self._file.path}: {trouble.reason} and asks to come back in {trouble.retry_after_s:.0f} s. {kept}."
            )
        return TransferError(f"{self._file.path}: {trouble.reason}. {kept}.")


def segment_bytes_for(file: PlannedFile, settings: TransferSettings, *, has_ranges: bool = True) -> int:
    """Choose the bytes of a file's segments; the whole file's when one request is to fetch it."""
    is_cut = has_ranges and file.size_bytes >= settings.large_bytes
    return settings.segment_bytes if is_cut else max(1, file.size_bytes)


def _worst(group: BaseExceptionGroup) -> BaseException:
    """Choose among the errors of several connections: ours for the user come first, then new beginnings."""
    return min(
        group.exceptions,
        key=lambda error: (isinstance(error, PullError | _RestartError), isinstance(error, _RestartError)),
    )
