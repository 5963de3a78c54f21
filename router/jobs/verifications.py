"""Verifying the files of models for a server's clients: every byte is read again, one verification at a time.

Not here: what is looked at (`registry.checksums.verification`), and HTTP.
"""

import asyncio
import logging
import time
from collections.abc import Hashable
from functools import partial
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec.structs import asdict

from registry.catalogue import Artifact, Model
from registry.checksums.verification import Verified, size_to_verify, verify
from registry.errors import RegistryError
from registry.pull.events import Failed
from registry.store import Registry
from registry.threads import with_registry
from router.errors import VerificationNotFoundError
from router.http.caller import current_caller
from router.jobs.job import Follower, Job, JobKind
from router.jobs.jobs import Jobs

logger = logging.getLogger(__name__)

TELL_S: Final = 0.5
"""How often the progress is told."""


class VerificationStarted(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """The first event; `models` are in their order."""

    models: tuple[str, ...]
    num_artifacts: int
    total_bytes: int


class VerificationProgress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """How many bytes were read."""

    done_bytes: int
    total_bytes: int


class VerifiedArtifact(Verified, frozen=True, kw_only=True, tag="verified", tag_field="type"):
    """What came out for one artifact."""


class VerificationDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """All was looked at."""

    num_artifacts: int
    num_wrong: int


class VerificationStopped(msgspec.Struct, frozen=True, kw_only=True, tag="stopped"):
    """It was stopped: on request, or because the server ends. What was looked at until then counts."""

    state: Literal["cancelled", "shutting_down"]


VerificationEnd = VerificationDone | Failed | VerificationStopped
VerificationEvent = VerificationStarted | VerificationProgress | VerifiedArtifact | VerificationEnd


def _slot_of(event: VerificationEvent) -> Hashable:
    return event.path if isinstance(event, VerifiedArtifact) else type(event)


_VERIFICATION: Final = JobKind[VerificationEvent](name="verification", slot_of=_slot_of)


class Verifications:
    """Those of a server; `jobs` runs them."""

    def __init__(self, database: Path, jobs: Jobs) -> None:
        self._database = database
        self._jobs = jobs
        self._turn = asyncio.Lock()

    def start(self, models: tuple[Model, ...]) -> Follower[VerificationEvent]:
        """Begin to verify the artifacts of models, or follow whoever verifies the same.

        Args:
            models: That are for whoever asks.

        Raises:
            ShuttingDownError: The server is about to end, or just starts.
        """
        artifacts = tuple(artifact for model in models for artifact in model.artifacts)
        key = tuple(artifact.id for artifact in artifacts)
        job = self._jobs.get(_VERIFICATION, key)
        if job is None:
            names = tuple(model.name for model in models)
            about = names[0] if len(names) == 1 else f"{len(names)} models"
            job = self._jobs.start(_VERIFICATION, key, partial(self._verify, artifacts, names), about=about)
        job.share(current_caller().key_id)
        return job.follow()

    async def cancel(self) -> int:
        """Stop what is verified for whoever asks; return how many there were.

        Raises:
            VerificationNotFoundError: There is none.
        """
        num_found = await self._jobs.cancel(_VERIFICATION, VerificationStopped(state="cancelled"))
        if not num_found:
            raise VerificationNotFoundError("Nothing is being verified.")
        return num_found

    async def _verify(
        self, artifacts: tuple[Artifact, ...], models: tuple[str, ...], job: Job[VerificationEvent]
    ) -> VerificationEnd:
        total_bytes = size_to_verify(artifacts)
        meter = _Meter(job, total_bytes)
        job.tell(VerificationStarted(models=models, num_artifacts=len(artifacts), total_bytes=total_bytes))
        num_wrong = 0
        try:
            async with self._turn:
                for artifact in artifacts:
                    found = await with_registry(self._database, partial(_verified, artifact, meter))
                    num_wrong += found.state != "ok"
                    job.tell(found)
        except asyncio.CancelledError:
            return VerificationStopped(state="cancelled" if job.stop_reason == "cancelled" else "shutting_down")
        except RegistryError as exc:
            if job.stop_reason is not None:  # what a thread said last
                return VerificationStopped(state="cancelled" if job.stop_reason == "cancelled" else "shutting_down")
            logger.info("a verification failed: %s", exc)
            return Failed(code=exc.code, message=str(exc))
        return VerificationDone(num_artifacts=len(artifacts), num_wrong=num_wrong)


class _Meter:
    """Tells how far a verification is, from the thread that reads."""

    def __init__(self, job: Job[VerificationEvent], total_bytes: int) -> None:
        self._job = job
        self._total_bytes = total_bytes
        self._done_bytes = 0
        self._told_at = time.monotonic()
        self._loop = asyncio.get_running_loop()

    def advance(self, num_bytes: int) -> None:
        """Count what was read; called in the thread."""
        self._done_bytes += num_bytes
        now = time.monotonic()
        if now - self._told_at >= TELL_S:
            self._told_at = now
            progress = VerificationProgress(done_bytes=self._done_bytes, total_bytes=self._total_bytes)
            self._loop.call_soon_threadsafe(self._tell, progress)

    def should_stop(self) -> bool:
        """Tell whether nobody wants it any more; called in the thread."""
        return self._job.stop_reason is not None

    def _tell(self, progress: VerificationProgress) -> None:
        if not self._job.has_ended:
            self._job.tell(progress)


def _verified(artifact: Artifact, meter: _Meter, registry: Registry) -> VerifiedArtifact:
    found = verify(registry, artifact, on_progress=meter.advance, should_stop=meter.should_stop)
    return VerifiedArtifact(**asdict(found))
