"""What one scan has seen: the candidates of its folders, and what became of those that had to be opened.

Not here: the differences to the catalogue (`scanning.py`); how folders are walked (`folders.py`) and files are read
(`inspection.py`).
"""

import os
from collections import defaultdict
from pathlib import Path

import msgspec

from registry.catalogue import ArtifactDraft, KnownFile, SkippedFile, file_version
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.files import is_file_at, is_folder_at, is_there, size_and_time
from registry.gguf import KnownVocabularies
from registry.scan.candidates import Candidate, ScanRoot
from registry.scan.folders import file_candidate, find_candidates, folder_candidates
from registry.scan.inspection import MMPROJ_CODE, inspect
from registry.scan.pairing import projectors_for, with_projector


class ScanFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that could not become an artifact."""

    path: str
    code: str
    reason: str


class Seen:
    """What one scan has seen so far, beside what the catalogue knows."""

    def __init__(self, known: dict[str, KnownFile]) -> None:
        self.known = known
        self.candidates: dict[str, Candidate] = {}
        self._inodes: dict[tuple[int, int], str] = {}
        self.links: dict[str, str] = {}
        self._folders: list[Path] = []
        self._vocabularies = KnownVocabularies()
        self.roots: list[str] = []
        self.root_failures: list[ScanFailure] = []
        self.unpaired: list[ScanFailure] = []
        self.drafts: dict[str, ArtifactDraft] = {}
        self.skipped: dict[str, SkippedFile] = {}
        self._projectors: dict[str, list[str]] = {}

    def visit(self, root: ScanRoot) -> None:
        """Walk one root."""
        try:
            for candidate in find_candidates(root, self._folders):
                self.add(candidate)
            self.roots.append(os.path.abspath(root.path))  # noqa: PTH100 - as the candidates' paths
        except ArtifactError as exc:
            self._folders.append(root.path)
            if root.layout == "plain" or exc.code != "not_found":
                self.root_failures.append(ScanFailure(path=str(root.path), code=exc.code, reason=exc.reason))

    def visit_others(self) -> None:
        """Look again at known artifacts that no root showed, because they were registered by their path."""
        for path, known in self.known.items():
            if path in self.candidates or known.artifact_id is None or known.is_copy or known.status == "ignored":
                continue
            if is_changed(known) or _has_other_projector(path, known):
                for candidate in _candidates_named(Path(path)):
                    self._revisit(path, candidate)

    def _revisit(self, path: str, candidate: Candidate) -> None:
        """Take in a known artifact with the projectors beside it, whatever other models are there."""
        self.add(candidate)
        if path in self.links or candidate.format is not ArtifactFormat.GGUF or candidate.source.layout == "ollama":
            return
        if path not in self.drafts and path not in self.skipped:
            self._inspect(candidate)
        paired = self.known[path].mmproj_path
        kept = [paired] if paired is not None and is_there(paired) else []
        self._projectors[path] = kept + [item for item in _projectors_beside(candidate.path) if item not in kept]

    def add(self, candidate: Candidate) -> None:
        """Take in one candidate: open it unless it is known and looks the same, or is another link to a file."""
        path = str(candidate.path)
        if path in self.candidates:
            return
        self.candidates[path] = candidate
        if candidate.inode is not None and not self._is_first_link(path, candidate.inode):
            return
        known = self.known.get(path)
        if known is not None and known.status == "ignored":
            return
        if known is None or not looks_same(candidate, known):
            self._inspect(candidate)

    def _is_first_link(self, path: str, inode: tuple[int, int]) -> bool:
        """Note that a file has several paths. The one that the catalogue gives to engines counts as the first."""
        first = self._inodes.setdefault(inode, path)
        if first == path:
            return True
        if self._is_known_artifact(path):
            if not self._is_known_artifact(first):
                self._inodes[inode] = path
                self.links[first] = path
                self.drafts.pop(first, None)
                self.skipped.pop(first, None)
            return True
        self.links[path] = first
        return False

    def _is_known_artifact(self, path: str) -> bool:
        known = self.known.get(path)
        return known is not None and known.artifact_id is not None and not known.is_copy

    def watched(self) -> set[str]:
        """Give the paths of `scan`'s `watched`."""
        files = {str(file) for candidate in self.candidates.values() for file in candidate.files}
        known = {file for item in self.known.values() for file in (item.mmproj_path, *item.files) if file is not None}
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
        for path, candidate in self.candidates.items():
            if candidate.format is not ArtifactFormat.GGUF:
                continue
            if candidate.source.layout == "ollama":  # whose names say which projector is whose
                has_one = candidate.projector is not None and is_file_at(candidate.projector)
                self._projectors[path] = [str(candidate.projector)] if has_one else []
            if path in self._projectors:
                if path not in self.links and self._is_model(path):
                    self._attach(path, self._projectors[path])
            elif self._code(self.links.get(path, path)) == MMPROJ_CODE:
                projectors[candidate.path.parent].append(candidate.path.name)
            elif path not in self.links and self._is_model(path):
                models[candidate.path.parent].append(candidate.path.name)
        for folder, names in models.items():
            here = tuple(projectors[folder])
            for name in names:
                fitting = projectors_for(name, names, here)
                self._attach(str(folder / name), [str(folder / projector) for projector in fitting])

    def _attach(self, path: str, projectors: list[str]) -> None:
        """Give a model the first of some projectors that fits it."""
        known = self.known.get(path)
        if path not in self.drafts and known is not None:
            is_same = known.mmproj_path == next(iter(projectors), None) and known.mmproj_path not in self.skipped
            if not is_same:
                self._inspect(self.candidates[path])
        if path in self.drafts:
            draft = with_projector(self.drafts[path], projectors)
            for warning in draft.facts.warnings[len(self.drafts[path].facts.warnings) :]:
                self.unpaired.append(ScanFailure(path=path, code="misfit", reason=warning))
            self.drafts[path] = draft

    def _code(self, path: str) -> str | None:
        if path in self.skipped:
            return self.skipped[path].code
        known = self.known.get(path)
        return known.code if known is not None and path not in self.drafts else None

    def _is_model(self, path: str) -> bool:
        known = self.known.get(path)
        is_known_model = known is not None and not known.is_copy and known.status in {"ok", "unsupported"}
        return path in self.drafts or (is_known_model and path not in self.skipped)


def looks_same(candidate: Candidate, known: KnownFile) -> bool:
    """Tell whether a candidate looks as it did when it was opened last."""
    same_bytes = (candidate.size_bytes, candidate.mtime_ns) == (known.size_bytes, known.mtime_ns)
    if not same_bytes or known.status == "missing" or known.is_outdated:
        return False
    if known.artifact_id is None:
        return candidate.problem is None or candidate.problem.code == known.code
    if known.origin != candidate.origin:
        return False
    return known.files == tuple(map(str, candidate.files)) and (candidate.problem is None or known.status == "bad")


def is_changed(known: KnownFile) -> bool:
    """Tell whether all files are there and look otherwise, or are there again."""
    try:
        now = size_and_time(known.files)
    except OSError:
        return False
    return known.status == "missing" or now != (known.size_bytes, known.mtime_ns)


def _has_other_projector(path: str, known: KnownFile) -> bool:
    """Tell whether a model's files are there, and its projector came, went or is another one."""
    if not all(map(is_there, known.files)):
        return False
    if known.mmproj_path is None:
        return path.endswith(".gguf") and bool(_projectors_beside(Path(path)))
    if known.mmproj_version is None:
        return False
    try:
        return file_version(*size_and_time([known.mmproj_path])) != known.mmproj_version
    except OSError:
        return True


def _projectors_beside(model: Path) -> list[str]:
    """List the files in a model's folder that are named as its projectors may be, the best first."""
    try:
        names = {path.name for path in model.parent.glob("*.gguf") if "mmproj" in path.name.lower()} - {model.name}
    except OSError:
        return []
    return [str(model.parent / name) for name in projectors_for(model.name, (model.name,), sorted(names))]


def _candidates_named(path: Path) -> tuple[Candidate, ...]:
    """Give the candidate of a path that was registered, if it is still one."""
    try:
        if is_folder_at(path):
            here = folder_candidates(path, is_owned=False)
            return tuple(item for item in here if item.path == path)
        return (file_candidate(path, is_owned=False),)
    except ArtifactError:
        return ()
