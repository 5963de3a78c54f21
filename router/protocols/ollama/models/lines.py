"""A pull's events as the lines that Ollama's clients know: per file how far it is, then the fixed ends. Pure.

Source: Ollama, server/images.go (`PullModel`) and server/download.go (the texts, in this order).
"""

from collections.abc import Iterator
from typing import Final

from registry.pull import PlannedFile
from registry.pull.events import Converting, Done, FileDone, FileStarted, Planned, Progress, PullEvent
from router.protocols.ollama.models.schemas import StatusLine

PULLING_MANIFEST: Final = StatusLine(status="pulling manifest")
SUCCESS: Final = StatusLine(status="success")
WRITING_MANIFEST: Final = StatusLine(status="writing manifest")
_VERIFYING: Final = StatusLine(status="verifying sha256 digest")
_SHOWN_DIGITS: Final = 12


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
