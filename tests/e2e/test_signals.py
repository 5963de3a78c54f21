"""Signals, exit codes, and a server without a terminal, on real processes."""

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL

import psutil
import pytest

from router.cli.serve import EXIT_CONFIG
from router.config.instance import read_instance
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.processes import ending
from tests.support.waiting import WITHIN_S, wait_until

StartGateway = Callable[..., GatewayProcess]
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 2}
SERVE = [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0"]
NUM_STARTS = 4

pytestmark = pytest.mark.slow


def log_of(gateway: GatewayProcess) -> str:
    return (gateway.home / "stderr.txt").read_text()


def test_a_second_sigterm_ends_at_once_and_takes_a_hung_worker_along(start_gateway: StartGateway) -> None:
    never = {"drain_timeout_s": 3600, "write_stall_s": 3600, "keepalive_s": 0.2}
    gateway = start_gateway({"server": never, "limits": {"stop_timeout_s": 3600, "stall_timeout_s": 3600}})
    assert gateway.post("/v1/chat/completions", CHAT).status_code == 200
    (worker,) = gateway.workers()
    worker.suspend()
    with gateway.client() as client, client.stream("POST", "/v1/chat/completions", json=CHAT | {"stream": True}):
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not _answers(gateway), "it takes nothing new")
        assert gateway.process.poll() is None, "the answer that runs keeps it"
        assert gateway.stop() == 0
    wait_until(lambda: not worker.is_running(), "no worker is left")


def test_a_hung_worker_that_holds_up_the_end_is_killed_by_a_second_signal(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"limits": {"stop_timeout_s": 3600}})
    assert gateway.post("/v1/chat/completions", CHAT).status_code == 200
    (worker,) = gateway.workers()
    worker.suspend()
    gateway.process.send_signal(signal.SIGINT)
    wait_until(lambda: not _answers(gateway), "it takes nothing new")
    assert gateway.process.poll() is None
    assert gateway.stop() == 0
    wait_until(lambda: not worker.is_running(), "no worker is left")


def _answers(gateway: GatewayProcess) -> bool:
    with contextlib.suppress(Exception), gateway.client() as client:
        return client.get("/health").status_code == 200
    return False


def test_many_signals_are_an_end_as_asked_as_well(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    with contextlib.suppress(ProcessLookupError):
        while gateway.process.poll() is None:
            os.kill(gateway.pid, signal.SIGTERM)
    assert gateway.process.wait(WITHIN_S) == 0


def test_a_start_that_is_stopped_ends_at_whatever_moment(home: Path) -> None:
    """Before there is anything to serve with, between that and the first request, and when it has just begun."""
    paths = Paths.under(home)
    start_s = 0.0
    for share in (1.0, *(random.Random(30_11_2026).uniform(0, 1.2) for _ in range(NUM_STARTS))):
        with ending(subprocess.Popen(SERVE, env=environment(home), stdin=DEVNULL, stdout=DEVNULL)) as process:
            wait_until(lambda: _holds(paths.lock_file, process.pid), "it has begun")
            begun_at = time.monotonic()
            if not start_s:
                wait_until(paths.instance_file.exists, "it serves")
                start_s = time.monotonic() - begun_at
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, begun_at + share * start_s - time.monotonic()))
            children = psutil.Process(process.pid).children()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WITHIN_S) == 0, share
        assert not paths.instance_file.exists()
        assert not paths.token_file.exists()
        wait_until(lambda: not any(each.is_running() for each in children), "no worker is left")  # noqa: B023


def _holds(lock_file: Path, pid: int) -> bool:
    return lock_file.exists() and lock_file.read_text() == str(pid)


def test_sighup_reads_the_config_now_and_a_bad_one_changes_nothing(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"engine": "llamacpp"})
    file = gateway.home / "config" / "server.yaml"
    file.write_text(json.dumps({"engine": "mlx"}))
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.status()["engine_setting"] == "mlx", "the new config is in force")
    file.write_text(json.dumps({"engine": "none of these"}))
    for num_times in (1, 2):
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: log_of(gateway).count("the config file is not used") >= num_times, "each reload says so")  # noqa: B023
    status = gateway.status()
    assert (status["engine_setting"], status["pid"]) == ("mlx", gateway.pid)
    assert "engine" in status["config_error"]


@pytest.mark.parametrize("is_nohup", [False, True])
def test_a_terminal_that_closes_stops_the_server_unless_it_was_told_not_to_care(home: Path, *, is_nohup: bool) -> None:
    paths = Paths.under(home)
    leader, terminal = pty.openpty()
    argv = ["nohup", *SERVE] if is_nohup else SERVE
    process = subprocess.Popen(
        [sys.executable, "-c", _WITH_TERMINAL, *argv],
        env=environment(home),
        stdin=terminal,
        stdout=DEVNULL,
        stderr=DEVNULL,
        start_new_session=True,
    )
    os.close(terminal)
    with ending(process):
        wait_until(lambda: read_instance(paths) is not None, "it serves")
        instance = read_instance(paths)
        assert instance is not None
        server = psutil.Process(instance.pid)
        os.close(leader)
        if is_nohup:
            process.wait(WITHIN_S)
            wait_until(lambda: "engine is" in paths.log_file.read_text(), "a reload is all that SIGHUP is")
            assert read_instance(paths) is not None
            server.send_signal(signal.SIGTERM)
        wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "it has ended")


# A shell as a terminal's window has one: the session's leader, whose end hangs up on what stands in the foreground.
_WITH_TERMINAL = """
import fcntl, os, signal, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may have been started by nohup
child = subprocess.Popen(sys.argv[1:])
signal.signal(signal.SIGHUP, lambda *_: (child.send_signal(signal.SIGHUP), os._exit(1)))
child.wait()
"""


def test_a_detached_server_goes_on_without_its_parent_and_has_a_pid_file(home: Path) -> None:
    paths = Paths.under(home)
    started = run_cli(home, "serve", "--port", "0", "--engine", "llamacpp", "--detach")
    assert started.returncode == 0, started.stderr
    pid = int(paths.pid_file.read_text())
    try:
        instance = read_instance(paths)
        assert instance is not None
        assert instance.pid == pid
        assert f"serves on {instance.url} as process {pid}" in started.stdout
        assert str(paths.log_file) in started.stdout
        assert os.getsid(pid) == pid
        assert "engine: llamacpp" in run_cli(home, "ps").stdout
        assert "serving on" in paths.log_file.read_text()
        assert "serves on" in paths.output_file.read_text(), "what it prints is kept, and the log is not there twice"
        assert "serving on" not in paths.output_file.read_text()
        again = run_cli(home, "serve", "--port", "0", "--detach")
        assert (again.returncode, str(pid) in again.stderr) == (1, True)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not paths.pid_file.exists() and read_instance(paths) is None, "it has ended in order")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_detached_server_that_nobody_waits_for_any_more_ends(home: Path, number: signal.Signals) -> None:
    paths = Paths.under(home)
    argv = [*SERVE, "--detach"]
    with ending(subprocess.Popen(argv, env=environment(home), stdout=DEVNULL, stderr=DEVNULL)) as process:
        wait_until(lambda: paths.lock_file.exists() and paths.lock_file.read_text(), "its server has begun")
        server = psutil.Process(int(paths.lock_file.read_text()))
        process.send_signal(number)
        assert process.wait(WITHIN_S) == 130
    wait_until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server has ended")
    assert read_instance(paths) is None


def test_a_detached_server_that_cannot_serve_says_why_with_its_exit_code(home: Path) -> None:
    (home / "config" / "server.yaml").write_text("engine: none of these\n")
    started = run_cli(home, "serve", "--detach")
    assert started.returncode == EXIT_CONFIG
    assert started.stderr.startswith(f"mlxr: The server could not be started (exit code {EXIT_CONFIG}): ")
    assert len(started.stderr.splitlines()) == 1
    assert run_cli(home, "serve").returncode == EXIT_CONFIG
