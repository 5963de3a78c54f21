"""POST /api/pull and /api/push: the registry's pulls, told in Ollama's lines.

As with Ollama, a client that goes away stops its pull; here it is paused, keeps what came, and goes on when somebody
asks for the same again. It runs on while another client follows it, and when it was started by mlxr's own API or
command line. Not here: the transfer (`registry.pull`).

Source: Ollama, server/images.go (`PullModel`) and server/download.go (the texts, in this order).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from typing import Final

import msgspec
from litestar.types import ASGIApp

from registry import errors as registry_errors
from registry.errors import PullConflictError, PullError, RegistryError
from registry.pull import PlannedFile, PullOptions
from registry.pull.events import Converting, Done, Failed, FileDone, FileStarted, Planned, Progress, PullEvent, Stopped
from router.errors import NotImplementedHereError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import NDJSON, EventStream, until_disconnect
from router.jobs.pulls import PullAccess
from router.protocols.endpoint import Stream
from router.protocols.fields.support import refuse_with_hint
from router.protocols.ollama.api import OLLAMA_API, OLLAMA_ERRORS
from router.protocols.ollama.models.schemas import PullRequest, PushRequest, StatusLine
from router.protocols.ollama.names import PullName, model_of, pull_name_of
from router.protocols.parts import AnyRequest, PullsPart, ServingPart

PULLING_MANIFEST: Final = StatusLine(status="pulling manifest")
SUCCESS: Final = StatusLine(status="success")
WRITING_MANIFEST: Final = StatusLine(status="writing manifest")
_VERIFYING: Final = StatusLine(status="verifying sha256 digest")
_SHOWN_DIGITS: Final = 12
_encoder = msgspec.json.Encoder()


class PullLines:
    """Turns the events of one pull into lines; feed it all of them, in order."""

    def __init__(self) -> None:
        self._files: dict[str, PlannedFile] = {}
        self._completed: dict[str, int] = {}
        self._started: list[str] = []
        self._is_done: set[str] = set()

    def take(self, event: PullEvent) -> Iterator[StatusLine]:
        """Give the lines for an event; none for what Ollama does not tell."""
        match event:
            case Planned(plan=plan):
                self._files = {file.path: file for part in plan.parts for file in part.files}
                self._completed = {path: file.done_bytes for path, file in self._files.items()}
                yield from (StatusLine(status=note) for note in plan.notes)
                yield from map(self._line, self._files)
            case FileStarted(path=path, done_bytes=done_bytes) if path in self._files:
                self._started.append(path)
                self._completed[path] = done_bytes
            case FileDone(path=path) if path in self._files:
                self._is_done.add(path)
                self._completed[path] = self._files[path].size_bytes
                yield self._line(path)
            case Progress(done_bytes=done_bytes):
                yield from self._share_out(done_bytes)
            case Converting(step=step):
                yield StatusLine(status=step)
            case Done():
                yield from (_VERIFYING, WRITING_MANIFEST, SUCCESS)
            case _:
                return

    def _share_out(self, done_bytes: int) -> Iterator[StatusLine]:
        """Say of which files the bytes are: what the others do not have belongs to those that are under way."""
        running = [path for path in self._started if path not in self._is_done]
        left = done_bytes - sum(done for path, done in self._completed.items() if path not in running)
        for path in running:
            done = min(max(0, left), self._files[path].size_bytes)
            left -= done
            if done != self._completed[path]:
                self._completed[path] = done
                yield self._line(path)

    def _line(self, path: str) -> StatusLine:
        file = self._files[path]
        kind, digest = ("sha256", file.sha256) if file.sha256 is not None else ("sha1", file.git_sha1)
        if digest is None:
            return StatusLine(status=f"pulling {path}", total=file.size_bytes, completed=self._completed[path])
        return StatusLine(
            status=f"pulling {digest[:_SHOWN_DIGITS]}",
            digest=f"{kind}:{digest}",
            total=file.size_bytes,
            completed=self._completed[path],
        )


@OLLAMA_API.post("/api/pull", StatusLine, body=PullRequest, stream=Stream(NDJSON, (StatusLine,)), scope=Scope.MODELS)
async def pull_model(request: AnyRequest, serving: ServingPart, pulls: PullsPart) -> ASGIApp:
    """Pull a model."""
    body = await serving.read(request, PullRequest)
    name = pull_name_of(model_of(body.model, body.name))
    refuse_with_hint(body)
    return await lines_reply(request, pull_lines(pulls, name), is_stream=body.stream is not False)


@OLLAMA_API.post("/api/push", body=PushRequest, answers={}, scope=Scope.MODELS)
async def push_model(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Refuse: models go nowhere from here."""
    await serving.read(request, PushRequest)
    raise NotImplementedHereError("mlxr does not push models; upload the files with the tools of the hub or of Ollama.")


async def pull_lines(pulls: PullAccess, name: PullName) -> AsyncGenerator[StatusLine, None]:
    """Pull, and tell it.

    Yields:
        Lines, `success` last.

    Raises:
        UnavailableError: Nothing can be pulled now.
        RegistryError: The pull failed, or was paused or cancelled by somebody else.
    """
    owner, lines = pulls.get(), PullLines()
    options = PullOptions(called=name.called)
    async with aclosing(await owner.start(name.reference, options, is_paused_when_left=True)) as events:
        yield PULLING_MANIFEST
        async for event in events:
            if isinstance(event, Failed):
                raise pull_error(event)
            if isinstance(event, Stopped):
                raise PullConflictError(f"The pull was {event.state}; pull again to go on.")
            for line in lines.take(event):
                yield line


async def lines_reply(request: AnyRequest, lines: AsyncGenerator[StatusLine, None], *, is_stream: bool) -> ASGIApp:
    """Answer with lines as they come, or with the last one."""
    if not is_stream:
        return json_reply(await until_disconnect(request.receive, _last(lines)))
    return EventStream(_encoded(lines), dialect=OLLAMA_ERRORS, media_type=NDJSON)


def pull_error(event: Failed) -> RegistryError:
    """Give the error that a failed pull ended with, in its class, so that it has its status."""
    pending: list[type[PullError]] = [PullError]
    while pending:
        kind = pending.pop()
        if kind.code == event.code and kind is not registry_errors.PullUnfinishedError:
            return kind(event.message)
        pending.extend(kind.__subclasses__())
    return registry_errors.PullUnfinishedError(event.code, event.message)


async def _last(lines: AsyncGenerator[StatusLine, None]) -> StatusLine:
    last = PULLING_MANIFEST
    async with aclosing(lines):
        async for line in lines:
            last = line
    return last


async def _encoded(lines: AsyncGenerator[StatusLine, None]) -> AsyncIterator[bytes]:
    async with aclosing(lines):
        async for line in lines:
            yield _encoder.encode(line) + b"\n"
