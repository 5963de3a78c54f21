"""The one place where long work runs: all jobs of a process, by kind and name. Not here: what a job is (`job.py`)."""

import asyncio
from collections import Counter
from collections.abc import Hashable
from typing import Any, Self

from router.errors import ShuttingDownError
from router.http.caller import current_caller
from router.jobs.job import EventT, Job, JobKind, JobNews, JobShare, Work
from router.observers import Observers


class Jobs:
    """Everything long that a process runs. Use as an async context manager: leaving it stops all and waits for it.

    Attributes:
        news: Told of every job's beginning, events and end; of answers without the events.
        shared: Told of those among them that one more, or one less, has asked for.
        ended: Told of each job that has ended.
    """

    def __init__(self) -> None:
        self.news: Observers[JobNews] = Observers()
        self.shared: Observers[JobShare] = Observers()
        self.ended: Observers[Job[Any]] = Observers()
        self._jobs: dict[tuple[JobKind[Any], Hashable], Job[Any]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self._group = await asyncio.TaskGroup().__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        for job in self._jobs.values():
            job.stop("shutting_down")
        assert self._group is not None
        # Without the error: each job ends by itself, and nothing is cut off in the middle of its last steps.
        await self._group.__aexit__(None, None, None)

    @property
    def is_busy(self) -> bool:
        """Whether any job has not ended."""
        return any(not job.has_ended for job in self._jobs.values())

    @property
    def num_running(self) -> Counter[str]:
        """Jobs that have not ended, by the names of their kinds."""
        return Counter(job.kind.name for job in self._jobs.values() if not job.has_ended)

    def close(self) -> None:
        """Take no more, and stop what does not belong to requests; those who follow are told so."""
        self._is_closed = True
        for job in self._jobs.values():
            if not job.kind.ends_late:
                job.stop("shutting_down")

    def check_open(self) -> asyncio.TaskGroup:
        """Return what jobs run in.

        Raises:
            ShuttingDownError: The process is about to end, or just starts.
        """
        if self._group is None or self._is_closed:
            raise ShuttingDownError
        return self._group

    def start(
        self,
        kind: JobKind[EventT],
        name: Hashable,
        work: "Work[EventT]",
        *,
        about: object = None,
        owners: frozenset[str | None] | None = None,
        kept_s: float = 0.0,
    ) -> Job[EventT]:
        """Begin a job; none of that name runs.

        Args:
            about: What whoever runs it keeps with it.
            owners: Whose it is; None = it belongs to whoever asks.
            kept_s: How long it can still be found and followed when it has ended.

        Raises:
            ShuttingDownError: The process is about to end, or just starts.
        """

        def on_end(job: Job[EventT]) -> None:
            if kept_s:
                asyncio.get_running_loop().call_later(kept_s, self.forget, job)
            else:
                self.forget(job)
            self.ended.tell(job)

        group = self.check_open()
        job = self._jobs[kind, name] = Job(
            kind,
            name,
            work,
            group,
            about=about,
            owners=frozenset({current_caller().key_id}) if owners is None else owners,
            on_end=on_end,
            on_event=self._on_event,
            on_share=self.shared.tell,
        )
        self._on_event(job, None, is_end=False)
        return job

    def get(self, kind: JobKind[EventT], name: Hashable) -> Job[EventT] | None:
        """Return a job that runs, or that has ended and is kept; None for all others."""
        return self._jobs.get((kind, name))

    def running(self, kind: JobKind[EventT]) -> list[Job[EventT]]:
        """List the jobs of a kind that have not ended, oldest first."""
        return [job for job in self._jobs.values() if job.kind is kind and not job.has_ended]

    async def cancel(self, kind: JobKind[EventT], end: EventT, *, about: object = None) -> int:
        """Stop the jobs of a kind for whoever asks, and wait for the ends of those that nobody else wants.

        Args:
            end: What whoever asks is told last where a job goes on for others.
            about: Only those with which this is kept; None = all.

        Returns:
            How many there were.
        """
        found = [job for job in self.running(kind) if job.is_seen and (about is None or job.about == about)]
        alone = [job for job in found if not job.release(current_caller().key_id, end)]
        for job in alone:
            job.stop("cancelled")
        for job in alone:
            await job.wait()
        return len(found)

    async def stop_all(self, kind: JobKind[EventT]) -> None:
        """Stop the jobs of a kind and wait for their ends."""
        for job in (running := self.running(kind)):
            job.stop("shutting_down")
        for job in running:
            await job.wait()

    def _on_event(self, job: Job[Any], event: object, is_end: bool) -> None:  # noqa: FBT001 - a callback
        self.news.tell(JobNews(job, event, is_end))

    def forget(self, job: Job[Any]) -> None:
        """Let a job that has ended be found no longer."""
        if self._jobs.get((job.kind, job.name)) is job:
            del self._jobs[job.kind, job.name]
