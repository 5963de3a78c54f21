"""What a pull tells while it goes on: the same Structs for progress bars, `--json` lines and server-sent events.

A stream is `started`, then the transfer's events, `registered` for each artifact that came, `converting` and
`registered` where a form has to be made, and one of `done`, `failed` and `stopped` at its end.
"""

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from registry.engines import EngineKind
from registry.pull_record import PullPlan


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The pull is in the list; what each of those who follow hears first.

    Attributes:
        is_joined: It ran already, or goes on where it was stopped.
    """

    id: int
    reference: str
    is_joined: bool = False


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag="planned"):
    """The hub was asked; it is known what will be fetched."""

    plan: PullPlan
    total_bytes: int
    needed_bytes: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True, tag="waiting"):
    """Another pull, perhaps of another process, is fetching the same; its result will be taken.

    Attributes:
        path: The file, or the folder of the whole part.
    """

    path: str


class FileStarted(msgspec.Struct, frozen=True, kw_only=True, tag="file_started"):
    """A file is being fetched."""

    path: str
    size_bytes: int
    done_bytes: int


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How far the whole pull is.

    Attributes:
        done_bytes: That are there, over all files; falls when a file is begun anew.
        bytes_per_s: Over the last seconds; None before there is anything to measure.
        eta_s: Seconds to go at that speed; None without one.
    """

    done_bytes: int
    total_bytes: int
    bytes_per_s: float | None
    eta_s: float | None


class Retrying(msgspec.Struct, frozen=True, kw_only=True, tag="retrying"):
    """Something went wrong and is tried again."""

    path: str
    reason: str
    delay_s: float


class Verifying(msgspec.Struct, frozen=True, kw_only=True, tag="verifying"):
    """All bytes of a file are there; its hash is not ready yet."""

    path: str


class FileDone(msgspec.Struct, frozen=True, kw_only=True, tag="file_done"):
    """A file is there and has the right hash.

    Attributes:
        origin: Fetched now, there from before, or the same bytes as another file's.
    """

    path: str
    origin: Literal["fetched", "present", "linked"]


class Registered(msgspec.Struct, frozen=True, kw_only=True, tag="registered"):
    """What came can be used now.

    Attributes:
        engines: That run it, with all its artifacts.
    """

    model: str
    engines: tuple[EngineKind, ...]
    path: str


class Converting(msgspec.Struct, frozen=True, kw_only=True, tag="converting"):
    """The form that no repository has is being made from what came.

    Attributes:
        share: Of the step, 0..1; None when unknown.
    """

    step: str
    share: float | None


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """All files are in their places, and registered.

    Attributes:
        paths: One file or folder per part.
    """

    paths: tuple[str, ...]


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The pull ended with an error; what was fetched is kept."""

    code: str
    message: str


class Stopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """The pull was stopped on request.

    Attributes:
        state: Where it stands now; `queued` goes on when its server runs again.
    """

    state: Literal["paused", "cancelled", "queued"]


PullEvent = (
    Started
    | Planned
    | Waiting
    | FileStarted
    | Progress
    | Retrying
    | Verifying
    | FileDone
    | Registered
    | Converting
    | Done
    | Failed
    | Stopped
)
Listener = Callable[[PullEvent], None]
PULL_END: Final = (Done, Failed, Stopped)
"""Exactly one of these ends every pull."""
