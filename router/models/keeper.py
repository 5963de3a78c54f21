"""Keeping the catalogue true while the server runs: a scan at the start, more when files change, checksums meanwhile.

All of it in threads of their own, with connections of their own; the gateway learns of changes as it learns of those of
other processes. Not here: what a scan does (`registry.scan`), and what follows for requests
(`directory.py`).
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from registry.checksums.hashing import HashTask, hash_artifact, pending_hashes
from registry.checksums.sha256 import HashingStoppedError
from registry.errors import RegistryError
from registry.scan import ScanRoot, scan
from registry.scan.watch import FileWatch
from registry.store import Registry
from router.status import HashProgress

logger = logging.getLogger(__name__)

LOOK_INTERVAL_S = 1.0
"""How often the known files are looked at: a few milliseconds for a thousand models."""

RETRY_S = 10.0
"""From a scan that failed to the next."""

_THREAD_NICENESS = 10


class ModelKeeper:
    """One task of the gateway.

    Args:
        is_busy: Whether the machine has better things to do than checksums; asked in another thread.
        interval_s: Seconds between two looks.

    Attributes:
        progress: Of the checksums; None when none are left to compute.
    """

    def __init__(
        self,
        registry_db: Path,
        roots: Sequence[ScanRoot],
        *,
        is_watching: bool = True,
        is_hashing: bool = True,
        is_busy: Callable[[], bool] = lambda: False,
        interval_s: float = LOOK_INTERVAL_S,
    ) -> None:
        self._registry_db = registry_db
        self._roots = tuple(roots)
        self._is_watching = is_watching
        self._is_hashing = is_hashing
        self._is_busy = is_busy
        self._interval_s = interval_s
        self._watch = FileWatch(())
        self._stop = threading.Event()
        self._has_news = asyncio.Event()
        self.progress: HashProgress | None = None
        self.num_scans = 0
        # Of its own: its priority is lowered for good.
        self._hashing_thread = ThreadPoolExecutor(1, thread_name_prefix="checksums")

    async def run(self) -> None:
        """Work until the task is cancelled; failures are logged and cost nothing but freshness."""
        try:
            await self._scan_until_done()
            async with asyncio.TaskGroup() as tasks:
                if self._is_watching:
                    tasks.create_task(self._keep_looking())
                if self._is_hashing:
                    tasks.create_task(self._keep_hashing())
        finally:
            self._stop.set()  # A thread cannot be cancelled; it asks before each piece of a file.
            self._hashing_thread.shutdown()

    async def _scan_until_done(self) -> None:
        while True:
            if await asyncio.to_thread(self._scan):
                return
            await asyncio.sleep(RETRY_S)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            if await asyncio.to_thread(self._watch.is_due, time.monotonic()):
                await self._scan_until_done()
                self._has_news.set()

    async def _keep_hashing(self) -> None:
        while True:
            await asyncio.get_running_loop().run_in_executor(self._hashing_thread, self._hash_all)
            await self._has_news.wait()
            self._has_news.clear()

    def _scan(self) -> bool:
        """Scan once; tell whether that went well."""
        watched: set[str] = set()
        try:
            with Registry(self._registry_db) as registry:
                report = scan(registry, self._roots, watched=watched)
        except RegistryError as exc:
            logger.warning("the scan for models failed: %s", exc)
            return False
        self._watch.follow(watched)
        self.num_scans += 1
        logger.info(
            "scanned for models: %d new, %d changed, %d gone, %d bad, %d unchanged",
            len(report.added),
            len(report.updated),
            len(report.missing),
            len(report.failed),
            report.num_unchanged,
        )
        return True

    def _hash_all(self) -> None:
        _lower_thread_priority()
        try:
            with Registry(self._registry_db) as registry:
                self._work_off(registry, pending_hashes(registry))
        except HashingStoppedError:
            pass
        except RegistryError as exc:
            logger.warning("the checksums of models were given up for now: %s", exc)
        finally:
            self.progress = None

    def _work_off(self, registry: Registry, tasks: Sequence[HashTask]) -> None:
        done_bytes, total_bytes = 0, sum(task.left_bytes for task in tasks)
        for index, task in enumerate(tasks):
            progress = HashProgress(
                num_artifacts_left=len(tasks) - index, done_bytes=done_bytes, total_bytes=total_bytes, path=task.left[0]
            )
            self._set_progress(progress)

            def on_progress(num_bytes: int, progress: HashProgress = progress) -> None:
                nonlocal done_bytes
                done_bytes += num_bytes
                self._set_progress(msgspec.structs.replace(progress, done_bytes=done_bytes))

            result = hash_artifact(registry, task, on_progress=on_progress, should_stop=self._should_stop)
            if result.problem is not None:
                logger.warning("%s: %s", task.files[0], result.problem)
            for path in result.merged:
                logger.info("%s has the same bytes as %s; they are one model now", path, task.files[0])
        if tasks:
            logger.info("computed the checksums of %d models, %.1f GB", len(tasks), done_bytes / 1e9)

    def _should_stop(self) -> bool:
        while self._is_busy() and not self._stop.wait(self._interval_s):
            pass
        return self._stop.is_set()

    def _set_progress(self, progress: HashProgress) -> None:
        self.progress = progress


def _lower_thread_priority() -> None:
    """On Linux niceness belongs to the thread. Source: setpriority(2), "C library/kernel differences"."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _THREAD_NICENESS)
