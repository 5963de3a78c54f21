"""One request's way to an upstream, as requests see a worker: sequences in, their events out.

Each sequence is one HTTP request, and one task that turns its answer into a worker's messages. Cancelling it closes the
connection, which upstreams take as the client going away. Not here: whether the upstream may be asked (`lane`,
`circuit`), HTTP (`transport`), what is sent and what it means (`bodies`, `chunks`).
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from backends.wire.messages import (
    Accepted,
    Ask,
    Command,
    Delta,
    Embed,
    Finished,
    Generate,
    Pause,
    PrefillProgress,
    PromptShown,
    Resume,
    SequenceTimings,
)
from backends.wire.output import Output
from backends.wire.prompts import ForkPrompt
from router.config.upstreams import UpstreamConfig
from router.errors import (
    EngineCrashedError,
    InternalError,
    RouterError,
    UnsupportedFieldError,
    UpstreamError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)
from router.models.defaults import RequestDefaults
from router.upstreams.bodies import Asked
from router.upstreams.chunks import Answer
from router.upstreams.dialects import Dialect
from router.upstreams.embedding import embedded
from router.upstreams.fields import Honoured, refusal
from router.upstreams.lines import Lines
from router.upstreams.transport import Posted, Transport
from router.workers.base import WorkerLink
from router.workers.streams import RequestStream, SequenceProgress, TaskStream

logger = logging.getLogger(__name__)

_MS: Final = 1000.0


class Results(Protocol):
    """Who is told of what came of requests."""

    def on_answered(self, answer: Answer) -> None:
        """An answer has come to its end."""

    def on_error(self, error: RouterError, answer: Answer) -> None:
        """One has ended with an error; the answer has what came before."""

    def on_left(self, answer: Answer) -> None:
        """One was given up by whoever asked."""


class Peer(msgspec.Struct, frozen=True, kw_only=True):
    """What a link needs of its upstream.

    Attributes:
        model_id: What the upstream calls the model.
        defaults: What requests for the model get that do not say otherwise.
        headers: Sent with each request, beside those of the connection.
        results: Told of what comes of each sequence.
        spawn: Runs a sequence's task, and knows of it until its end.
    """

    config: UpstreamConfig
    dialect: Dialect
    transport: Transport
    model_id: str
    honoured: Honoured
    defaults: RequestDefaults
    headers: Mapping[str, str]
    results: Results
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class UpstreamLink(WorkerLink):
    """Of one lease; everything runs on the event loop's thread."""

    def __init__(self, peer: Peer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._peer = peer
        self._clock = clock
        self.is_closed = False
        self.hello = None
        self.loaded = None
        self.progress: dict[int, SequenceProgress] = {}
        self.last_in_slot: dict[int, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, RequestStream | TaskStream] = {}
        self._gates: dict[int, asyncio.Event] = {}
        self._next_id = 1

    def generate(self, requests: Sequence[Generate], *, slot: int | None = None) -> RequestStream:
        """Ask for the sequences of one request.

        Raises:
            UnsupportedFieldError: The upstream does not honour what is asked for.
            EngineCrashedError: The link was closed.
        """
        del slot  # the upstream's batch is its own
        self._check_open()
        peer = self._peer
        whole = [_with_prompt(request, requests) for request in requests]
        bodies = [peer.dialect.asked(each, peer.model_id, peer.honoured, peer.defaults) for each in whole]
        ids = tuple(range(self._next_id, self._next_id + len(requests)))
        self._next_id += len(requests)
        stream = RequestStream(ids, self._on_command)
        for number, request, body in zip(ids, whole, bodies, strict=True):
            self.progress[number] = SequenceProgress(number, number - 1, request.spec.max_tokens)
            answer = peer.dialect.answer(_said(request))
            self._begin(number, stream, answer, partial(self._exchange, number, body, answer, stream))
        return stream

    def submit(self, request: Ask | Embed) -> TaskStream:
        """Ask for vectors; questions about tokens are for whoever has the model.

        Raises:
            UnsupportedFieldError: The upstream is not asked for that.
            EngineCrashedError: The link was closed.
        """
        self._check_open()
        peer = self._peer
        if not isinstance(request, Embed):
            words = "tokens are counted, and templates written, where the model runs"
            message = f"model: {words}; the upstream '{peer.config.name}' is not asked for that"
            raise UnsupportedFieldError(message, "model")
        body = peer.dialect.vectors_body(request, peer.model_id, peer.honoured)
        number = self._next_id
        self._next_id += 1
        stream = TaskStream((number,), self._on_command)
        answer = Answer()
        self._begin(number, stream, answer, partial(self._embed, number, body, len(request.inputs), answer, stream))
        return stream

    def cancel(self, stream: RequestStream | TaskStream) -> None:
        """Close the connections of a request's sequences."""
        for number in stream.sequence_ids:
            self._streams.pop(number, None)
            task = self._tasks.pop(number, None)
            if task is not None:
                task.cancel()

    def fail_streams(self, error: RouterError) -> None:
        """End every open stream with `error`, and take no new ones."""
        self.is_closed = True
        for stream in {id(each): each for each in self._streams.values()}.values():
            stream.fail(error)
            self.cancel(stream)

    def shut_down(self) -> None:
        """Take no new requests."""
        self.is_closed = True

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.is_closed:
            raise EngineCrashedError(f"the upstream '{self._peer.config.name}' is not asked any more")

    def _begin(
        self, number: int, stream: RequestStream | TaskStream, answer: Answer, work: Callable[[], Awaitable[None]]
    ) -> None:
        self._streams[number] = stream
        self._gates[number] = gate = asyncio.Event()
        gate.set()
        self._tasks[number] = task = self._peer.spawn(self._followed(work, answer, stream))

        def on_done(done: asyncio.Task[None]) -> None:
            if done.cancelled() and not answer.is_settled:  # perhaps before it had begun
                self._peer.results.on_left(answer)
            self._on_over(number)

        task.add_done_callback(on_done)

    def _on_over(self, number: int) -> None:
        for table in (self._tasks, self._streams, self._gates, self.progress):
            table.pop(number, None)

    def _on_command(self, command: Command) -> None:
        """Stop reading, or go on: the upstream is held up by its own connection."""
        match command:
            case Pause(sequence_id=number) if number in self._gates:
                self._gates[number].clear()
            case Resume(sequence_id=number) if number in self._gates:
                self._gates[number].set()

    async def _followed(
        self, work: Callable[[], Awaitable[None]], answer: Answer, stream: RequestStream | TaskStream
    ) -> None:
        """Do the work of one sequence, and tell what came of it; nothing is raised but that it was cancelled."""
        results = self._peer.results
        try:
            await work()
        except RouterError as exc:
            answer.is_settled = True
            results.on_error(exc, answer)
            self._fail(stream, exc)
        except Exception:  # a defect costs its request, and not the gateway
            logger.exception("a defect has ended an answer of the upstream '%s'", self._peer.config.name)
            answer.is_settled = True
            results.on_left(answer)
            self._fail(stream, InternalError())

    def _fail(self, stream: RequestStream | TaskStream, error: RouterError) -> None:
        """End a request: where one of its sequences has failed, nobody reads the others."""
        stream.fail(error)
        own = asyncio.current_task()
        for number in stream.sequence_ids:
            task = self._tasks.get(number)
            if task is not None and task is not own:
                task.cancel()

    async def _exchange(self, number: int, sent: Asked, answer: Answer, stream: RequestStream) -> None:
        peer, begun_at = self._peer, self._clock()
        first_at: float | None = None
        wants_scores = sent.body.get("logprobs") not in {None, False}
        if sent.echo:
            stream.push(PromptShown(number, 0, sent.echo))
        try:
            async with asyncio.timeout(peer.config.first_token_timeout_s) as silence:
                async with peer.transport.posted(sent.path, sent.body, dict(peer.headers)) as posted:
                    async with contextlib.aclosing(self._outputs(number, posted, answer, silence, stream)) as outputs:
                        async for output in outputs:
                            if first_at is None and wants_scores and output.text and not output.logprobs:
                                words = "leave it out, or name a model that runs here"
                                raise refusal("logprobs", peer.config.name, words)
                            first_at = self._clock() if first_at is None else first_at
                            self._tell(number, output, stream)
                    now = self._clock()
                    prefill_s = (now if first_at is None else first_at) - begun_at
                    decode_s = 0.0 if first_at is None else now - first_at
                    answer.first_token_s, answer.decode_s = prefill_s, decode_s
                    end = answer.end(SequenceTimings(0.0, prefill_s * _MS, decode_s * _MS))
                    answer.is_settled = True
                    peer.results.on_answered(answer)
                    self._on_over(number)  # whoever reads the end gives everything back, and this is over already
                    stream.push(Finished(number, Output(), end))
                    silence.reschedule(None)
                    await posted.drain()
        except TimeoutError:
            raise self._too_late(answer) from None
        except UpstreamUnreachableError as exc:
            if answer.has_output:
                raise UpstreamError(f"{exc}, in the middle of the answer") from exc
            raise
        except UpstreamError as exc:
            raise self._named(exc, answer) from exc

    async def _embed(
        self, number: int, body: dict[str, Any], num_inputs: int, answer: Answer, stream: TaskStream
    ) -> None:
        peer, begun_at = self._peer, self._clock()
        try:
            async with (
                asyncio.timeout(peer.config.first_token_timeout_s),
                peer.transport.posted(peer.dialect.embed_path, body, dict(peer.headers)) as posted,
            ):
                found = peer.dialect.vectors(peer.transport.decoded(await posted.whole()))
            events = embedded(number, found, num_inputs, (self._clock() - begun_at) * _MS)
        except TimeoutError:
            raise self._too_late(answer) from None
        except UpstreamError as exc:
            raise self._named(exc, answer) from exc
        answer.has_output = True
        answer.usage = events[-1].end.usage if isinstance(events[-1], Finished) else None
        answer.is_settled = True
        peer.results.on_answered(answer)
        self._on_over(number)
        for event in events:
            stream.push(event)

    async def _outputs(
        self, number: int, posted: Posted, answer: Answer, silence: asyncio.Timeout, stream: RequestStream
    ) -> AsyncGenerator[Output, None]:
        """Yield what each piece of the answer adds; whatever comes puts off the time at which silence is too long."""
        loop, quiet_s = asyncio.get_running_loop(), self._peer.config.inter_token_timeout_s
        gate = self._gates[number]
        dialect = self._peer.dialect
        if posted.media_type == dialect.whole_type:
            output = answer.whole(await posted.whole())
            if output is not None:
                yield output
            return
        lines = Lines()
        async for piece in posted.pieces():
            if answer.has_output:
                silence.reschedule(loop.time() + quiet_s)
            for line in lines.feed(piece):
                data = dialect.data_of(line)
                output = None if data is None else answer.take(data)
                self._tell_progress(number, answer, stream)
                if output is not None:
                    silence.reschedule(loop.time() + quiet_s)
                    yield output
            if answer.is_done:
                return
            if not gate.is_set():
                silence.reschedule(None)  # the client is slow, not the upstream
                await gate.wait()
                silence.reschedule(loop.time() + quiet_s)
        data = dialect.data_of(lines.rest)  # the last line may have no end
        output = None if data is None else answer.take(data)
        if output is not None:
            yield output

    def _tell_progress(self, number: int, answer: Answer, stream: RequestStream) -> None:
        """Tell how much of the prompt is evaluated, where the upstream says so."""
        if answer.progress is None or answer.has_output:
            return
        (num_done, num_total, num_cached), answer.progress = answer.progress, None
        progress = self.progress.get(number)
        events: list[Accepted | PrefillProgress] = [PrefillProgress(number, num_done, num_total, num_cached)]
        if progress is not None and progress.num_prompt_tokens is None:
            events.insert(0, Accepted(number, num_total))
        for event in events:
            if progress is not None:
                progress.note(event)
            stream.push(event)

    def _tell(self, number: int, output: Output, stream: RequestStream) -> None:
        delta = Delta(number, output, max(1, len(output.logprobs)))
        progress = self.progress.get(number)
        if progress is not None:
            progress.note(delta)
        stream.push(delta)

    def _too_late(self, answer: Answer) -> UpstreamTimeoutError:
        config = self._peer.config
        if answer.has_output:
            words = f"it was silent for {config.inter_token_timeout_s:g} s in the middle of the answer"
            return UpstreamTimeoutError(self._peer.transport.told(f"{words} (inter_token_timeout_s)"))
        words = f"nothing of the answer came within {config.first_token_timeout_s:g} s (first_token_timeout_s)"
        return UpstreamTimeoutError(self._peer.transport.told(words))

    def _named(self, error: UpstreamError, answer: Answer) -> RouterError:
        """Return an error with the upstream's name; where nothing had come it may be tried once more."""
        told = self._peer.transport.told
        words = str(error) if str(error).startswith("the upstream '") else told(str(error))
        if answer.is_cut and not answer.has_output:
            return UpstreamUnreachableError(words)
        return type(error)(words, retry_after_s=error.retry_after_s)


def _with_prompt(request: Generate, requests: Sequence[Generate]) -> Generate:
    """Return a sequence with the prompt that it is a fork of, which is sent anew."""
    if not isinstance(request.prompt, ForkPrompt):
        return request
    return msgspec.structs.replace(request, prompt=requests[request.prompt.source_id].prompt)


def _said(request: Generate) -> dict[str, str]:
    use = None if request.spec.output is None else request.spec.output.tools
    return {} if use is None else {tool.name: tool.said for tool in use.tools if tool.said is not None}
