"""The conversion process by itself, and the whole conversion killed at its steps."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
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
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
CONVERT = ["models", "convert", "tiny", "--bits", "8", "--json"]
KILLED = f"""
import asyncio, os, signal, sys
import router.cli.models.convert as verb
from router.cli import main
steps = []
def on_step(name):
    steps.append(name)
    if name == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
def on_audit(event, arguments):
    if event in ("subprocess.Popen", "os.rename"):
        on_step(event + str(sum(event in step for step in steps)))
    if event == "sqlite3.connect" and steps:
        on_step("connect after " + steps[-1])
    if event == "open" and str(arguments[0]).endswith({REPORT_NAME!r}) and arguments[1] == "wb":
        on_step("open report")
spawn, stand_in = asyncio.create_subprocess_exec, ("-S", "-m", "tests.support.converted_before", *sys.argv[2:])
if sys.argv[2:]:
    asyncio.create_subprocess_exec = lambda *command, **how: spawn(sys.executable, *stand_in, *command[3:], **how)
verb._printer = lambda **_: lambda event: on_step(event.step)
sys.addaudithook(on_audit)
code = main({CONVERT})
print("steps:", *steps, sep="\\n", file=sys.stderr)
sys.exit(code)
"""
"""The command, killed at a named step or, if there is none of that name, at none; then it says which it had.

Given a folder, what its processes do is done by them once, and by `tests.support.converted_before` from then on.
"""


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
    with ending(converter(*argv)) as process:
        assert process.stdout is not None
        line = process.stdout.read()
        process.wait(WITHIN_S)
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
    with ending(converter("convert", "--source", str(tiny_gguf), "--out", str(tmp_path / "out"))) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(WITHIN_S) != 0


@pytest.fixture
def paths(tmp_path: Path, tiny_gguf: Path) -> Paths:
    paths = Paths.under(tmp_path / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        shutil.copy(tiny_gguf, paths.models_dir / "tiny.gguf")
        scan(registry, [ScanRoot(path=paths.models_dir, is_owned=True)])
    return paths


def converted(home: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "router.cli", *CONVERT]
    done = subprocess.run(argv, cwd=ROOT, env=environment(home), capture_output=True, timeout=WITHIN_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def killed(home: Path, step: str, *records: Path) -> tuple[int, list[str]]:
    """Kill a conversion at a step; wait until the processes that it had started are gone by themselves.

    Returns the exit code, and the names of the steps if it came to its end.
    """
    argv = [sys.executable, "-c", KILLED, step, *map(str, records)]
    done = subprocess.run(argv, cwd=ROOT, env=environment(home), capture_output=True, timeout=WITHIN_S, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done.stderr.decode()
    wait_until(lambda: not converters(home), "no converter outlives the command")
    return done.returncode, done.stderr.decode().partition("steps:\n")[2].splitlines()


def converters(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "backends.converting.convert" in process.cmdline() and str(home) in " ".join(process.cmdline()):
                found.append(process)
    return found


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


@pytest.mark.long
def test_killed_at_its_steps_it_leaves_nothing_half_made(paths: Paths, tmp_path: Path) -> None:
    home, records = tmp_path / "home", tmp_path / "records"
    assert killed(home, "reading with the result")[0] == -signal.SIGKILL
    assert not check_nothing_is_half_made(paths)
    code, steps = killed(home, "none", records)
    assert code == 0
    assert check_nothing_is_half_made(paths)
    forget_the_result(paths)
    print(steps)
    assert len(set(steps)) >= 8, steps
    for step in dict.fromkeys(steps):
        assert killed(home, step, records)[0] == -signal.SIGKILL
        if check_nothing_is_half_made(paths):
            forget_the_result(paths)
    assert converted(home)["model"] == "tiny"
    assert check_nothing_is_half_made(paths)
    assert list(paths.models_dir.glob(f"{SCRATCH_PREFIX}*")) == [], "the next conversion sweeps what kills left"


def forget_the_result(paths: Paths) -> None:
    with Registry(paths.registry_db) as registry:
        artifact = registry.models.get("tiny").artifact_for(EngineKind.MLX)
        assert artifact is not None
        remove_artifacts(registry, [artifact])
    assert not Path(artifact.path).exists()


def test_a_folder_that_was_renamed_but_not_registered_is_taken_up(paths: Paths, tmp_path: Path) -> None:
    home = tmp_path / "home"
    converted(home)
    with Registry(paths.registry_db) as registry:
        artifact = registry.models.get("tiny").artifact_for(EngineKind.MLX)
    assert artifact is not None
    assert (Path(artifact.path) / REPORT_NAME).exists()
    for file in paths.data_dir.glob(f"{paths.registry_db.name}*"):
        file.unlink()
    with Registry(paths.registry_db) as registry:
        register_path(registry, paths.models_dir / "tiny.gguf", name="tiny", is_owned=True)
    files = {file.name: file.stat().st_mtime_ns for file in Path(artifact.path).iterdir()}
    assert converted(home)["path"] == artifact.path
    assert {file.name: file.stat().st_mtime_ns for file in Path(artifact.path).iterdir()} == files, "nothing is redone"
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
