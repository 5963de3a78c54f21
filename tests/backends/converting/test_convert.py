"""The conversion process by itself, and the whole conversion killed at random moments."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from registry.engines import EngineKind
from registry.removing.removal import remove_artifacts
from registry.scan import ScanRoot, register_path, scan
from registry.store import Registry
from router.config.paths import Paths
from router.jobs.convert.report import REPORT_NAME, read_report
from router.jobs.convert.scratch import SCRATCH_PREFIX, leftovers, sweep
from tests.support import tiny_model

ROOT = Path(__file__).resolve().parents[3]
NUM_KILLS = 20
CONVERSION_S = 8.0
"""About what a whole conversion of the tiny model takes; kills are spread over somewhat more."""


def environment(home: Path | None = None) -> dict[str, str]:
    own = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own, **({} if home is None else {"MLXR_HOME": str(home)})}


def converter(*argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "backends.converting.convert", *argv],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )


def reply_of(*argv: str) -> dict[str, Any]:
    with converter(*argv) as process:
        assert process.stdout is not None
        line = process.stdout.read()
        process.wait(60)
    reply: dict[str, Any] = json.loads(line)
    return reply


def test_two_forms_of_one_model_read_the_text_alike(tiny_gguf: Path, tiny_mlx: Path) -> None:
    one = reply_of("parity", "--engine", "llamacpp", "--source", str(tiny_gguf))["parity"]
    token_ids = ",".join(map(str, one["token_ids"]))
    other = reply_of("parity", "--engine", "mlx", "--source", str(tiny_mlx), "--token-ids", token_ids)["parity"]
    assert one["own_ids"] == other["own_ids"]
    assert one["likeliest_ids"] == other["likeliest_ids"]
    assert one["mean_logprob"] == pytest.approx(other["mean_logprob"], abs=1e-3)


def test_another_model_reads_it_otherwise(tiny_gguf: Path, tmp_path: Path) -> None:
    stranger = tiny_model.write_mlx(tmp_path / "stranger", seed=7)
    one = reply_of("parity", "--engine", "llamacpp", "--source", str(tiny_gguf))["parity"]
    token_ids = ",".join(map(str, one["token_ids"]))
    other = reply_of("parity", "--engine", "mlx", "--source", str(stranger), "--token-ids", token_ids)["parity"]
    same = sum(a == b for a, b in zip(one["likeliest_ids"], other["likeliest_ids"], strict=True))
    assert same / len(one["likeliest_ids"]) < 0.1


def test_a_float_folder_is_quantized(tiny_mlx: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reply = reply_of("convert", "--source", str(tiny_mlx), "--out", str(out), "--bits", "4", "--group-size", "32")
    assert reply["error"] is None
    config = json.loads((out / "config.json").read_text())
    assert (config["quantization"]["bits"], config["quantization"]["group_size"]) == (4, 32)


def test_what_cannot_be_converted_is_said_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + b"\0" * 100)
    error = reply_of("convert", "--source", str(broken), "--out", str(tmp_path / "out"))["error"]
    assert "gguf2mlx" in error
    assert "\n" not in error


def test_it_ends_when_the_one_who_started_it_does(tiny_gguf: Path, tmp_path: Path) -> None:
    with converter("convert", "--source", str(tiny_gguf), "--out", str(tmp_path / "out")) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(60) != 0


@pytest.fixture
def paths(tmp_path: Path, tiny_gguf: Path) -> Paths:
    paths = Paths.under(tmp_path / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        shutil.copy(tiny_gguf, paths.models_dir / "tiny.gguf")
        scan(registry, [ScanRoot(path=paths.models_dir, is_owned=True)])
    return paths


def start_conversion(paths: Paths, home: Path) -> "subprocess.Popen[bytes]":
    del paths
    argv = [sys.executable, "-m", "router.cli", "models", "convert", "tiny", "--bits", "8", "--json"]
    return subprocess.Popen(
        argv, cwd=ROOT, env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """SIGKILL the command, and wait until the processes that it had started are gone by themselves."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "a converter outlived the command"


def check_nothing_is_half_made(paths: Paths) -> bool:
    """Scan as the server does; return whether the whole result is there."""
    with Registry(paths.registry_db) as registry:
        report = scan(registry, [ScanRoot(path=paths.models_dir, is_owned=True)])
        assert report.failed == ()
        (model,) = registry.models.list()
    assert all(artifact.status == "ok" for artifact in model.artifacts)
    folders = [item for item in paths.models_dir.iterdir() if item.is_dir() and not item.name.startswith(".")]
    for folder in folders:
        conversion = read_report(folder)
        assert conversion is not None, "named before it was compared"
        assert conversion.parity is not None
        assert conversion.parity.agreement > 0.8
    return bool(folders)


@pytest.mark.timeout(900)
def test_killed_at_random_moments_it_leaves_nothing_half_made(paths: Paths, tmp_path: Path) -> None:
    rng = random.Random(20)
    num_whole = 0
    for _ in range(NUM_KILLS):
        process = start_conversion(paths, tmp_path / "home")
        try:
            process.wait(rng.uniform(0.2, CONVERSION_S * 1.2))
        except subprocess.TimeoutExpired:
            kill(process)
        else:
            process.communicate()
        if check_nothing_is_half_made(paths):
            num_whole += 1
            with Registry(paths.registry_db) as registry:
                artifact = registry.models.get("tiny").artifact_for(EngineKind.MLX)
                assert artifact is not None
                remove_artifacts(registry, [artifact])
            assert not Path(artifact.path).exists()
    assert num_whole < NUM_KILLS, "no kill came in time to disturb anything"
    finished = start_conversion(paths, tmp_path / "home")
    out, err = finished.communicate(timeout=120)
    assert finished.returncode == 0, err.decode()
    assert json.loads(out)["model"] == "tiny"
    assert check_nothing_is_half_made(paths)
    assert list(paths.models_dir.glob(f"{SCRATCH_PREFIX}*")) == [], "the next conversion sweeps what kills left"


def test_a_folder_that_was_renamed_but_not_registered_is_taken_up(paths: Paths, tmp_path: Path) -> None:
    process = start_conversion(paths, tmp_path / "home")
    assert process.wait(120) == 0
    process.communicate()
    with Registry(paths.registry_db) as registry:
        artifact = registry.models.get("tiny").artifact_for(EngineKind.MLX)
    assert artifact is not None
    assert (Path(artifact.path) / REPORT_NAME).exists()
    for file in paths.data_dir.glob(f"{paths.registry_db.name}*"):
        file.unlink()
    with Registry(paths.registry_db) as registry:
        register_path(registry, paths.models_dir / "tiny.gguf", name="tiny", is_owned=True)
    started_at = time.monotonic()
    process = start_conversion(paths, tmp_path / "home")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err.decode()
    assert json.loads(out)["path"] == artifact.path
    assert time.monotonic() - started_at < CONVERSION_S
    with Registry(paths.registry_db) as registry:
        assert registry.models.get("tiny").artifact_for(EngineKind.MLX) is not None


def test_leftovers_of_a_running_conversion_are_left_alone(tmp_path: Path) -> None:
    import fcntl

    idle, busy = tmp_path / f"{SCRATCH_PREFIX}idle", tmp_path / f"{SCRATCH_PREFIX}busy"
    idle.mkdir()
    busy.mkdir()
    fd = os.open(busy, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert list(leftovers(tmp_path)) == [idle]
        sweep(tmp_path)
        assert [item.name for item in tmp_path.iterdir()] == [busy.name]
    finally:
        os.close(fd)
