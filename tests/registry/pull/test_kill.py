"""A puller that is killed at any step goes on from its marks and ends with the right bytes."""

import random
from pathlib import Path

import msgspec
import pytest

from registry.pull.partial import Segment
from tests.support.pull_bench import SMALL, final_files, hidden_files, payload, sha256
from tests.support.pull_process import PullProcesses
from tests.support.stub_hub import StubHub

pytestmark = pytest.mark.slow

NUM_KILLS = 60
NUM_STEPS = 420
"""Of a whole pull, about."""

SIZE = 700_000
GGUF, MLX = "org/m-GGUF", "org/x"


def repos(seed: int) -> dict[str, dict[str, bytes]]:
    return {
        GGUF: {"m-Q4_0.gguf": payload(seed, SIZE)},
        MLX: {
            "config.json": b"{}",
            "tokenizer.json": payload(seed + 1, 1_500),
            "model-00001-of-00002.safetensors": payload(seed + 2, SIZE // 2),
            "model-00002-of-00002.safetensors": payload(seed + 3, SIZE // 2),
        },
    }


def marks_of(root: Path, data: bytes) -> list[tuple[int, int]]:
    """The bytes of a file that its marks promise, as ranges."""
    path = root / "models" / ".partial" / f"sha256-{sha256(data)}.json"
    if not path.exists():
        return []
    segments = msgspec.convert(msgspec.json.decode(path.read_bytes())["segments"], list[Segment])
    return [(segment.start, segment.done) for segment in segments if segment.done > segment.start]


def test_a_killed_pull_goes_on_from_its_marks(tmp_path: Path) -> None:
    rng = random.Random(5)
    num_kills, num_pulls, num_resumed = 0, 0, 0
    with StubHub(bytes_per_s=6_000_000) as hub, PullProcesses() as processes:
        while num_kills < NUM_KILLS:
            num_pulls += 1
            root, hub.repos = tmp_path / str(num_pulls), repos(num_pulls)
            repo = rng.choice([GGUF, MLX])
            status = -1
            while status != 0:
                before = {path: marks_of(root, data) for path, data in hub.repos[repo].items()}
                num_resumed += any(before.values())
                token = f"{num_pulls}-{num_kills}"
                kill_at = rng.randrange(1, NUM_STEPS)
                status = processes.run(root=str(root), url=hub.url, reference=repo, token=token, kill_at=kill_at)
                assert status in {0, -9}
                num_kills += status != 0
                assert_marks_were_kept(hub, before, f"Bearer {token}")
                assert_little_was_lost(processes, root, hub.repos[repo], is_done=status == 0)
                if status != 0:
                    assert_nothing_wrong_is_final(root, repo, hub.repos[repo])
            assert final_files(root) == {f"{repo}/{path}": data for path, data in hub.repos[repo].items()}
            assert [name for name in hidden_files(root) if not name.endswith(".lock")] == []
    assert num_resumed > NUM_KILLS // 4


def assert_marks_were_kept(hub: StubHub, before: dict[str, list[tuple[int, int]]], authorization: str) -> None:
    for served in hub.served:
        if served.authorization == authorization:
            for start, end in before[served.path]:
                assert served.end <= start or served.start >= end, "bytes below a mark were fetched again"


def assert_little_was_lost(processes: PullProcesses, root: Path, files: dict[str, bytes], *, is_done: bool) -> None:
    num_written = processes.num_written()
    large = [data for data in files.values() if len(data) >= 1_000]
    has_whole_files = any(name.startswith("stage-") and "/" in name for name in hidden_files(root))
    if is_done or num_written is None or has_whole_files or final_files(root):
        return
    num_marked = sum(end - start for data in large for start, end in marks_of(root, data))
    num_files_at_once = SMALL.num_connections
    bound = num_files_at_once * (2 * SMALL.mark_bytes + SMALL.num_connections * SMALL.buffer_bytes)
    assert num_written - num_marked <= bound


def assert_nothing_wrong_is_final(root: Path, repo: str, files: dict[str, bytes]) -> None:
    found = final_files(root)
    assert all(files[path.removeprefix(f"{repo}/")] == data for path, data in found.items())
    if repo == MLX:
        assert len(found) in {0, len(files)}, "an MLX folder is there whole or not at all"
