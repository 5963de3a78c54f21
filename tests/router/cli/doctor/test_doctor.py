import json
import subprocess
import sys
from typing import Any

import pytest

from backends.machine.apple import ApplePlatform
from backends.probe import ProbeReport
from router.cli.doctor import installation
from router.cli.doctor.check import Check
from router.cli.doctor.installation import (
    check_config,
    check_disk,
    check_engine,
    check_folders,
    check_guarded_folders,
    check_memory,
    check_metal,
    check_registry,
    check_server,
    lifeline,
    probe_of,
    start_probe,
)
from router.config.paths import Paths
from router.placement.memory import remember_working_set
from tests.router.cli.conftest import Mlxr
from tests.router.cli.stub_gateway import StubGateway, running_stub
from tests.support.fake_libsystem import M3_PRO, FakeLibSystem, sysctl_number, vm_statistics_bytes


def process(script: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", script], stdout=pipe, stderr=pipe, stdin=subprocess.DEVNULL)


def probe(engine: str) -> ProbeReport:
    with lifeline() as stdin:
        return probe_of(start_probe(engine, stdin))


def test_the_probe_of_llama_cpp_tells_version_and_cpu_features() -> None:
    report = probe("llamacpp")
    assert report.error is None
    assert "llama-cpp-python" in report.versions
    assert "CPU" in report.features
    assert report.import_ms is not None


def test_the_probe_of_the_fake_engine_is_quick_and_well_formed() -> None:
    assert probe("fake").engine == "fake"


def test_a_working_engine_is_ok() -> None:
    line = {"engine": "mlx", "versions": {"mlx": "1"}, "features": "Metal GPU", "import_ms": 1500}
    check = check_engine("mlx", process(f"print({json.dumps(json.dumps(line))})"))
    assert check == Check(name="engine mlx", state="ok", found="mlx 1, imports in 1.5 s; Metal GPU")


def test_an_engine_that_cannot_be_imported_is_broken_with_its_own_words() -> None:
    line = {"engine": "mlx", "error": "libmlx.so: cannot open shared object file"}
    check = check_engine("mlx", process(f"print({json.dumps(json.dumps(line))})"))
    assert (check.state, check.remedy) == ("broken", "make setup")
    assert "libmlx.so" in check.found


def test_an_engine_that_kills_its_process_is_broken() -> None:
    check = check_engine("mlx", process("import os, sys; sys.stderr.write('Illegal instruction\\n'); os._exit(132)"))
    assert check.state == "broken"
    assert "exit code 132" in check.found
    assert "Illegal instruction" in check.found


def test_an_engine_that_hangs_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "PROBE_TIMEOUT_S", 0.05)
    check = check_engine("mlx", process("import signal; signal.pause()"))
    assert check.state == "broken"
    assert "no answer" in check.found


def test_a_bad_config_is_broken_and_says_where(paths: Paths) -> None:
    assert check_config(paths).state == "ok"
    paths.ensure_folders()
    paths.config_file.write_text("a: 1\n", encoding="utf-8")
    check = check_config(paths)
    assert check.state == "broken"
    assert "line 1: a: unknown key" in check.found
    assert check.remedy == f"edit {paths.config_file}"


def test_a_fresh_installation_is_not_broken_but_lacks_models(paths: Paths) -> None:
    assert [(check.state, check.remedy) for check in check_registry(paths)] == [("warning", "make setup")]
    assert {check.state for check in check_folders(paths)} == {"ok"}
    assert check_disk(paths).state in {"ok", "warning"}


def test_a_damaged_catalogue_is_broken(paths: Paths) -> None:
    paths.ensure_folders()
    paths.registry_db.write_bytes(b"nonsense, and long enough to be taken for a database" * 100)
    (check,) = check_registry(paths)
    assert (check.state, check.remedy) == ("broken", "mlxr models scan --rescue")


def test_missing_files_and_the_missing_bundled_model_are_warnings(
    mlxr: Mlxr, paths: Paths, tmp_path: Any, tiny_gguf: Any
) -> None:
    copy = tmp_path / "gone.gguf"
    copy.write_bytes(tiny_gguf.read_bytes())
    mlxr("models", "add", str(copy))
    copy.unlink()
    mlxr("models", "scan")
    found = {check.name: check for check in check_registry(paths)}
    assert found["models"].found == "1 model, 1 artifact"
    assert "gone.gguf" in found["model files"].found
    assert found["bundled model"].state == "warning"


def test_a_folder_that_cannot_be_made_is_broken(paths: Paths) -> None:
    paths.data_dir.parent.write_text("a file in the way", encoding="utf-8")
    assert {check.state for check in check_folders(paths)} == {"broken"}


def test_the_server_is_asked(paths: Paths) -> None:
    assert check_server(paths).state == "note"
    with running_stub(paths) as stub:
        assert check_server(paths).state == "ok"
        stub.status["config_error"] = "server.yaml, line 3: oops"
        assert check_server(paths).state == "warning"
        stub.status |= {"config_error": None, "version": "0.0.1"}
        assert "restart it" in (check_server(paths).remedy or "")
        stub.answers["/v1/mlxr/status"] = (500, "")
        assert check_server(paths).state == "broken"


@pytest.mark.parametrize(
    ("wired_limit_mb", "said_bytes", "words"),
    [
        (0, None, "Apple M3 Pro, wired memory up to 29.0 GB (a guess until a model ran on mlx)"),
        (0, 30_000_000_000, "Apple M3 Pro, wired memory up to 30.0 GB (Metal's own figure)"),
        (32768, 30_000_000_000, "Apple M3 Pro, wired memory up to 34.4 GB (iogpu.wired_limit_mb)"),
    ],
)
def test_metals_limit_is_told_with_its_source(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, wired_limit_mb: int, said_bytes: int | None, words: str
) -> None:
    mac = ApplePlatform(FakeLibSystem(sysctls=M3_PRO, pages=vm_statistics_bytes))
    paths.ensure_folders()
    if said_bytes is not None:
        remember_working_set(paths.working_set_file, said_bytes, mac)
    limit = {"iogpu.wired_limit_mb": sysctl_number(wired_limit_mb)}
    set_mac = ApplePlatform(FakeLibSystem(sysctls=M3_PRO | limit, pages=vm_statistics_bytes))
    monkeypatch.setattr(installation, "current_platform", lambda: set_mac)
    assert [(check.state, check.found) for check in check_metal(paths)] == [("note", words)]
    assert check_memory().found == "38.7 GB available of 38.7 GB, pressure normal"


@pytest.mark.skipif(sys.platform != "linux", reason="a Mac has Metal")
def test_there_is_nothing_to_say_of_metal_without_it(paths: Paths) -> None:
    assert list(check_metal(paths)) == []


def test_model_folders_that_a_mac_guards_are_named(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    mac = ApplePlatform(FakeLibSystem(sysctls=M3_PRO))
    monkeypatch.setattr(installation, "current_platform", lambda: mac)
    paths.ensure_folders()
    paths.config_file.write_text("models: {extra_folders: [~/Documents/models, /Volumes/disk, ~/models]}")
    found = [check.found.partition(":")[0] for check in check_guarded_folders(paths)]
    assert found == [f"{paths.user_home}/Documents/models", "/Volumes/disk"]


def test_doctor_prints_and_exits_by_what_is_broken(
    mlxr: Mlxr, monkeypatch: pytest.MonkeyPatch, stub: StubGateway
) -> None:
    del stub
    good = Check(name="a", state="ok", found="fine\x1b")
    bad = Check(name="bb", state="broken", found="gone", remedy="make setup")
    monkeypatch.setattr("router.cli.doctor.doctor.all_checks", lambda _paths: (good,))
    assert mlxr("doctor") == (0, "ok       a  fine\\x1b\n", "")
    monkeypatch.setattr("router.cli.doctor.doctor.all_checks", lambda _paths: (good, bad))
    result = mlxr("doctor")
    assert result.exit_code == 1
    assert result.out.splitlines()[1:] == ["broken   bb  gone", "             -> make setup"]
    report = json.loads(mlxr("doctor", "--json").out)
    assert (report["ok"], len(report["checks"])) == (False, 2)
    readings = report["readings"]
    assert readings["memory"]["total_bytes"] > readings["budget"]["available_bytes"] > 0
    assert readings["processes"][0]["what"] == "doctor"
    assert readings["processes"][0]["footprint"]["rss_bytes"] > 0
    assert len(readings["open_files_limits"]) == len(readings["socket_buffers"]) == 2
