"""Where events come from: the owners of states tell their observers, here it becomes events of the log."""

import time
from collections.abc import Hashable
from typing import Any, Final, Literal, NamedTuple, Protocol

from msgspec.structs import asdict

from router.conditions import Conditions, ConditionsChange
from router.events.kinds import (
    ContextWound,
    HeatChanged,
    JobChanged,
    LoggedEvent,
    ModelChanged,
    PressureChanged,
    Relieved,
    Snapshot,
    SuspendedChanged,
    Swapped,
    UpstreamChanged,
)
from router.events.log import EVERYBODY, Audience, EventLog
from router.http.caller import Caller
from router.jobs.batches.base import BatchStatus
from router.jobs.batches.runner import BatchNews
from router.jobs.job import Job, JobNews, JobShare
from router.jobs.jobs import Jobs
from router.observers import Observers
from router.status.upstreams import UpstreamStatus
from router.stores.contexts import Wind
from router.workers.supervisor import Supervisor

SHARE_STEP: Final = 0.05
"""Least step of a job that is told."""
RESTS: Final = "it rests until the server's next start"
_State = Literal["running", "done", "failed", "stopped"]
_ENDS: Final[dict[BatchStatus, _State]] = {
    BatchStatus.COMPLETED: "done",
    BatchStatus.FAILED: "failed",
    BatchStatus.CANCELLED: "stopped",
    BatchStatus.EXPIRED: "stopped",
}


class _Owned(Protocol):
    @property
    def owners(self) -> frozenset[str | None]:
        """Ids of the keys that it belongs to."""


class _OwnedBatch(NamedTuple):
    owners: frozenset[str | None]


class EventSources:
    """Feeds a log with what a server's parts tell.

    Attributes:
        log: What it feeds.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        conditions: Conditions,
        jobs: Jobs,
        batches: Observers[BatchNews] | None = None,
        wound: Observers[Wind] | None = None,
        upstreams: Observers[UpstreamStatus] | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._conditions = conditions
        self._pressure, self._heat = conditions.pressure, conditions.heat
        self._is_suspended = conditions.suspended is not None
        self._jobs: dict[Hashable, tuple[_Owned, JobChanged]] = {}
        self.log = EventLog(self._snapshot)
        supervisor.models.changed.add(lambda status: self._tell_of(ModelChanged(**asdict(status))))
        supervisor.swapped.add(lambda swap: self._tell_of(Swapped(**asdict(swap))))
        supervisor.relieved.add(lambda relief: self._tell_of(Relieved(**asdict(relief))))
        conditions.changed.add(self._on_conditions)
        jobs.news.add(self._on_job)
        jobs.shared.add(self._on_share)
        if batches is not None:
            batches.add(self._on_batch)
        if wound is not None:
            wound.add(self._on_wound)
        if upstreams is not None:
            upstreams.add(self._on_upstream)

    def _tell(self, event: LoggedEvent, audience: Audience = EVERYBODY) -> None:
        self.log.tell(event, audience)

    def _tell_of(self, event: ModelChanged | Swapped | Relieved) -> None:
        self._tell(event, Audience(model=event.model))

    def _snapshot(self, caller: Caller) -> Snapshot:
        known = self._supervisor.models.known
        return Snapshot(
            at=_now(),
            models=[each for each in known if Audience(model=each.model).has(caller)],
            pressure=self._conditions.pressure.value,
            heat=self._conditions.heat.value,
            suspended=self._conditions.suspended,
            jobs=[told for job, told in self._jobs.values() if caller.may_see_any(job.owners)],
        )

    def _on_conditions(self, change: ConditionsChange) -> None:
        if change.pressure is not self._pressure:
            self._pressure = change.pressure
            self._tell(PressureChanged(at=_now(), level=change.pressure.value, reason=change.reason))
        if change.heat is not self._heat:
            self._heat = change.heat
            self._tell(HeatChanged(at=_now(), state=change.heat.value, reason=change.reason))
        if change.is_suspended is not self._is_suspended:
            self._is_suspended = change.is_suspended
            self._tell(SuspendedChanged(at=_now(), suspended=change.is_suspended, reason=change.reason))

    def _on_job(self, news: JobNews) -> None:
        self._take((news.job.kind, news.job.name), news.job, job_changed(news))

    def _on_batch(self, news: BatchNews) -> None:
        self._take(news.batch.batch_id, _OwnedBatch(frozenset({news.batch.owner})), batch_changed(news))

    def _on_upstream(self, status: UpstreamStatus) -> None:
        self._tell(UpstreamChanged(at=_now(), **asdict(status) | {"models": []}))

    def _on_wound(self, wind: Wind) -> None:
        event = ContextWound(
            at=_now(),
            context=wind.context_id,
            model=wind.model,
            turns=wind.num_turns,
            tokens_before=wind.tokens_before,
            tokens_after=wind.tokens_after,
            narrative_tokens=wind.narrative_tokens,
            by=wind.told_by,
            ms=round(wind.ms, 1),
            left_out=wind.is_left_out,
        )
        self._tell(event, Audience(frozenset({wind.owner})))

    def _take(self, key: Hashable, owned: _Owned, now: JobChanged) -> None:
        """Tell of long work what is new."""
        _, before = self._jobs.pop(key, (None, None))
        is_end = now.state != "running"
        is_told = is_end or before is None or now.share not in {None, before.share}
        if not is_end:
            self._jobs[key] = owned, now if is_told or before is None else before
        if is_told:
            self._tell(now, Audience(owned.owners))

    def _on_share(self, share: JobShare) -> None:
        """Tell whoever comes to a job where it stands, and whoever leaves it that it has ended for him."""
        _, now = self._jobs[share.job.kind, share.job.name]
        if share.end is not None:
            now = job_changed(JobNews(share.job, share.end, is_end=True))
        self._tell(now, Audience(frozenset({share.owner})))


def job_changed(news: JobNews) -> JobChanged:
    """Return what is told of a job's event."""
    job, event = news.job, news.event
    return JobChanged(
        at=_now(),
        job=job.kind.name,
        id=_id_of(job),
        subject=_subject_of(job),
        state=_end_of(news) if news.is_end else "running",
        share=None if news.is_end else _share_of(event),
        message=getattr(event, "message", job.failure) if news.is_end else None,
    )


def batch_changed(news: BatchNews) -> JobChanged:
    """Return what is told of a batch; one that rests until the next start is stopped, and says so."""
    batch = news.batch
    state: _State = "stopped" if news.rests else _ENDS.get(batch.status, "running")
    return JobChanged(
        at=_now(),
        job="batch",
        id=batch.batch_id,
        subject=batch.endpoint,
        state=state,
        share=None if news.share is None or state != "running" else _step(news.share),
        message=RESTS if news.rests else next((each.message for each in batch.problems), None),
    )


def _subject_of(job: Job[Any]) -> str | None:
    if job.kind.is_answer:
        return str(job.about.subject)
    return None if job.about is None else str(job.about)


def _id_of(job: Job[Any]) -> str:
    """Return what a job is stopped by: a pull's or answer's id, the model of a conversion; there is one benchmark."""
    return str(job.name if isinstance(job.name, int) or job.kind.is_answer else job.about)


def _end_of(news: JobNews) -> Literal["done", "failed", "stopped"]:
    if news.job.kind.is_answer and news.job.stop_reason is None:
        return "failed" if news.job.is_broken or news.job.failure is not None else "done"
    tag = None if news.event is None else str(news.event.__struct_config__.tag)
    if tag == "stopped" or news.job.stop_reason is not None:
        return "stopped"
    return "done" if tag == "done" else "failed"


def _share_of(event: Any) -> float | None:
    """Return how far a job is, in steps; None where an event does not say."""
    share, total, done = (getattr(event, name, None) for name in ("share", "total_bytes", "done_bytes"))
    if share is None and total and done is not None:
        share = done / total
    return None if share is None else _step(share)


def _step(share: float) -> float:
    return round(int(share / SHARE_STEP + 1e-6) * SHARE_STEP, 2)


def _now() -> float:
    return round(time.time(), 3)
