"""The process that reads one document.

    python -I -B -m router.documents.child

On stdin: the task's length, the task, the document to the end. On stdout: one `Reading`. It imports what parses the
document once it is confined, and is ended by whoever started it when it takes too long or too much.
"""

import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final

import msgspec

from router.documents.confinement import confine, refuse_effects
from router.documents.formats.archive import Archive
from router.documents.formats.report import DAMAGED, Report, UnreadableError
from router.documents.kinds import ARCHIVES, Kind
from router.documents.messages import HEADER_BYTES, Reading, Task

RECURSION_LIMIT: Final = 10_000
"""Of Python's calls: a level of XML takes a library up to a dozen."""


def main() -> None:
    """Read the task and the document, write what came of it."""
    task, data = _received(sys.stdin.buffer)
    confine(task.limits)
    sys.setrecursionlimit(RECURSION_LIMIT)
    reading = read(task, data, on_ready=refuse_effects)
    sys.stdout.buffer.write(msgspec.msgpack.encode(reading))
    sys.stdout.buffer.flush()


def read(task: Task, data: bytes, on_ready: Callable[[], None] = lambda: None) -> Reading:
    """Return what came of a document.

    Args:
        on_ready: Called once everything is imported, before the document is parsed.
    """
    kind = task.kind
    try:
        archive = Archive(data, task.limits) if kind is Kind.ARCHIVE or kind in ARCHIVES else None
        if archive is not None:
            kind = _checked_kind(archive, kind)
        return _collected(task, kind, data, archive, on_ready)
    except UnreadableError as exc:
        problem = str(exc)
    except MemoryError:
        problem = f"takes over {task.limits.max_memory_bytes >> 20} MiB to read (documents.max_memory_bytes); split it"
    except RecursionError:
        problem = "is nested too deeply"
    except BaseException as exc:  # noqa: BLE001 - the last one here: a library's defect, or a panic of its Rust
        problem = f"{DAMAGED} ({type(exc).__name__})"
    return Reading(kind=kind, problem=problem)


def _received(pipe: BinaryIO) -> tuple[Task, bytes]:
    length = int.from_bytes(pipe.read(HEADER_BYTES), "big")
    return msgspec.msgpack.decode(pipe.read(length), type=Task), pipe.read()


def _checked_kind(archive: Archive, claimed: Kind) -> Kind:
    kind = archive.kind()
    if claimed is not Kind.ARCHIVE and kind is not claimed:
        raise UnreadableError(f"is called .{claimed}, but is a {kind} document; name it as what it is")
    return kind


def _collected(task: Task, kind: Kind, data: bytes, archive: Archive | None, on_ready: Callable[[], None]) -> Reading:
    """Take pieces until there is enough."""
    report, limits = Report(), task.limits
    taken: list[str] = []
    num_left, is_truncated = limits.max_chars, False
    pieces = _pieces(task, kind, data, archive, report)
    on_ready()
    for piece in pieces:
        taken.append(piece[:num_left])
        num_left -= len(piece)
        if num_left < 0:
            is_truncated = True
            report.notes.append(f"Only its first {limits.max_chars} characters were taken (documents.max_chars).")
            break
    if report.num_pages is not None and report.num_pages > limits.max_pages:
        is_truncated = True
        report.notes.append(f"Only {limits.max_pages} of {report.num_pages} were read (documents.max_pages).")
    report.close()
    markdown = "".join(taken).strip("\n ").encode("utf-8", "replace").decode()
    return Reading(
        kind=kind,
        markdown=markdown,
        num_pages=report.num_pages,
        is_truncated=is_truncated,
        notes=report.notes,
        scanned=report.scanned,
        pictures=report.pictures,
    )


def _pieces(task: Task, kind: Kind, data: bytes, archive: Archive | None, report: Report) -> Iterator[str]:
    """Return what yields the pieces of a text; libraries are imported here, and nothing is parsed yet."""
    # ruff: noqa: PLC0415 - each child needs one of them
    most = task.limits.max_pages
    match kind:
        case Kind.PDF:
            from router.documents.formats.pdf import pdf_pieces

            return pdf_pieces(data, report, max_pages=most)
        case Kind.DOCX:
            from router.documents.formats.docx import docx_pieces

            assert archive is not None
            return docx_pieces(data, archive, report)
        case Kind.PPTX:
            from router.documents.formats.pptx import pptx_pieces

            assert archive is not None
            return pptx_pieces(archive, report, max_pages=most)
        case Kind.XLSX | Kind.ODS | Kind.XLS:
            from router.documents.formats.sheets import sheet_pieces

            return sheet_pieces(data, report, max_pages=most)
    return _text_pieces(task, kind, data, report)


def _text_pieces(task: Task, kind: Kind, data: bytes, report: Report) -> Iterator[str]:
    from router.documents.formats import text

    match kind:
        case Kind.HTML:
            return text.html_pieces(data, report)
        case Kind.CSV:
            return text.csv_pieces(data, report)
        case Kind.CODE:
            return text.code_pieces(task.name, data, report)
    return text.text_pieces(data, report)


if __name__ == "__main__":
    main()
