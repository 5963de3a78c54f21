"""The verbs against `mlxr serve` itself, with the tiny model on llama.cpp: one server for the whole file."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest

from router.config.paths import Paths
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow


class Mlxr(NamedTuple):
    environment: dict[str, str]

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        argv = [sys.executable, "-P", "-m", "router.cli", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-P", "-m", "router.cli", *arguments]
        options = {"env": self.environment, "stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
        return subprocess.run(argv, check=False, timeout=WITHIN_S, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def mlxr(home: Path, tiny_gguf: Path) -> Mlxr:
    environment = os.environ | {
        "MLXR_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    mlxr = Mlxr(environment)
    assert mlxr("models", "add", str(tiny_gguf), "--name", "tiny").returncode == 0
    return mlxr


@pytest.fixture(scope="module")
def banner(mlxr: Mlxr) -> Iterator[str]:
    with ending(mlxr.start("serve", "--port", "0")) as server:
        try:
            yield _until_started(server.stdout)
        finally:
            server.send_signal(signal.SIGINT)
            _, log = server.communicate(timeout=WITHIN_S)
    assert server.returncode == 0
    assert "Traceback" not in log


def _until_started(out: IO[str] | None) -> str:
    assert out is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Try: "):
        line = out.readline()
        assert line, "the server ended before it had started"
        lines.append(line)
    return "".join(lines)


def test_the_banner_names_address_models_and_a_line_to_try(banner: str, home: Path) -> None:
    url = json.loads(Paths.under(home).instance_file.read_text(encoding="utf-8"))["url"]
    assert f"serves on {url} (Ctrl-C stops it); in a browser: {url}/ui/\n" in banner
    assert "  tiny  llamacpp\n" in banner
    assert f"Try: curl {url}/v1/chat/completions" in banner


@pytest.mark.usefixtures("banner")
def test_run_ps_rm_and_stop(mlxr: Mlxr) -> None:
    options = ["--max-tokens", "4", "--temperature", "0", "--seed", "1", "--stats"]
    answer = mlxr("run", "tiny", "Hi", *options)
    assert answer.returncode == 0, answer.stderr
    assert "answer 4 tokens" in answer.stderr
    assert "engine llamacpp" in answer.stderr
    (worker,) = json.loads(mlxr("ps", "--json").stdout)["workers"]
    assert (worker["model"], worker["engine"], worker["state"]) == ("tiny", "llamacpp", "ready")
    refused = mlxr("models", "rm", "tiny", "--yes")
    assert refused.returncode == 1
    assert "mlxr stop tiny" in refused.stderr
    assert mlxr("stop", "tiny").stdout.startswith("tiny is unloaded in ")
    assert json.loads(mlxr("ps", "--json").stdout)["workers"] == []


@pytest.mark.usefixtures("banner")
def test_the_engine_setting_takes_effect_without_a_restart(mlxr: Mlxr) -> None:
    flipped = mlxr("engine", "llamacpp")
    assert flipped.returncode == 0, flipped.stderr
    assert "The running server now uses engine: llamacpp." in flipped.stdout


@pytest.mark.usefixtures("banner")
def test_errors_of_the_server_are_one_sentence(mlxr: Mlxr) -> None:
    result = mlxr("run", "tiny@mlx", "hi")
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot run on 'mlx'" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("banner")
def test_a_second_server_on_the_folder_is_refused_with_pid_and_address(mlxr: Mlxr, home: Path) -> None:
    instance = json.loads(Paths.under(home).instance_file.read_text(encoding="utf-8"))
    second = mlxr("serve", "--port", "0")
    assert second.returncode == 1
    last = second.stderr.splitlines()[-1]
    assert f"process {instance['pid']} on {instance['url']}" in last
