"""A scan: bringing the catalogue up to date with what folders hold.

It has three parts: ask the catalogue what it knows, look at the disk (no lock is held meanwhile), write the differences
in one transaction. Not here: looking at the disk (`seen.py`), and registering one path (`register.py`).
"""

from collections import defaultdict
from collections.abc import Iterable

import msgspec

from registry.catalogue import ArtifactDraft
from registry.files import absence, is_there
from registry.removing.removal import finish_removals
from registry.scan.candidates import ScanRoot
from registry.scan.inspection import draft_of
from registry.scan.seen import ScanFailure, Seen, is_changed, looks_same
from registry.store import Registry


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found. Paths are those of artifacts.

    Attributes:
        updated: Known artifacts whose files changed, moved or came back.
        copied: New paths of the bytes of known artifacts.
        failed: Broken files, also those that were broken before, and roots that cannot be listed.
        skipped: Sound files that are no models, with what they are.
        unpaired: Models that do not get a projector beside them, with why.
        num_unchanged: Known artifacts that were not looked into again.
    """

    added: tuple[str, ...]
    updated: tuple[str, ...]
    copied: tuple[str, ...]
    missing: tuple[str, ...]
    failed: tuple[ScanFailure, ...]
    skipped: tuple[ScanFailure, ...]
    unpaired: tuple[ScanFailure, ...] = ()
    num_unchanged: int


def scan(registry: Registry, roots: Iterable[ScanRoot], *, watched: set[str] | None = None) -> ScanReport:
    """Look through folders and bring the catalogue up to date.

    Artifacts outside the roots are looked at where they are. A bad file is reported and never ends the scan.

    Args:
        roots: Where to look; another tool's store that does not exist is left out silently.
        watched: Gets every file and folder that decided the result: while these are unchanged, another scan would find
            the same.
    """
    finish_removals(registry)
    seen = Seen(registry.files.known())
    for root in roots:
        seen.visit(root)
    seen.visit_others()
    seen.attach_projectors()
    if watched is not None:
        watched |= seen.watched()
    with registry.write():
        return _record(seen, registry)


def _record(seen: Seen, registry: Registry) -> ScanReport:
    """Write the differences, inside the caller's transaction."""
    # First what is gone: a file that moved is then found again as the missing artifact that it was.
    missing = _record_missing(seen, registry)
    changes: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": [], "copied": []}
    registry.aliases.forget_found(draft.name for draft in seen.drafts.values())
    for draft in _in_order(seen):
        artifact, change = registry.artifacts.add(draft)
        changes[change].append(draft.path if change == "copied" else artifact.path)
    changes["copied"] += _record_links(seen, registry)
    names = {path: candidate.names for path, candidate in seen.candidates.items() if candidate.names}
    registry.aliases.set_found(names)
    for item in seen.skipped.values():
        known = seen.known.get(item.path)
        if known is not None and known.artifact_id is not None and item.kind == "bad":
            registry.artifacts.mark_broken(
                known.artifact_id, item.reason, size_bytes=item.size_bytes, mtime_ns=item.mtime_ns
            )
        elif _is_text(item.path):
            registry.files.skip(item)
    registry.files.forget_skipped(_gone_skipped(seen))
    return ScanReport(
        added=tuple(changes["added"]),
        updated=tuple(changes["updated"]),
        copied=tuple(changes["copied"]),
        missing=tuple(path for path in missing if path not in changes["updated"]),
        failed=(*seen.root_failures, *_reports(seen, "bad")),
        skipped=_reports(seen, "not_a_model"),
        unpaired=tuple(seen.unpaired),
        num_unchanged=len(changes["unchanged"]) + _num_untouched(seen),
    )


def _in_order(seen: Seen) -> list[ArtifactDraft]:
    """Give the drafts; first those of known origin, so that a tag that moved on takes its model with it."""
    origins = {known.origin for known in seen.known.values() if known.origin is not None}
    return sorted(seen.drafts.values(), key=lambda draft: draft.origin not in origins)


def _record_missing(seen: Seen, registry: Registry) -> list[str]:
    """Mark what is gone; an artifact of which a copy is left goes on with that."""
    gone: dict[str, str] = {}
    copies: defaultdict[int | None, list[str]] = defaultdict(list)
    for path, known in seen.known.items():
        if known.artifact_id is None or known.status in {"ignored", "missing"}:
            continue
        file = None
        if path not in seen.candidates:
            file = next((file for file in known.files if not is_there(file)), None)
            if file is None and known.is_copy and is_changed(known):
                file = path  # Something else lies there now.
        if file is not None:
            gone[path] = file
        elif known.is_copy:
            copies[known.artifact_id].append(path)
    registry.copies.forget(path for path in gone if seen.known[path].is_copy)
    missing = []
    for path, file in gone.items():
        known = seen.known[path]
        if known.is_copy or known.artifact_id is None:
            continue
        if copies[known.artifact_id]:
            registry.copies.promote(copies[known.artifact_id][0])
        else:
            registry.artifacts.mark(known.artifact_id, "missing", f"{file} {absence(file)}")
            missing.append(path)
    return missing


def _record_links(seen: Seen, registry: Registry) -> list[str]:
    """Record further paths of files as copies; give those that are new."""
    new = []
    for path, first in seen.links.items():
        known, candidate = seen.known.get(path), seen.candidates[path]
        if known is not None and (known.status == "ignored" or (known.is_copy and looks_same(candidate, known))):
            continue
        artifact = registry.artifacts.find(first)
        if artifact is not None and artifact.path != path and _is_text(path):
            registry.copies.put(artifact.id, draft_of(candidate, artifact.facts))
            new.append(path)
    return new


def _gone_skipped(seen: Seen) -> list[str]:
    """List remembered files below the roots that are there no more."""
    return [
        path
        for path, known in seen.known.items()
        if known.artifact_id is None
        and path not in seen.candidates
        and any(path.startswith(root.rstrip("/") + "/") for root in seen.roots)
        and not is_there(path)
    ]


def _num_untouched(seen: Seen) -> int:
    return sum(
        1
        for path in seen.candidates
        if path not in seen.drafts
        and path not in seen.skipped
        and path not in seen.links
        and seen.known[path].status in {"ok", "unsupported", "bad"}
        and seen.known[path].artifact_id is not None
    )


def _reports(seen: Seen, kind: str) -> tuple[ScanFailure, ...]:
    """List the skipped files of a kind: those of this scan, and those that look as they did before."""
    found = [
        ScanFailure(path=item.path, code=item.code, reason=item.reason)
        for item in seen.skipped.values()
        if item.kind == kind
    ]
    for path in seen.candidates:
        known = seen.known.get(path)
        if known is not None and known.status == kind and path not in seen.skipped and path not in seen.drafts:
            found.append(ScanFailure(path=path, code=known.code or "bad", reason=known.reason or ""))
    return tuple(sorted(found, key=lambda failure: failure.path))


def _is_text(path: str) -> bool:
    """SQLite stores UTF-8; a file name may be any bytes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
