"""Which lines a pull's events become."""

from registry.engines import EngineKind
from registry.facts import ArtifactFormat
from registry.pull import PlannedFile, PlannedPart, PullPlan
from registry.pull.events import (
    Done,
    FileDone,
    FileStarted,
    Planned,
    Progress,
    PullEvent,
    Registered,
    Retrying,
    Started,
    Waiting,
)
from router.protocols.ollama.models.pulls import PullLines
from router.protocols.ollama.models.schemas import StatusLine


def file(path: str, size: int, *, done: int = 0, sha256: str | None = None, git_sha1: str | None = None) -> PlannedFile:
    return PlannedFile(url="u", path=path, size_bytes=size, sha256=sha256, git_sha1=git_sha1, done_bytes=done)


def planned(*files: PlannedFile, notes: tuple[str, ...] = ()) -> Planned:
    part = PlannedPart(format=ArtifactFormat.GGUF, repo="o/r", commit=None, folder="o/r", files=files)
    return Planned(plan=PullPlan(reference="x", parts=(part,), notes=notes), total_bytes=0, needed_bytes=0)


def progress(done: int) -> Progress:
    return Progress(done_bytes=done, total_bytes=300, bytes_per_s=None, eta_s=None)


def told(*events: PullEvent) -> list[StatusLine]:
    lines = PullLines()
    return [line for event in events for line in lines.take(event)]


A, B = "a" * 64, "b" * 64


def line(digest: str, total: int, completed: int) -> StatusLine:
    return StatusLine(status=f"pulling {digest[:12]}", digest=f"sha256:{digest}", total=total, completed=completed)


def test_one_file_is_followed_to_its_end() -> None:
    assert told(
        Started(id=1, reference="x"),
        planned(file("m.gguf", 200, sha256=A), notes=("a note",)),
        Waiting(path="m.gguf"),
        FileStarted(path="m.gguf", size_bytes=200, done_bytes=0),
        progress(50),
        Retrying(path="m.gguf", reason="r", delay_s=1),
        progress(50),
        FileDone(path="m.gguf", origin="fetched"),
        Registered(model="m", engines=(EngineKind.LLAMACPP,), path="/m.gguf"),
        Done(paths=("/m.gguf",)),
    ) == [
        StatusLine(status="a note"),
        line(A, 200, 0),
        line(A, 200, 50),
        line(A, 200, 200),
        StatusLine(status="verifying sha256 digest"),
        StatusLine(status="writing manifest"),
        StatusLine(status="success"),
    ]


def test_of_several_files_each_has_its_own_count_and_none_exceeds_its_size() -> None:
    assert told(
        planned(file("a", 100, sha256=A), file("b", 200, sha256=B, done=40)),
        FileStarted(path="a", size_bytes=100, done_bytes=0),
        progress(70),
        FileDone(path="a", origin="fetched"),
        FileStarted(path="b", size_bytes=200, done_bytes=40),
        progress(150),
        progress(900),
        progress(20),
    ) == [
        line(A, 100, 0),
        line(B, 200, 40),
        line(A, 100, 30),
        line(A, 100, 100),
        line(B, 200, 50),
        line(B, 200, 200),
        line(B, 200, 0),
    ]


def test_small_files_of_a_hub_have_the_hash_that_they_have() -> None:
    (sha1, plain) = told(planned(file("config.json", 5, git_sha1="c" * 40), file("x.gguf", 5)))
    assert (sha1.status, sha1.digest) == (f"pulling {'c' * 12}", f"sha1:{'c' * 40}")
    assert (plain.status, plain.digest) == ("pulling x.gguf", None)


def test_a_model_that_is_here_already_ends_at_once() -> None:
    plan = PullPlan(reference="x", notes=("it is here",))
    lines = told(Planned(plan=plan, total_bytes=0, needed_bytes=0), Done(paths=()))
    assert [item.status for item in lines] == [
        "it is here", "verifying sha256 digest", "writing manifest", "success"
    ]  # fmt: skip
