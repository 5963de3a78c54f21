"""Signals, exit codes, and a server without a terminal, on real processes."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from router.cli.serve import EXIT_CONFIG
from router.config.instance import read_instance
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, environment, run_cli
from tests.support.waiting import WITHIN_S, wait_until

StartGateway = Callable[..., GatewayProcess]
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 2}
SERVE = [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0"]

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


def test_sigterm_before_it_serves_has_an_exit_code_too(home: Path) -> None:
    """A migration of the registry waits for another process, so that the server is caught in its start."""
    lock = Paths.under(home).lock_file
    process = subprocess.Popen(SERVE, env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lock.exists, "it has begun")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WITHIN_S) == 0
    assert not Paths.under(home).instance_file.exists()


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
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(terminal)
    try:
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
    finally:
        process.kill()
        process.wait()


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


def test_a_detached_server_that_cannot_serve_says_why_with_its_exit_code(home: Path) -> None:
    (home / "config" / "server.yaml").write_text("engine: none of these\n")
    started = run_cli(home, "serve", "--detach")
    assert started.returncode == EXIT_CONFIG
    assert started.stderr.startswith(f"mlxr: The server could not be started (exit code {EXIT_CONFIG}): ")
    assert len(started.stderr.splitlines()) == 1
    assert run_cli(home, "serve").returncode == EXIT_CONFIG
