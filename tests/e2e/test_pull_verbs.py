"""`mlxr models pull`, `pulls` and `search` as a user types them, in real processes, against the tests' own hub."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess, environment
from tests.support.processes import ending
from tests.support.stub_hub import StubHub
from tests.support.tiny_model import write_gguf
from tests.support.waiting import WITHIN_S, wait_until

REPO = "tester/Tiny-GGUF"
TOKEN = "hf_a_secret_that_nobody_sees"
HELD = 100_000
"""Bytes of a file that come before it stands still."""


@pytest.fixture(scope="session")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("hub") / "tiny.gguf").read_bytes()


@pytest.fixture
def hub(gguf: bytes) -> Iterator[StubHub]:
    with StubHub({REPO: {"tiny-Q4_K_M.gguf": gguf, "tiny-Q8_0.gguf": gguf[:-4] + b"else"}}) as hub:
        hub.token = TOKEN
        yield hub


class Mlxr:
    """The command line of one user.

    Args:
        ends: With which what is started ends.
    """

    def __init__(self, home: Path, hub: StubHub, ends: contextlib.ExitStack) -> None:
        self._ends = ends
        self.home = home
        self.environment = environment(home) | {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "COLUMNS": "120"}

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        argv = [sys.executable, "-P", "-m", "router.cli", *arguments]
        process = subprocess.Popen(argv, env=self.environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        return self._ends.enter_context(ending(process))

    def __call__(self, *arguments: str, exit_code: int = 0) -> str:
        """Run to the end; return both outputs."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=WITHIN_S)
        assert process.returncode == exit_code, out + err
        assert "Traceback" not in err
        assert TOKEN not in out + err
        return out + err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))

    def states(self) -> list[str]:
        return [pull["state"] for pull in self.json("models", "pulls")]


@pytest.fixture
def mlxr(tmp_path: Path, hub: StubHub) -> Iterator[Mlxr]:
    with contextlib.ExitStack() as ends:
        yield Mlxr(tmp_path / "home", hub, ends)


def begun(mlxr: Mlxr, hub: StubHub) -> "subprocess.Popen[str]":
    """Start a pull that takes long; return when bytes have been written."""
    hub.held_after = HELD
    process = mlxr.start("models", "pull", REPO, "--json")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "progress" and event["done_bytes"]:
            return process
    raise AssertionError(process.communicate())


def ended(process: "subprocess.Popen[str]", number: int | None) -> str:
    """Send a signal, wait for the end; return what was said on stderr."""
    if number is not None:
        process.send_signal(number)
    return process.communicate(timeout=WITHIN_S)[1]


def test_a_pulled_model_can_be_asked(mlxr: Mlxr) -> None:
    said = mlxr("models", "pull", REPO)
    assert "1 file, 434.7 kB" in said
    assert "100 %" in said
    assert "tiny: runs on llamacpp. Try: mlxr run tiny" in said
    shown = mlxr.json("models", "show", "tiny")
    assert shown["artifacts"][0]["sha256"] is not None, "the hash that was proved is kept"
    gateway = GatewayProcess(mlxr.home)
    try:
        body = {"model": "tiny", "prompt": "Hi", "max_tokens": 3, "temperature": 0}
        answer = gateway.post("/v1/completions", body)
        assert answer.json()["usage"]["completion_tokens"] > 0
    finally:
        assert gateway.stop() == 0


def test_both_engines_without_a_sibling_end_in_a_conversion(mlxr: Mlxr) -> None:
    said = mlxr("models", "pull", REPO, "--engine", "both")
    assert "converting ..." in said
    assert "tiny: runs on llamacpp and mlx. Try: mlxr run tiny" in said


def test_json_is_one_event_per_line(mlxr: Mlxr) -> None:
    events = [json.loads(line) for line in mlxr("models", "pull", f"{REPO}:q8_0", "--json").splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[:3] == ["started", "planned", "file_started"]
    assert kinds[-2:] == ["registered", "done"]
    assert events[-1]["paths"][0].endswith("tiny-Q8_0.gguf")


def test_a_dry_run_changes_nothing(mlxr: Mlxr, hub: StubHub) -> None:
    said = mlxr("models", "pull", REPO, "--dry-run")
    assert f"{REPO}/tiny-Q4_K_M.gguf" in said
    assert "enough" in said
    assert "fits" in said
    plan = mlxr.json("models", "pull", REPO, "--dry-run")
    assert plan["needed_bytes"] == plan["total_bytes"] > 400_000
    assert mlxr.json("models", "pulls") == []
    assert not hub.served
    assert not list((mlxr.home / "data" / "models").rglob("*.gguf"))
    mlxr("models", "pull", REPO)
    assert "gguf: fits; it needs" in mlxr("models", "pull", REPO, "--dry-run")


def test_a_killed_pull_goes_on_where_it_was(mlxr: Mlxr, hub: StubHub) -> None:
    ended(begun(mlxr, hub), signal.SIGKILL)
    assert mlxr.states() == ["interrupted"]
    assert "mlxr models pulls resume 1" in mlxr("doctor", exit_code=0)
    hub.held_after = None
    said = mlxr("models", "pull", REPO)
    assert "This is pull 1, which was begun before." in said
    assert mlxr.states() == ["done"]
    assert "tiny: runs on" in said


def test_ctrl_c_pauses_a_pull_of_this_terminal(mlxr: Mlxr, hub: StubHub) -> None:
    process = begun(mlxr, hub)
    assert "mlxr models pulls resume 1" in ended(process, signal.SIGINT)
    assert process.returncode == 130
    assert mlxr.states() == ["paused"]
    hub.held_after = None
    assert "Try: mlxr run tiny" in mlxr("models", "pulls", "resume", "1")


def test_another_terminal_pauses_and_cancels(mlxr: Mlxr, hub: StubHub) -> None:
    process = begun(mlxr, hub)
    mlxr("models", "pulls", "pause", "1")
    assert "paused" in ended(process, None)
    assert process.returncode == 1
    assert mlxr.json("models", "pulls", "cancel", "1")["state"] == "cancelled"
    assert not list((mlxr.home / "data" / "models" / ".partial").glob("*.part"))
    assert "cancelled already" in mlxr("models", "pulls", "cancel", "1", exit_code=1)


def test_a_server_goes_on_when_the_terminal_is_left(mlxr: Mlxr, hub: StubHub) -> None:
    mlxr.home.mkdir()
    gateway = GatewayProcess(mlxr.home, config={"hub": {"endpoint": hub.url, "token": TOKEN}})
    try:
        process = begun(mlxr, hub)
        assert "mlxr models pulls cancel 1" in ended(process, signal.SIGINT)
        assert process.returncode == 130
        assert mlxr.states() == ["running"]
        hub.held_after = None
        wait_until(lambda: mlxr.states() == ["done"], "the server goes on")
        assert "all of it is here already" in mlxr("models", "pull", REPO)
        assert mlxr.json("config", "show")["hub"]["token"] == "********"
    finally:
        assert gateway.stop() == 0


def test_a_server_that_dies_says_what_becomes_of_the_pull(mlxr: Mlxr, hub: StubHub) -> None:
    mlxr.home.mkdir()
    gateway = GatewayProcess(mlxr.home, config={"hub": {"endpoint": hub.url, "token": TOKEN}})
    try:
        process = begun(mlxr, hub)
        os.kill(gateway.pid, signal.SIGKILL)
        said = ended(process, None)
    finally:
        gateway.stop()
    assert process.returncode == 1
    assert "goes on when the server runs again" in said
    hub.held_after = None
    assert "Try: mlxr run tiny" in mlxr("models", "pulls", "resume", "1")


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (("tester/none",), 1, "there is no such repository"),
        ((f"{REPO}:Q5_K_M",), 1, "Q4_K_M (0.00 GB), Q8_0"),
        ((f"{REPO}@v9",), 1, "no such revision"),
        (("nothing",), 2, "ORG/REPO"),
        (("./none.gguf",), 1, "no such file"),
        ((REPO, "--engine", "cuda"), 2, "mlx, llamacpp, both"),
        ((REPO, "--vision"), 1, "leave out --vision"),
        ((REPO, "--name", "A B"), 1, "no model name"),
        ((REPO, "--endpoint", "nowhere"), 1, "hub"),
    ],
)
def test_a_failure_is_one_sentence(mlxr: Mlxr, arguments: tuple[str, ...], exit_code: int, words: str) -> None:
    said = mlxr("models", "pull", *arguments, exit_code=exit_code)
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert mlxr.json("models", "pulls") == []


def test_a_name_that_is_taken_leaves_the_files_and_says_how_to_use_them(mlxr: Mlxr, gguf: bytes) -> None:
    mlxr("models", "pull", REPO)
    said = mlxr("models", "pull", f"{REPO}:Q8_0", "--name", "tiny", exit_code=1)
    assert "mlxr models add" in said
    path = mlxr.home / "data" / "models" / REPO / "tiny-Q8_0.gguf"
    assert path.stat().st_size == len(gguf)


def test_a_plain_address_is_pulled(mlxr: Mlxr, hub: StubHub) -> None:
    mlxr("models", "pull", f"{hub.url}/{REPO}/resolve/main/tiny-Q8_0.gguf?signature=secret", "--name", "web")
    assert mlxr.json("models", "show", "web")["artifacts"][0]["path"].endswith("/tiny-Q8_0.gguf")
    assert "signature" not in mlxr("models", "pulls")


def test_a_wrong_token_is_told_from_a_missing_one(mlxr: Mlxr, hub: StubHub) -> None:
    hub.token = "another"
    assert "the token was refused" in mlxr("models", "pull", REPO, exit_code=1)
    del mlxr.environment["HF_TOKEN"]
    assert "HF_TOKEN" in mlxr("models", "pull", REPO, exit_code=1)
    hub.api_answers[f"/api/models/{REPO}"] = (403, {"X-Error-Code": "GatedRepo"}, b"{}")
    assert f"accept its licence at {hub.url}/{REPO}" in mlxr("models", "pull", REPO, exit_code=1)


def test_a_local_path_is_registered_where_it_lies(mlxr: Mlxr, tmp_path: Path, gguf: bytes) -> None:
    path = tmp_path / "Mine-Q8_0.gguf"
    path.write_bytes(gguf)
    assert "mine: runs on llamacpp" in mlxr("models", "pull", str(path))
    assert mlxr.json("models", "show", "mine")["artifacts"][0]["path"] == str(path)


def test_search_shows_sizes_and_what_fits(mlxr: Mlxr) -> None:
    said = mlxr("models", "search", "tiny")
    assert f"{REPO}  5 downloads" in said
    assert "fits: Q4_K_M 434.7 kB, Q8_0 434.7 kB" in said
    found = mlxr.json("models", "search", "tiny", "@tester", "--limit", "3")
    assert [choice["fits"] for choice in found[0]["choices"]] == [True, True]
    assert "nothing with" in mlxr("models", "search", "zzz")


def test_pulling_again_leaves_one_row(mlxr: Mlxr) -> None:
    for _ in range(2):
        mlxr("models", "pull", REPO)
    assert mlxr.states() == ["done"]
