"""Whole pulls: what lies where afterwards, and what is not fetched twice."""

import asyncio
import json
from pathlib import Path

import pytest

from registry.disk import move
from registry.engines import PullEngines
from registry.errors import HubAnswerError, NothingToPullError, PullConflictError, PullStoreError
from registry.facts import ArtifactFormat
from registry.pull import PullOptions, publishing
from registry.pull.events import FileDone, Progress, PullEvent
from registry.scan import ScanRoot, register_path, scan
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, llama_metadata, text
from tests.registry.mlx_builder import CONFIG, TENSORS, safetensors
from tests.support.hub_faults import Fault
from tests.support.pull_bench import (
    final_files,
    hidden_files,
    ignore,
    names_below,
    num_served,
    payload,
    pull_once,
    small_puller,
)
from tests.support.stub_hub import COMMIT, StubHub
from tests.support.waiting import WITHIN_S

GGUF, MLX = "org/tiny-GGUF", "mlx-community/tiny-4bit"
MODEL = build(llama_metadata(), [Tensor()])
PROJECTOR = build({"general.architecture": text("clip"), "clip.x": Value(7, 1)}, [Tensor()])
GGUF_FILES = {"tiny-Q4_K_M.gguf": MODEL, "mmproj-tiny-F16.gguf": PROJECTOR, "README.md": b"# tiny"}
MLX_FILES = {
    "config.json": json.dumps(CONFIG).encode(),
    "model.safetensors": safetensors(TENSORS),
    "tokenizer.json": b"{}",
    "modeling_evil.py": b"import os",
    "pytorch_model.bin": b"pickle",
}
SAFE = {name: data for name, data in MLX_FILES.items() if not name.endswith((".py", ".bin"))}


async def until_served(hub: StubHub, num_bytes: int) -> None:
    await asyncio.to_thread(hub.wait_served, num_bytes)


def under(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{folder}/{name}": data for name, data in files.items()}


async def test_what_was_pulled_can_be_registered_and_needs_no_second_transfer(tmp_path: Path) -> None:
    with StubHub({GGUF: GGUF_FILES, MLX: MLX_FILES}) as hub:
        one = await pull_once(hub, tmp_path, GGUF, options=PullOptions(vision=True))
        two = await pull_once(hub, tmp_path, MLX)
        num_bytes = num_served(hub)
        events: list[PullEvent] = []
        again = await pull_once(hub, tmp_path, MLX, events=events)
        assert again.paths == two.paths
        assert num_served(hub) == num_bytes
    assert {event.origin for event in events if isinstance(event, FileDone)} == {"present"}
    assert final_files(tmp_path) == under(MLX, SAFE) | under(GGUF, dict(list(GGUF_FILES.items())[:2]))
    with Registry(tmp_path / "registry.sqlite3") as registry:
        model = register_path(registry, one.paths[0], is_owned=True)
        assert model.artifacts[0].mmproj_path == str(tmp_path / "models" / GGUF / "mmproj-tiny-F16.gguf")
        assert register_path(registry, two.paths[0], is_owned=True).engines == ("mlx",)
        assert all(artifact.is_owned for model in registry.models.list() for artifact in model.artifacts)


async def test_both_engines_find_the_sibling_or_say_that_it_must_be_converted(tmp_path: Path) -> None:
    with StubHub({GGUF: GGUF_FILES, MLX: MLX_FILES}) as hub:
        async with small_puller(hub, tmp_path) as puller:
            plan = await puller.plan(GGUF, PullOptions(engine=PullEngines.BOTH))
            assert [(part.repo, part.format) for part in plan.parts] == [
                (GGUF, ArtifactFormat.GGUF),
                (MLX, ArtifactFormat.MLX),
            ]
            assert all(part.commit == COMMIT for part in plan.parts)
            assert plan.needs_conversion == ()
            only = await puller.plan(GGUF, PullOptions(engine=PullEngines.MLX))
            assert [part.repo for part in only.parts] == [MLX]
            del hub.repos[MLX]
            plan = await puller.plan(GGUF, PullOptions(engine=PullEngines.BOTH))
            assert (len(plan.parts), plan.needs_conversion) == (1, ("mlx",))
            plan = await puller.plan(GGUF, PullOptions(engine=PullEngines.MLX))
            assert (len(plan.parts), plan.needs_conversion) == (1, ("mlx",))
            assert "must be converted" in plan.notes[0]
            hub.repos = {"org/x": MLX_FILES}
            with pytest.raises(NothingToPullError, match="no GGUF form"):
                await puller.plan("org/x", PullOptions(engine=PullEngines.LLAMACPP))
            with pytest.raises(NothingToPullError, match="nothing to choose"):
                await puller.plan("org/x:Q4_0")


async def test_a_plan_says_what_is_there_and_what_is_needed(tmp_path: Path) -> None:
    data = payload(1, 200_000)
    with StubHub({GGUF: {"m-Q4_0.gguf": data}}) as hub:
        async with small_puller(hub, tmp_path) as puller:
            plan = await puller.plan(GGUF, PullOptions(budget_bytes=300_000))
            assert (plan.needed_bytes, plan.total_bytes, plan.fits_memory) == (200_000, 200_000, True)
            assert plan.parts[0].files[0].state == "missing"
            hub.faults[GGUF, "m-Q4_0.gguf"] = [Fault("none")] * 3 + [Fault("stall", is_forever=True)]
            has_come = asyncio.Event()

            def tell(event: PullEvent) -> None:
                if isinstance(event, Progress) and event.done_bytes >= 90_000:
                    has_come.set()

            task = asyncio.create_task(puller.fetch(plan, tell))
            async with asyncio.timeout(WITHIN_S):
                await has_come.wait()
            task.cancel()
            await asyncio.wait([task])
            plan = await puller.plan(GGUF)
            assert plan.parts[0].files[0].state == "partial"
            assert 0 < plan.needed_bytes < 200_000
            hub.faults.clear()
            await puller.fetch(plan, ignore)
            plan = await puller.plan(GGUF, PullOptions(budget_bytes=300_000))
            assert (plan.parts[0].files[0].state, plan.needed_bytes) == ("present", 0)


async def test_the_same_bytes_of_another_repository_are_linked(tmp_path: Path) -> None:
    files = {"m-Q4_0.gguf": payload(1, 100_000)}
    with StubHub({"org/one-GGUF": files, "org/two-GGUF": files}) as hub:
        one = await pull_once(hub, tmp_path, "org/one-GGUF")
        num_bytes = num_served(hub)
        two = await pull_once(hub, tmp_path, "org/two-GGUF")
        assert num_served(hub) == num_bytes
        assert one.paths[0].samefile(two.paths[0])
        one.paths[0].unlink()
        two.paths[0].write_bytes(b"x" * 100_000)
        assert (await pull_once(hub, tmp_path, "org/two-GGUF")).paths[0].read_bytes() == files["m-Q4_0.gguf"]


async def test_marks_that_a_crash_left_behind_are_tidied_up(tmp_path: Path) -> None:
    with StubHub({GGUF: GGUF_FILES}) as hub:
        async with small_puller(hub, tmp_path) as puller:
            plan = await puller.plan(GGUF)
            part, file = plan.parts[0], plan.parts[0].files[0]
            await puller.fetch(plan, ignore)
            staged = puller.folder.staged(part, file)
            staged.parent.mkdir()
            puller.folder.target(part, file).rename(staged)
            puller.folder.part_file(file).with_suffix(".json").write_bytes(b"{}")
            num_bytes = num_served(hub)
            await puller.fetch(plan, ignore)
            staged.parent.mkdir()
            await puller.fetch(plan, ignore)
            assert num_served(hub) == num_bytes
    assert hidden_files(tmp_path) == []


async def test_right_files_that_nobody_vouches_for_are_read_and_kept(tmp_path: Path) -> None:
    target = tmp_path / "models" / GGUF / "tiny-Q4_K_M.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(MODEL)
    with StubHub({GGUF: GGUF_FILES}) as hub:
        await pull_once(hub, tmp_path, GGUF, options=PullOptions(vision=False))
        assert hub.served == []
        target.write_bytes(b"y" * len(MODEL))
        await pull_once(hub, tmp_path, GGUF)
        assert target.read_bytes() == MODEL


async def test_a_scan_never_sees_half_a_model(tmp_path: Path) -> None:
    shards = {f"m-Q8_0-0000{number}-of-00002.gguf": payload(number, 100_000) for number in (1, 2)}
    weights = {**MLX_FILES, "model.safetensors": payload(3, 100_000)}
    with StubHub({GGUF: shards, MLX: weights}) as hub, Registry(tmp_path / "registry.sqlite3") as registry:
        hub.faults[GGUF, "m-Q8_0-00002-of-00002.gguf"] = [Fault("stall", after=9_000, is_forever=True)]
        hub.faults[MLX, "model.safetensors"] = [Fault("stall", after=9_000, is_forever=True)]
        async with small_puller(hub, tmp_path) as puller:
            for repo in (GGUF, MLX):
                before = num_served(hub)
                task = asyncio.create_task(puller.fetch(await puller.plan(repo), ignore))
                await until_served(hub, before + 9_000)
                report = scan(registry, [ScanRoot(path=tmp_path / "models", is_owned=True)])
                assert (report.added, report.failed, report.skipped) == ((), (), ())
                task.cancel()
                await asyncio.wait([task])
    assert final_files(tmp_path) == {}


async def test_a_newer_mlx_folder_takes_the_olders_place_and_nothing_elses(tmp_path: Path) -> None:
    with StubHub({MLX: dict(MLX_FILES)}) as hub:
        await pull_once(hub, tmp_path, MLX)
        hub.repos[MLX]["tokenizer.json"] = b'{"new": 1}'
        for name in (".DS_Store", "._config.json"):  # what Finder leaves
            (tmp_path / "models" / MLX / name).write_bytes(b"Bud1")
        await pull_once(hub, tmp_path, MLX)
        assert final_files(tmp_path) == under(MLX, SAFE | {"tokenizer.json": b'{"new": 1}'})
        assert hidden_files(tmp_path) == []
        mine = tmp_path / "models" / MLX / "notes.md"
        mine.write_bytes(b"mine")
        hub.repos[MLX]["tokenizer.json"] = b'{"new": 2}'
        with pytest.raises(PullConflictError, match=r"notes\.md"):
            await pull_once(hub, tmp_path, MLX)
        assert mine.read_bytes() == b"mine"
        assert (mine.parent / "tokenizer.json").read_bytes() == b'{"new": 1}'


async def test_a_folder_that_was_half_swapped_is_whole_after_the_next_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[Path] = []

    def move_once(source: Path, target: Path) -> None:
        if moved:
            raise OSError(5, "cut off")
        moved.append(target)
        move(source, target)

    with StubHub({MLX: dict(MLX_FILES)}) as hub:
        await pull_once(hub, tmp_path, MLX)
        hub.repos[MLX]["tokenizer.json"] = b'{"new": 1}'
        with monkeypatch.context() as patch:
            patch.setattr(publishing, "move", move_once)
            with pytest.raises(PullStoreError, match="cut off"):
                await pull_once(hub, tmp_path, MLX)
        assert final_files(tmp_path) == {}
        num_bytes = num_served(hub)
        await pull_once(hub, tmp_path, MLX)
        assert num_served(hub) == num_bytes
    assert final_files(tmp_path) == under(MLX, SAFE | {"tokenizer.json": b'{"new": 1}'})
    assert hidden_files(tmp_path) == []


async def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "org").symlink_to(outside, target_is_directory=True)
    with StubHub({GGUF: GGUF_FILES}) as hub, pytest.raises(PullStoreError, match="is in the way"):
        await pull_once(hub, tmp_path, GGUF)
    assert final_files(tmp_path) == {}
    assert names_below(outside) == []


@pytest.mark.parametrize(
    "name", ["../../evil.gguf", "/etc/evil.gguf", "C:\\x.gguf", "a/../b.gguf", "x\u202e.gguf", "~\n.gguf"]
)
async def test_a_hostile_name_ends_the_pull_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with StubHub({GGUF: {"good-Q4_K_M.gguf": MODEL, name: MODEL}}) as hub:
        with pytest.raises(HubAnswerError, match="nothing is pulled"):
            await pull_once(hub, tmp_path, GGUF)
        assert hub.served == []
    assert final_files(tmp_path) == {}
    assert names_below(tmp_path, "*evil*") == []


async def test_a_path_on_this_machine_is_not_pulled(tmp_path: Path) -> None:
    with StubHub() as hub, pytest.raises(NothingToPullError, match="registered, not pulled"):
        await pull_once(hub, tmp_path, "/models/x.gguf")
