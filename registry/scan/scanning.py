"""One scan: what was seen so far, and the differences to the catalogue that follow from it.

Not here: the order of a scan's parts, and registering one path (`discovery.py`); how folders are walked (`folders.py`)
and files are read (`inspection.py`).
"""

import os
from collections import defaultdict
from pathlib import Path

import msgspec

from registry.catalogue import ArtifactDraft, KnownFile, SkippedFile
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.gguf import KnownVocabularies
from registry.scan.candidates import Candidate, ScanRoot
from registry.scan.folders import file_candidate, find_candidates, folder_candidates
from registry.scan.inspection import MMPROJ_CODE, choose_projector, draft_of, inspect
from registry.store import Registry


class ScanFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that could not become an artifact."""

    path: str
    code: str
    reason: str


class ScanReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a scan found. Paths are those of artifacts.

    Attributes:
        updated: Known artifacts whose files changed, moved or came back.
        copied: New paths of the bytes of known artifacts.
        failed: Broken files, also those that were broken before, and roots that cannot be listed.
        skipped: Sound files that are no models, with what they are.
        num_unchanged: Known artifacts that were not looked into again.
    """

    added: tuple[str, ...]
    updated: tuple[str, ...]
    copied: tuple[str, ...]
    missing: tuple[str, ...]
    failed: tuple[ScanFailure, ...]
    skipped: tuple[ScanFailure, ...]
    num_unchanged: int


class Scan:
    """What one scan has seen so far."""

    def __init__(self, known: dict[str, KnownFile]) -> None:
        self._known = known
        self._seen: dict[str, Candidate] = {}
        self._inodes: dict[tuple[int, int], str] = {}
        self._links: dict[str, str] = {}
        self._folders: list[Path] = []
        self._vocabularies = KnownVocabularies()
        self._roots: list[str] = []
        self._root_failures: list[ScanFailure] = []
        self.drafts: dict[str, ArtifactDraft] = {}
        self.skipped: dict[str, SkippedFile] = {}

    def visit(self, root: ScanRoot) -> None:
        """Walk one root."""
        try:
            for candidate in find_candidates(root, self._folders):
                self.add(candidate)
            self._roots.append(os.path.abspath(root.path))  # noqa: PTH100 - as the candidates' paths
        except ArtifactError as exc:
            self._folders.append(root.path)
            if root.layout == "plain" or exc.code != "not_found":
                self._root_failures.append(ScanFailure(path=str(root.path), code=exc.code, reason=exc.reason))

    def visit_others(self) -> None:
        """Look again at known artifacts that no root showed, because they were registered by their path."""
        for path, known in self._known.items():
            if path in self._seen or known.artifact_id is None or known.is_copy or known.status == "ignored":
                continue
            if _is_changed(known):
                for candidate in _candidates_named(Path(path)):
                    self.add(candidate)

    def add(self, candidate: Candidate) -> None:
        """Take in one candidate: open it unless it is known and looks the same, or is another link to a file."""
        path = str(candidate.path)
        if path in self._seen:
            return
        self._seen[path] = candidate
        if candidate.inode is not None and not self._is_first_link(path, candidate.inode):
            return
        known = self._known.get(path)
        if known is not None and known.status == "ignored":
            return
        if known is None or not _looks_same(candidate, known):
            self._inspect(candidate)

    def _is_first_link(self, path: str, inode: tuple[int, int]) -> bool:
        """Note that a file has several paths. The one that the catalogue gives to engines counts as the first."""
        first = self._inodes.setdefault(inode, path)
        if first == path:
            return True
        if self._is_known_artifact(path):
            if not self._is_known_artifact(first):
                self._inodes[inode] = path
                self._links[first] = path
                self.drafts.pop(first, None)
                self.skipped.pop(first, None)
            return True
        self._links[path] = first
        return False

    def _is_known_artifact(self, path: str) -> bool:
        known = self._known.get(path)
        return known is not None and known.artifact_id is not None and not known.is_copy

    def watched(self) -> set[str]:
        """Give the paths of `scan`'s `watched`."""
        files = {str(file) for candidate in self._seen.values() for file in candidate.files}
        known = {file for item in self._known.values() for file in item.files}
        return files | known | set(map(str, self._folders))

    def _inspect(self, candidate: Candidate) -> None:
        result = inspect(candidate, self._vocabularies)
        if isinstance(result, ArtifactDraft):
            self.drafts[result.path] = result
        else:
            self.skipped[result.path] = result

    def attach_projectors(self) -> None:
        """Give every GGUF model the projector beside it; a known model whose projector changed is opened again."""
        projectors: defaultdict[Path, list[str]] = defaultdict(list)
        models: defaultdict[Path, list[str]] = defaultdict(list)
        for path, candidate in self._seen.items():
            if candidate.format is not ArtifactFormat.GGUF or candidate.layout == "ollama" or path in self._links:
                continue  # Ollama's names say which projector is whose.
            if self._code(path) == MMPROJ_CODE:
                projectors[candidate.path.parent].append(candidate.path.name)
            elif self._is_model(path):
                models[candidate.path.parent].append(candidate.path.name)
        for folder, names in models.items():
            for name in names:
                chosen = choose_projector(name, tuple(names), tuple(projectors[folder])) if projectors[folder] else None
                self._attach(str(folder / name), None if chosen is None else str(folder / chosen))

    def _attach(self, path: str, projector: str | None) -> None:
        known = self._known.get(path)
        if path not in self.drafts and known is not None and known.mmproj_path != projector:
            self._inspect(self._seen[path])
        if path in self.drafts:
            self.drafts[path] = msgspec.structs.replace(self.drafts[path], mmproj_path=projector)

    def _code(self, path: str) -> str | None:
        if path in self.skipped:
            return self.skipped[path].code
        known = self._known.get(path)
        return known.code if known is not None and path not in self.drafts else None

    def _is_model(self, path: str) -> bool:
        known = self._known.get(path)
        is_known_model = known is not None and not known.is_copy and known.status in {"ok", "unsupported"}
        return path in self.drafts or (is_known_model and path not in self.skipped)

    def record(self, registry: Registry) -> ScanReport:
        """Write the differences, inside the caller's transaction."""
        # First what is gone: a file that moved is then found again as the missing artifact that it was.
        missing = self._record_missing(registry)
        changes: dict[str, list[str]] = {"added": [], "updated": [], "unchanged": [], "copied": []}
        registry.aliases.forget_found(draft.name for draft in self.drafts.values())
        for draft in self._in_order():
            artifact, change = registry.artifacts.add(draft)
            changes[change].append(draft.path if change == "copied" else artifact.path)
        changes["copied"] += self._record_links(registry)
        registry.aliases.set_found(self._names())
        for item in self.skipped.values():
            known = self._known.get(item.path)
            if known is not None and known.artifact_id is not None and item.kind == "bad":
                registry.artifacts.mark_broken(
                    known.artifact_id, item.reason, size_bytes=item.size_bytes, mtime_ns=item.mtime_ns
                )
            elif _is_text(item.path):
                registry.files.skip(item)
        registry.files.forget_skipped(self._gone_skipped())
        moved = {str(path) for path in changes["updated"]}
        return ScanReport(
            added=tuple(changes["added"]),
            updated=tuple(changes["updated"]),
            copied=tuple(changes["copied"]),
            missing=tuple(path for path in missing if path not in moved),
            failed=(*self._root_failures, *self._reports("bad")),
            skipped=self._reports("not_a_model"),
            num_unchanged=len(changes["unchanged"]) + self._num_untouched(),
        )

    def _in_order(self) -> list[ArtifactDraft]:
        """Give the drafts; first those of known origin, so that a tag that moved on takes its model with it."""
        origins = {known.origin for known in self._known.values() if known.origin is not None}
        return sorted(self.drafts.values(), key=lambda draft: draft.origin not in origins)

    def _record_missing(self, registry: Registry) -> list[str]:
        """Mark what is gone; an artifact of which a copy is left goes on with that."""
        gone: dict[str, str] = {}
        copies: defaultdict[int | None, list[str]] = defaultdict(list)
        for path, known in self._known.items():
            if known.artifact_id is None or known.status in {"ignored", "missing"}:
                continue
            file = None if path in self._seen else next((file for file in known.files if not Path(file).exists()), None)
            if file is None and known.is_copy and path not in self._seen and _is_changed(known):
                file = path  # Something else lies there now.
            if file is not None:
                gone[path] = file
            elif known.is_copy:
                copies[known.artifact_id].append(path)
        registry.copies.forget(path for path in gone if self._known[path].is_copy)
        missing = []
        for path, file in gone.items():
            known = self._known[path]
            if known.is_copy or known.artifact_id is None:
                continue
            if copies[known.artifact_id]:
                registry.copies.promote(copies[known.artifact_id][0])
            else:
                registry.artifacts.mark(known.artifact_id, "missing", f"{file} is gone")
                missing.append(path)
        return missing

    def _record_links(self, registry: Registry) -> list[str]:
        """Record further paths of files as copies; give those that are new."""
        new = []
        for path, first in self._links.items():
            known, candidate = self._known.get(path), self._seen[path]
            if known is not None and (known.status == "ignored" or (known.is_copy and _looks_same(candidate, known))):
                continue
            artifact = registry.artifacts.find(first)
            if artifact is not None and artifact.path != path and _is_text(path):
                registry.copies.put(artifact.id, draft_of(candidate, artifact.facts))
                new.append(path)
        return new

    def _names(self) -> dict[str, tuple[str, ...]]:
        """Give the names that stores have for their files."""
        return {path: candidate.names for path, candidate in self._seen.items() if candidate.names}

    def _gone_skipped(self) -> list[str]:
        """List remembered files below the roots that are there no more."""
        return [
            path
            for path, known in self._known.items()
            if known.artifact_id is None
            and path not in self._seen
            and any(path.startswith(root.rstrip("/") + "/") for root in self._roots)
            and not Path(path).exists()
        ]

    def _num_untouched(self) -> int:
        return sum(
            1
            for path in self._seen
            if path not in self.drafts
            and path not in self.skipped
            and path not in self._links
            and self._known[path].status in {"ok", "unsupported", "bad"}
            and self._known[path].artifact_id is not None
        )

    def _reports(self, kind: str) -> tuple[ScanFailure, ...]:
        """List the skipped files of a kind: those of this scan, and those that look as they did before."""
        found = [
            ScanFailure(path=item.path, code=item.code, reason=item.reason)
            for item in self.skipped.values()
            if item.kind == kind
        ]
        for path in self._seen:
            known = self._known.get(path)
            if known is not None and known.status == kind and path not in self.skipped and path not in self.drafts:
                found.append(ScanFailure(path=path, code=known.code or "bad", reason=known.reason or ""))
        return tuple(sorted(found, key=lambda failure: failure.path))


def _looks_same(candidate: Candidate, known: KnownFile) -> bool:
    same_bytes = (candidate.size_bytes, candidate.mtime_ns) == (known.size_bytes, known.mtime_ns)
    if not same_bytes or known.status == "missing":
        return False
    if known.artifact_id is None:
        return candidate.problem is None or candidate.problem.code == known.code
    if known.origin != candidate.origin:
        return False
    return known.files == tuple(map(str, candidate.files)) and (candidate.problem is None or known.status == "bad")


def _is_text(path: str) -> bool:
    """SQLite stores UTF-8; a file name may be any bytes."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_changed(known: KnownFile) -> bool:
    """Tell whether all files are there and look otherwise, or are there again."""
    try:
        infos = [Path(file).stat() for file in known.files]
    except OSError:
        return False
    fingerprint = (sum(info.st_size for info in infos), max((info.st_mtime_ns for info in infos), default=0))
    return known.status == "missing" or fingerprint != (known.size_bytes, known.mtime_ns)


def _candidates_named(path: Path) -> tuple[Candidate, ...]:
    """Give the candidate of a path that was registered, if it is still one."""
    try:
        if path.is_dir():
            here = folder_candidates(path, is_owned=False)
            return tuple(item for item in here if item.path == path)
        return (file_candidate(path, is_owned=False),)
    except ArtifactError:
        return ()
