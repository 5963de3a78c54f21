"""A pull as data: what is asked for, what is going to be done, and how far it is. Not here: choosing and doing it."""

from typing import Final, Literal

import msgspec

from registry.engines import EngineKind, PullEngines
from registry.facts import ArtifactFormat
from registry.settings import NO_SETTINGS, ModelSettings

FileState = Literal["missing", "partial", "linkable", "present"]
PullState = Literal["queued", "running", "interrupted", "paused", "failed", "done", "cancelled"]

ENDED_STATES: Final = frozenset({"done", "cancelled"})
"""Nothing is left to go on with."""


class PullOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants of a repository.

    Attributes:
        engine: The engine or engines it is for; None takes what the repository has.
        vision: Whether the vision projector of a GGUF model must come, or must not; None = it comes where there is one.
        budget_bytes: Weights that fit into memory; None leaves memory out of the choice.
        name: Of the model that gets what comes; None derives it. Not used by the transfer.
        called: Another name that the model is to have: its own when it is new and `name` is None, else an alias.
        patterns: Of names of models, which bound whoever asks: what comes stands apart, and must not be another
            model's already; None = nothing does. Not used by the transfer.
    """

    engine: PullEngines | None = None
    vision: bool | None = None
    budget_bytes: int | None = None
    name: str | None = None
    called: str | None = None
    patterns: tuple[str, ...] | None = None


class PullInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A pull in the list.

    Attributes:
        state: `interrupted`: the process that ran it is gone; resuming goes on with it. Stored as what it was before.
        called: The other name that was asked for.
        total_bytes: Of all files; None before the hub was asked.
        done_bytes: As of the last look; the files themselves know better.
        bytes_per_s: Now; None unless this process runs it.
        eta_s: Seconds to go; None unless this process runs it.
        step: What is done after the transfer: a step of a conversion; None unless this process is at it.
        step_share: Of that step, 0..1; None when unknown.
        created_at: Seconds since 1970.
        updated_at: Seconds since 1970.
    """

    id: int
    reference: str
    state: PullState
    engine: PullEngines | None = None
    vision: bool | None = None
    name: str | None = None
    called: str | None = None
    total_bytes: int | None = None
    done_bytes: int = 0
    bytes_per_s: float | None = None
    eta_s: float | None = None
    step: str | None = None
    step_share: float | None = None
    error_code: str | None = None
    error: str | None = None
    created_at: float
    updated_at: float


class PlannedFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file to have.

    Attributes:
        url: Where it is fetched from; of a hub always at one commit.
        path: Where it goes, below the part's folder.
        sha256: What its bytes must have; None when `git_sha1` stands, or for a plain URL.
        git_sha1: The git object id that its bytes must have.
        state: What is there of it: nothing, a part, the same bytes elsewhere, or all.
        done_bytes: Bytes that need not be fetched.
    """

    url: str
    path: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    state: FileState = "missing"
    done_bytes: int = 0


class PlannedPart(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one artifact.

    Attributes:
        repo: `ORG/REPO`, or None for a plain URL.
        commit: That all files are fetched at; None for a plain URL.
        folder: Below the models folder. An MLX folder appears there whole or not at all.
        files: The files; of a GGUF model its first file comes first, the projector last.
        quant: The quantization as the file names have it.
        has_projector: The last file is a vision projector.
    """

    format: ArtifactFormat
    repo: str | None
    commit: str | None
    folder: str
    files: tuple[PlannedFile, ...]
    quant: str | None = None
    has_projector: bool = False

    @property
    def total_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)


class PullPlan(msgspec.Struct, frozen=True, kw_only=True):
    """All that a pull is going to do.

    Attributes:
        parts: One per artifact.
        needs_conversion: Engines that were asked for and that no repository has a form for.
        notes: Sentences for the user about what was chosen and why.
        fits_memory: Whether the weights fit into the budget; None when there is none.
        local_path: Always None: files on this machine are registered, not pulled.
        free_bytes: On the models folder's disk; None before anybody looked.
        name: Of the model that gets what comes, when no other was asked for; it is kept apart from equal bytes.
    """

    reference: str
    parts: tuple[PlannedPart, ...] = ()
    needs_conversion: tuple[EngineKind, ...] = ()
    notes: tuple[str, ...] = ()
    fits_memory: bool | None = None
    local_path: str | None = None
    free_bytes: int | None = None
    reserve_bytes: int = 0
    name: str | None = None
    settings: ModelSettings = NO_SETTINGS

    @property
    def total_bytes(self) -> int:
        """Sum over all files."""
        return sum(part.total_bytes for part in self.parts)

    @property
    def done_bytes(self) -> int:
        """Bytes that need not be fetched."""
        return sum(file.done_bytes for part in self.parts for file in part.files)

    @property
    def needed_bytes(self) -> int:
        """Disk space that is still to be taken."""
        return self.total_bytes - self.done_bytes

    @property
    def is_disk_enough(self) -> bool:
        """Whether the files fit on the disk and leave the reserve; True before anybody looked."""
        return self.free_bytes is None or self.needed_bytes == 0 or self.needed_bytes <= self.spare_bytes

    @property
    def spare_bytes(self) -> int:
        """Disk space that may be taken."""
        return max(0, (self.free_bytes or 0) - self.reserve_bytes)
