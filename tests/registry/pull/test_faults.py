"""Seeded scripts of faults: each pull ends with the right bytes or with an error of ours, and never in between."""

import asyncio
import random
from pathlib import Path

import pytest

from registry.errors import PullError
from registry.hub.client import HubClient
from registry.hub.ollama.client import OllamaRegistry
from registry.hub.web import HubSettings, Web
from registry.pull.events import PullEvent
from registry.pull.puller import Puller, PullSettings
from tests.support.hub_faults import random_script
from tests.support.pull_bench import HASTY, SMALL_HASTY, final_files, payload
from tests.support.stub_hub import StubHub
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow

NUM_SCRIPTS = 300
NUM_BATCHES = 6
STALL_S = 0.15


def repo_of(seed: int) -> str:
    return f"org/m{seed}-GGUF"


def file_of(seed: int) -> bytes:
    """Small ones are fetched in one request, large ones in segments; some are not LFS files."""
    size = random.Random(seed).choice([0, 1, 700, 5_000, 60_000, 70_000, 200_000])
    return payload(seed, size)


async def run_script(web: Web, hub: StubHub, root: Path, seed: int) -> str | None:
    """Pull, and once more when that failed for a reason that might be over. Give the code of the last error."""
    repo, data = repo_of(seed), file_of(seed)
    rng = random.Random(seed)
    hub.faults[repo, "m-Q4_0.gguf"] = random_script(rng, len(data))
    settings = PullSettings(transfer=SMALL_HASTY, reserve_bytes=0)
    client = HubClient(web, retry=HASTY)
    ollama = OllamaRegistry(client)
    puller = Puller(client, root / "models", root / "registry.sqlite3", settings, ollama=ollama)
    code: str | None = None
    events: list[PullEvent] = []
    for _ in range(2):
        try:
            async with asyncio.timeout(WITHIN_S):
                await puller.fetch(await puller.plan(repo), events.append)
        except PullError as exc:
            code = exc.code
        else:
            return None
        assert final_files(root) == {}
    return code


@pytest.mark.parametrize("batch", range(NUM_BATCHES))
async def test_every_script_ends_in_the_right_bytes_or_a_clean_error(batch: int, tmp_path: Path) -> None:
    seeds = range(batch, NUM_SCRIPTS, NUM_BATCHES)
    repos = {repo_of(seed): {"m-Q4_0.gguf": file_of(seed)} for seed in seeds}
    codes: dict[int, str | None] = {}
    slots = asyncio.Semaphore(8)
    with StubHub(repos) as hub:
        settings = HubSettings(endpoint=hub.url, token="secret", stall_s=STALL_S, answer_timeout_s=2.0)
        async with Web(settings, num_connections=64) as web:

            async def run(seed: int) -> None:
                async with slots:
                    codes[seed] = await run_script(web, hub, tmp_path / "all" / str(seed), seed)

            async with asyncio.TaskGroup() as group:
                for seed in seeds:
                    group.create_task(run(seed))
        seen = list(hub.seen)
    for seed, code in codes.items():
        expected = {} if code is not None else {f"{repo_of(seed)}/m-Q4_0.gguf": file_of(seed)}
        assert final_files(tmp_path / "all" / str(seed)) == expected, (seed, code)
    assert_nothing_outside(tmp_path / "all")
    assert {code for code in codes.values() if code is not None} <= {
        "hub_bad_answer", "hub_error", "hub_gated", "hub_not_found", "hub_unauthorized", "transfer_failed", "wrong_hash"
    }  # fmt: skip
    assert sum(code is None for code in codes.values()) >= len(codes) // 2
    assert all("authorization" not in request.headers for request in seen if request.origin == "cdn")
    assert any(request.origin == "cdn" for request in seen)
    assert all(request.headers["authorization"] == "Bearer secret" for request in seen if request.origin == "hub")


def assert_nothing_outside(folder: Path) -> None:
    for root in folder.iterdir():
        assert {path.name for path in root.iterdir()} <= {
            "models", "registry.sqlite3", "registry.sqlite3-wal", "registry.sqlite3-shm"
        }  # fmt: skip
        assert {path.name for path in (root / "models").iterdir()} <= {"org", ".partial"}
    assert [path.name for path in folder.parent.iterdir()] == ["all"]
