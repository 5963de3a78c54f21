"""What the catalogue holds: models, their artifacts, and files that are neither. Plain data, no database."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from registry.engines import EngineKind, EngineSetting
from registry.facts import AdapterFacts, ArtifactFormat, ModelFacts
from registry.sampling import NOTHING_RECOMMENDED, RecommendedSampling
from registry.settings import NO_SETTINGS, ModelSettings
from registry.vision import VisionFacts, why_text_only

ArtifactStatus = Literal["ok", "bad", "missing", "unsupported"]
Layout = Literal["plain", "hf_cache", "lm_studio", "ollama"]
"""How the folder is laid out that a model was found in: a tree of any kind, or the store of another tool."""

ENGINE_OF_FORMAT: Final[dict[ArtifactFormat, EngineKind]] = {
    ArtifactFormat.GGUF: EngineKind.LLAMACPP,
    ArtifactFormat.MLX: EngineKind.MLX,
}


def file_version(size_bytes: int, mtime_ns: int) -> str:
    """Give a text that is another one when files are others, although their path is the same."""
    return f"{size_bytes:x}-{mtime_ns:x}"


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """One on-disk form of a model.

    Attributes:
        id: Row number; stays the same for the life of the artifact.
        path: What an engine is given: the `.gguf` file (of a split set the first), or the MLX folder.
        files: Every file of it, `mmproj_path` left out.
        mmproj_path: The vision projector beside a GGUF model, if any.
        size_bytes: Sum over `files`.
        mtime_ns: Newest modification time over `files`; with `size_bytes` it tells whether anything changed.
        sha256: The `combined_sha256` of its files, once it is known.
        status: `ok`; `bad` (no longer parses); `missing` (gone from disk); `unsupported` (no engine would load it).
        reason: Why the status is not `ok`.
        is_owned: It lies in mlxr's own models folder, so mlxr may delete its files.
        copies: Other paths where the same bytes lie, sorted.
        layout: Of the folder it was found in.
        root: That folder; None when it was registered by its path.
    """

    id: int
    model_name: str
    format: ArtifactFormat
    path: str
    files: tuple[str, ...]
    mmproj_path: str | None
    size_bytes: int
    mtime_ns: int
    sha256: str | None
    status: ArtifactStatus
    reason: str | None
    is_owned: bool
    facts: ModelFacts
    copies: tuple[str, ...] = ()
    layout: Layout = "plain"
    root: str | None = None

    @property
    def engine(self) -> EngineKind:
        """The engine that runs this format."""
        return ENGINE_OF_FORMAT[self.format]

    @property
    def version(self) -> str:
        """A text that is another one when the files are others, although the path is the same."""
        return file_version(self.size_bytes, self.mtime_ns)

    @property
    def vision(self) -> VisionFacts | None:
        """What it sees with; a copy of a GGUF model may have no projector beside it."""
        has_lost_it = self.format is ArtifactFormat.GGUF and self.mmproj_path is None
        return None if has_lost_it else self.facts.vision

    @property
    def text_only_reason(self) -> str | None:
        """Why its engine cannot show it pictures; None = it can."""
        return why_text_only(self.vision, self.engine)


class AdapterDraft(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter as found on disk, checked against its base.

    Attributes:
        name: What stands after the `+`; unique for the base and the format.
        path: The `.gguf` file, or the folder that mlx-lm wrote.
        files: Every file of it that is read.
        size_bytes: Sum over `files`, when it was registered.
        mtime_ns: Newest modification time over `files`, then.
        scale: What the user wants its effect multiplied by; 1 = as its makers have it.
    """

    name: str
    format: ArtifactFormat
    path: str
    files: tuple[str, ...]
    size_bytes: int
    mtime_ns: int
    scale: float = 1.0
    facts: AdapterFacts


class Adapter(AdapterDraft, frozen=True, kw_only=True):
    """A LoRA adapter of one model, for one engine.

    Attributes:
        id: Row number; another one after it was registered anew.
    """

    id: int
    model_name: str

    @property
    def engine(self) -> EngineKind:
        """The engine that runs this format."""
        return ENGINE_OF_FORMAT[self.format]

    @property
    def reference(self) -> str:
        """What requests call it by, with its base."""
        return f"{self.model_name}+{self.name}"

    @property
    def version(self) -> str:
        """A text that is another one when the files are others, although the path is the same."""
        return file_version(self.size_bytes, self.mtime_ns)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A logical name and its artifacts, at most one of each format.

    Attributes:
        name: Unique; `names.py` has its grammar.
        artifacts: Sorted by format.
        engine: The model's own engine setting; None leaves it to the global one.
        aliases: Other names for it, sorted.
        created_at: Seconds since 1970.
        last_used_at: Seconds since 1970; None before the first use.
        adapters: Sorted by name and format.
    """

    name: str
    artifacts: tuple[Artifact, ...]
    engine: EngineSetting | None
    aliases: tuple[str, ...]
    settings: ModelSettings = NO_SETTINGS
    created_at: float
    last_used_at: float | None
    adapters: tuple[Adapter, ...] = ()

    @property
    def engines(self) -> tuple[EngineKind, ...]:
        """The engines that have an artifact with status `ok`."""
        return tuple(artifact.engine for artifact in self.artifacts if artifact.status == "ok")

    @property
    def adapter_names(self) -> tuple[str, ...]:
        """What may stand after the `+`, each once."""
        return tuple(dict.fromkeys(adapter.name for adapter in self.adapters))

    @property
    def context_length(self) -> int | None:
        """The longest context that one of its artifacts was made for, in tokens; None = not known."""
        return max((artifact.facts.context_length or 0 for artifact in self.artifacts), default=0) or None

    @property
    def recommended_sampling(self) -> RecommendedSampling:
        """How its makers would have tokens drawn, the same for both engines.

        The MLX folder's word goes first: its generation_config.json is the makers' own file.
        """
        said = (artifact.facts.sampling for artifact in reversed(self.artifacts))
        return next((each for each in said if each is not None and each.values), NOTHING_RECOMMENDED)

    def artifact_for(self, engine: EngineKind) -> Artifact | None:
        """Give the artifact that an engine runs, whatever its status."""
        return next((artifact for artifact in self.artifacts if artifact.engine == engine), None)

    def adapters_named(self, name: str) -> tuple[Adapter, ...]:
        """Give the adapters of a name, at most one of each format."""
        return tuple(adapter for adapter in self.adapters if adapter.name == name)


class ArtifactSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An artifact as lists show it; the other attributes are those of Artifact and of its facts.

    Attributes:
        sees: Its engine can show it pictures.
    """

    format: ArtifactFormat
    path: str
    size_bytes: int
    status: ArtifactStatus
    reason: str | None
    is_owned: bool
    architecture: str | None
    quantization: str | None
    parameter_count: int | None
    context_length: int | None
    sees: bool = False

    @property
    def engine(self) -> EngineKind:
        """The engine that runs this format."""
        return ENGINE_OF_FORMAT[self.format]


class ModelSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A model as lists show it: quick to read for a thousand of them, because facts are left out.

    Attributes:
        artifacts: Sorted by format.
    """

    name: str
    artifacts: tuple[ArtifactSummary, ...]
    engine: EngineSetting | None
    aliases: tuple[str, ...]
    created_at: float
    last_used_at: float | None
    adapters: tuple[tuple[str, EngineKind], ...] = ()
    tags: tuple[str, ...] = ()

    @property
    def engines(self) -> tuple[EngineKind, ...]:
        """The engines that have an artifact with status `ok`."""
        return tuple(artifact.engine for artifact in self.artifacts if artifact.status == "ok")


class FileHash(msgspec.Struct, frozen=True, kw_only=True):
    """The checksum of one file.

    Attributes:
        sha256: 64 hex digits.
        is_computed: It was computed here; otherwise the file's name says so.
    """

    path: str
    size_bytes: int
    mtime_ns: int
    sha256: str
    is_computed: bool

    @classmethod
    def of(cls, path: Path | str, info: os.stat_result, sha256: str, *, is_computed: bool) -> Self:
        """Make that of a file as it looks now."""
        size_bytes, mtime_ns = info.st_size, info.st_mtime_ns
        return cls(path=str(path), size_bytes=size_bytes, mtime_ns=mtime_ns, sha256=sha256, is_computed=is_computed)


def combined_sha256(hashes: Iterable[FileHash]) -> str | None:
    """Give one checksum for all files of an artifact: that of a single file; None without files.

    Of several it is that of the lines that `sha256sum` prints for them, sorted by file name.
    """
    pairs = sorted((Path(item.path).name, item.sha256) for item in hashes)
    if len(pairs) <= 1:
        return pairs[0][1] if pairs else None
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in pairs)
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One of the paths where an artifact lies; the attributes are those of Artifact."""

    format: ArtifactFormat
    path: str
    files: tuple[str, ...]
    mmproj_path: str | None = None
    size_bytes: int
    is_owned: bool
    layout: Layout = "plain"
    root: str | None = None


def all_files(artifact: Artifact | Place) -> tuple[str, ...]:
    """Give all files of an artifact, its projector last."""
    return artifact.files if artifact.mmproj_path is None else (*artifact.files, artifact.mmproj_path)


class ArtifactDraft(Place, frozen=True, kw_only=True):
    """An artifact as found on disk, before it has a model.

    Attributes:
        organization: Segment to put before the name when the name is taken by another model.
        origin: What stays the same when a new revision has another path; None for plain files.
        hashes: What the names of its files say of their checksums.
    """

    mtime_ns: int
    facts: ModelFacts
    name: str
    organization: str | None = None
    origin: str | None = None
    hashes: tuple[FileHash, ...] = ()

    @property
    def claimed_sha256(self) -> str | None:
        """The artifact's checksum as the names of its files say it; None unless every file has one."""
        return combined_sha256(self.hashes) if len(self.hashes) == len(self.files) else None


class Deletion(msgspec.Struct, frozen=True):
    """A file that goes with an artifact.

    Attributes:
        path: The file or link, or a folder that goes when it is empty.
        layout: Of the folder it was found in; it decides what else may need the file.
        root: That folder, its links resolved; nothing outside is deleted.
    """

    path: str
    layout: Layout
    root: str


class SkippedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that is no artifact.

    Attributes:
        kind: `bad` (a broken model), `not_a_model` (e.g. an adapter) or `ignored` (the user unregistered it).
    """

    path: str
    size_bytes: int
    mtime_ns: int
    kind: Literal["bad", "not_a_model", "ignored"]
    code: str
    reason: str


class KnownFile(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue remembers of a path, as far as a scan needs it.

    Attributes:
        artifact_id: None for a skipped file.
        is_copy: It is another path of the artifact, not the one that engines are given.
        files: The artifact's files; empty for a skipped file.
        mmproj_version: `file_version` of the projector as it was read.
        status: The artifact's status, or the skipped file's kind.
        is_outdated: An older mlxr read its facts, and knew less.
    """

    artifact_id: int | None
    origin: str | None = None
    is_copy: bool = False
    files: tuple[str, ...] = ()
    mmproj_path: str | None = None
    mmproj_version: str | None = None
    size_bytes: int
    mtime_ns: int
    status: str
    code: str | None = None
    reason: str | None = None
    is_outdated: bool = False
