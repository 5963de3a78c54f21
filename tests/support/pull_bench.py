"""What pull tests share: small settings, a puller against a stub hub, and a look at everything it left behind."""

import hashlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from registry.hub.client import HubClient
from registry.hub.ollama.client import OllamaRegistry
from registry.hub.retry import RetryPolicy
from registry.hub.web import HubSettings, Web
from registry.pull.events import PullEvent
from registry.pull.puller import Puller, PullResult, PullSettings
from registry.pull.transfer import TransferSettings
from registry.pull_record import PullOptions
from tests.support.stub_hub import StubHub
from tests.support.waiting import WITHIN_S

RETRY = RetryPolicy(base_s=0.001, cap_s=0.01, give_up_after_s=WITHIN_S, max_retry_after_s=5.0)
"""Gives nothing up on a busy machine."""
HASTY = RetryPolicy(base_s=0.001, cap_s=0.01, give_up_after_s=1.0, max_retry_after_s=5.0)
"""Where giving up is wanted, or as good as the right bytes."""

SMALL = TransferSettings(
    large_bytes=64 * 1024,
    num_connections=3,
    segment_bytes=32 * 1024,
    mark_bytes=16 * 1024,
    buffer_bytes=8 * 1024,
    retry=RETRY,
)
SMALL_HASTY = msgspec.structs.replace(SMALL, retry=HASTY)


def payload(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@asynccontextmanager
async def small_puller(
    hub: StubHub,
    root: Path,
    *,
    token: str | None = None,
    transfer: TransferSettings = SMALL,
    stall_s: float = WITHIN_S,
    reserve_bytes: int = 0,
) -> AsyncIterator[Puller]:
    settings = PullSettings(transfer=transfer, reserve_bytes=reserve_bytes, progress_interval_s=0.0)
    async with Web(HubSettings(endpoint=hub.url, token=token, stall_s=stall_s, answer_timeout_s=WITHIN_S)) as web:
        hub_client = HubClient(web, retry=RETRY)
        ollama = OllamaRegistry(hub_client)
        yield Puller(hub_client, root / "models", root / "registry.sqlite3", settings, ollama=ollama)


async def pull_once(
    hub: StubHub,
    root: Path,
    reference: str,
    *,
    options: PullOptions | None = None,
    token: str | None = None,
    transfer: TransferSettings = SMALL,
    stall_s: float = WITHIN_S,
    events: list[PullEvent] | None = None,
) -> PullResult:
    async with small_puller(hub, root, token=token, transfer=transfer, stall_s=stall_s) as puller:
        plan = await puller.plan(reference, options)
        return await puller.fetch(plan, (events if events is not None else []).append)


def names_below(folder: Path, pattern: str = "*") -> list[str]:
    return [path.name for path in folder.rglob(pattern)]


def final_files(root: Path) -> dict[str, bytes]:
    """Everything that a scan could see, by its path below the models folder."""
    models = root / "models"
    files = (path for path in models.rglob("*") if path.is_file() and ".partial" not in path.parts)
    return {path.relative_to(models).as_posix(): path.read_bytes() for path in files}


def hidden_files(root: Path) -> list[str]:
    partial = root / "models" / ".partial"
    return sorted(path.relative_to(partial).as_posix() for path in partial.rglob("*")) if partial.exists() else []


def ignore(event: PullEvent) -> None:
    """Listen to nothing."""
    del event


def num_served(hub: StubHub) -> int:
    """Bytes of files that the hub handed to the system, over all requests."""
    return sum(served.end - served.start for served in hub.served)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
