"""The gateway's end of one worker process: start it, speak frames with it, hand its events to their streams, reap it.

Not the decision when to start or stop it (placement), and not who may use it (supervisor). Everything runs on the event
loop's thread.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import assert_never, cast

import msgspec

from backends.errors import FrameError
from backends.wire.frames import FrameDecoder, FrameEncoder
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.messages import (
    Aborted,
    Accepted,
    Answered,
    Ask,
    CacheDiscarded,
    Cancel,
    Command,
    Delta,
    Embed,
    Embedded,
    Event,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    LoadFailed,
    LoadProgress,
    PrefillProgress,
    PromptShown,
    Resume,
    Shutdown,
    Terminal,
)
from backends.wire.prompts import ForkPrompt
from backends.wire.stats import Stats
from router.errors import EngineCrashedError, InvalidRequestError, ModelLoadFailedError, RouterError
from router.sleep.awake import awake_timeout
from router.workers.base import WorkerLink
from router.workers.last_words import LastWords
from router.workers.launch import WorkerLaunch
from router.workers.streams import RequestStream, SequenceProgress, TaskStream
from router.workers.versions import clash_of

logger = logging.getLogger(__name__)

SOCKET_BUFFER_BYTES = 512 << 10
"""Each way; macOS has 8 kB, and a worker that waits for room computes nothing."""
_LOAD_STEPS = 20
"""Of a load, that are told while it goes on."""
LAST_WORDS_S = 1.0
"""How long the pipes of a reaped process are read: its last frames are in there; its children may hold them open."""


class WorkerClient(WorkerLink, asyncio.Protocol):
    """One worker process; create it with `start_worker`.

    Attributes:
        load_fraction: Share of the load that is done, 0..1, or None before.
        stats: What its batch does and has done, as told last; None before.
        load_error: Why the load failed, in the engine's words, or None.
        last_sign_at: Monotonic time of its last frame.
    """

    def __init__(self, engine: str, process: asyncio.subprocess.Process, on_change: Callable[[], None]) -> None:
        self.engine = engine
        self._process = process
        self.hello: Hello | None = None
        self.loaded: LoadedModel | None = None
        self.heartbeat: Heartbeat | None = None
        self.stats: Stats | None = None
        self.load_fraction: float | None = None
        self.last_sign_at = time.monotonic()
        self._on_change = on_change
        self._encoder = FrameEncoder()
        self._decoder: FrameDecoder[list[Event]] = FrameDecoder(list[Event])
        self._transport: asyncio.Transport | None = None
        self._last_words = LastWords()
        self._streams: dict[int, RequestStream | TaskStream] = {}
        self.progress: dict[int, SequenceProgress] = {}
        self.last_in_slot: dict[int, int] = {}
        self._next_id = 1
        self.load_error: RouterError | None = None
        self.is_closed = False
        self._takes_requests = True
        self._lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._stderr_reader = asyncio.create_task(self._read_stderr())

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods, not by its class

    def data_received(self, data: bytes) -> None:
        """Hand every event to whom it concerns."""
        self.last_sign_at = time.monotonic()
        try:
            for events in self._decoder.feed(data):
                for event in events:
                    self._dispatch(event)
        except FrameError as exc:
            logger.warning("worker %s (%s) is killed: %s", self.pid, self.engine, exc)
            self.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        """The worker is gone, or about to be; its exit is what the supervisor waits for."""
        del exc
        self.is_closed = True
        if not self._lost.done():
            self._lost.set_result(None)

    # ---- for the supervisor -----------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How the process ended; minus the signal where one ended it, None while it runs."""
        return self._process.returncode

    @property
    def is_owing(self) -> bool:
        """Whether a sign of life is due: some sequence runs; paused ones make no work."""
        return any(not stream.is_paused for stream in self._streams.values())

    def load(self, spec: LoadSpec) -> None:
        """Tell the worker to load; `loaded` or `load_error` is set when it answered."""
        self.load_fraction = 0.0
        self._send(Load(spec))

    def shut_down(self) -> None:
        """Ask the process to end."""
        self._send(Shutdown())

    def kill(self) -> None:
        """End the process at once."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def wait(self) -> int:
        """Wait until the process has ended and is reaped; fail every open stream; return the exit code."""
        code = await self._process.wait()
        await asyncio.wait([self._stderr_reader, self._lost], timeout=LAST_WORDS_S)
        self._stderr_reader.cancel()
        if self._transport is not None:
            self._transport.abort()
        self.is_closed = True
        self.fail_streams(
            EngineCrashedError(f"the {self.engine} worker ended while it served this request{self.tail()}")
        )
        return code

    async def has_ended(self, timeout_s: float) -> bool:
        """Wait for the process to end, at most `timeout_s`."""
        try:
            async with awake_timeout(timeout_s):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    def fail_streams(self, error: RouterError) -> None:
        """End every open stream with `error`, whatever the worker still sends, and take no new ones."""
        self._takes_requests = False
        for stream in self._streams.values():
            stream.fail(error)
        self._streams.clear()
        self.progress.clear()

    def tail(self) -> str:
        """Return why the worker died, by its stderr, as `: …` for a message, or an empty string."""
        return str(self._last_words)

    # ---- for requests -----------------------------------------------------------------------------------------------

    def generate(self, requests: Sequence[Generate], *, slot: int | None = None) -> RequestStream:
        """Send the sequences of one request."""
        sequence_ids = tuple(range(self._next_id, self._next_id + len(requests)))
        numbered = [
            _with_ids(request, sequence_id, sequence_ids)
            for sequence_id, request in zip(sequence_ids, requests, strict=True)
        ]
        stream = RequestStream(sequence_ids, self._send)
        self._submit(numbered, stream)
        for request in numbered:
            number = self._free_slot(slot)
            self.last_in_slot[number] = request.sequence_id
            self.progress[request.sequence_id] = SequenceProgress(request.sequence_id, number, request.spec.max_tokens)
        return stream

    def submit(self, request: Ask | Embed) -> TaskStream:
        """Send something that is no generation."""
        sequence_id = self._next_id
        stream = TaskStream((sequence_id,), self._send)
        self._submit([msgspec.structs.replace(request, sequence_id=sequence_id)], stream)
        return stream

    def cancel(self, stream: RequestStream | TaskStream) -> None:
        """Give a request's sequences up; harmless for those that have ended."""
        for sequence_id in stream.sequence_ids:
            self.progress.pop(sequence_id, None)
            if self._streams.pop(sequence_id, None) is not None:
                self._send(Cancel(sequence_id))

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _submit(self, requests: Sequence[Generate | Ask | Embed], stream: RequestStream | TaskStream) -> None:
        if self.is_closed or not self._takes_requests:
            raise EngineCrashedError(f"the {self.engine} worker ended before it took this request")
        try:
            frames = [self._encoder.encode(group) for group in _frame_groups(requests)]
        except FrameError as exc:
            raise InvalidRequestError(f"the prompt is too large for the channel to the engine: {exc}") from exc
        if not self.is_owing:
            self.last_sign_at = time.monotonic()  # an idle worker sends nothing: its silence counts from here
        self._next_id += len(requests)
        self._streams |= dict.fromkeys(stream.sequence_ids, stream)
        for frame in frames:
            self._write(frame)

    def _free_slot(self, wanted: int | None) -> int:
        taken = {progress.slot for progress in self.progress.values()}
        if wanted is not None and wanted not in taken and self.loaded and 0 <= wanted < self.loaded.max_sequences:
            return wanted
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)

    def _send(self, command: Command) -> None:
        if isinstance(command, Resume):
            self.last_sign_at = time.monotonic()  # paused sequences make no sign: the silence counts from here
        self._write(self._encoder.encode([command]))

    def _write(self, frame: bytes) -> None:
        if self._transport is not None and not self.is_closed and not self._transport.is_closing():
            self._transport.write(frame)

    def _dispatch(self, event: Event) -> None:
        match event:
            case Delta() | Accepted() | PrefillProgress():
                stream = self._streams.get(event.sequence_id)
                if isinstance(stream, RequestStream):
                    self.progress[event.sequence_id].note(event)
                    stream.push(event)
            case PromptShown():
                stream = self._streams.get(event.sequence_id)
                if isinstance(stream, RequestStream):
                    stream.push(event)
            case Embedded():
                stream = self._streams.get(event.sequence_id)
                if isinstance(stream, TaskStream):
                    stream.push(event)
            case Finished() | Failed() | Aborted() | Answered():
                self._on_terminal(event)
            case _:
                self._on_word(event)

    def _on_terminal(self, event: Terminal) -> None:
        self.progress.pop(event.sequence_id, None)
        stream = self._streams.pop(event.sequence_id, None)
        if isinstance(stream, RequestStream):
            if not isinstance(event, Answered):
                stream.push(event)
        elif stream is not None:
            stream.push(event)

    def _on_word(self, event: Hello | LoadProgress | Loaded | LoadFailed | Heartbeat | Stats | CacheDiscarded) -> None:
        """Take over what the worker says of itself."""
        match event:
            case Stats():
                self.stats = event
            case CacheDiscarded(path=path, reason=reason):
                logger.info("saved cache thrown away: %s: %s", path, reason)
            case Heartbeat():
                self.heartbeat = event
            case Hello():
                self.hello = event
                clash = clash_of(event.version)
                self.load_error = None if clash is None else ModelLoadFailedError(clash)
                self._on_change()
            case LoadProgress(fraction=fraction):
                has_moved = int(fraction * _LOAD_STEPS) != int((self.load_fraction or 0.0) * _LOAD_STEPS)
                self.load_fraction = fraction
                if has_moved:
                    self._on_change()
            case Loaded(model=model):
                self.loaded = model
                self._on_change()
            case LoadFailed(message=message):
                self.load_error = ModelLoadFailedError(message)
                self._on_change()
            case _:
                assert_never(event)

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(65536):
            self._last_words.feed(data)


def _with_ids(request: Generate, sequence_id: int, sequence_ids: tuple[int, ...]) -> Generate:
    """Return the request with its own id, and its source's where it is a fork."""
    prompt = request.prompt
    if isinstance(prompt, ForkPrompt):
        prompt = ForkPrompt(sequence_ids[prompt.source_id])
    return msgspec.structs.replace(request, sequence_id=sequence_id, prompt=prompt)


def _frame_groups(requests: Sequence[Generate | Ask | Embed]) -> list[list[Generate | Ask | Embed]]:
    """Put each fork into its source's frame, so that no source ends before the worker has seen its forks."""
    groups: list[list[Generate | Ask | Embed]] = []
    for request in requests:
        if groups and isinstance(request, Generate) and isinstance(request.prompt, ForkPrompt):
            groups[-1].append(request)
        else:
            groups.append([request])
    return groups


async def start_worker(launch: WorkerLaunch, on_change: Callable[[], None]) -> WorkerClient:
    """Start a worker process; it says `Hello` when its libraries are imported.

    Args:
        on_change: Called on the loop when `hello`, `loaded` or `load_error` was set, and when a load has gone on.

    Raises:
        OSError: The process cannot be started.
    """
    loop = asyncio.get_running_loop()
    ours, theirs = _socket_pair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *launch.argv(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=dict(launch.environment),
                # Its own session: Ctrl-C in the terminal is for the gateway, which then ends its workers in order.
                start_new_session=True,
            )
    except BaseException:
        ours.close()
        raise
    try:
        ours.setblocking(False)
        client = WorkerClient(launch.engine, process, on_change)
        await loop.create_connection(lambda: client, sock=ours)
    except BaseException:  # whoever gives up now knows of no process
        ours.close()
        process.kill()
        raise
    return client


def _socket_pair() -> tuple[socket.socket, socket.socket]:
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in pair:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            with contextlib.suppress(OSError):  # more than this system gives
                end.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER_BYTES)
    return pair
