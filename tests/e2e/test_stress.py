"""`mlxr stress` against a real server: what it prints, as JSON too, and its exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess, run_cli

pytestmark = pytest.mark.slow
StartGateway = Callable[..., GatewayProcess]


def test_rounds_are_shown_and_judged(start_gateway: StartGateway, home: Path) -> None:
    gateway = start_gateway({"memory": {"tier": "standard"}, "engine": "llamacpp"})
    done = run_cli(home, "stress", "tiny", "--rounds", "6", "--pause", "0", "--max-tokens", "8", "--json")
    report = json.loads(done.stdout)
    assert [each["number"] for each in report["rounds"]] == [1, 2, 3, 4, 5, 6]
    assert all(each["own_bytes"] > 0 and each["peak_bytes"] >= each["own_bytes"] * 0.5 for each in report["rounds"])
    by_name = {verdict["name"]: verdict for verdict in report["verdicts"]}
    assert (report["tier"], by_name["answers"]["is_good"], by_name["peak"]["is_good"]) == ("standard", True, True)
    assert [swap["event"] for swap in report["swaps"]] == ["load"]
    assert done.returncode == any(verdict["is_good"] is False for verdict in report["verdicts"])
    shown = run_cli(home, "stress", "tiny", "--rounds", "1", "--max-tokens", "4")
    assert shown.stdout.splitlines()[0].split() == [
        *("ROUND", "FIRST", "TOKEN", "RATE"),
        *("MEMORY", "PEAK", "AVAILABLE", "PRESSURE"),
    ]
    assert "answers: 1 of 1 rounds were answered" in shown.stdout
    swapped = run_cli(home, "stress", "tiny@mlx", "--rounds", "2", "--pause", "0", "--max-tokens", "4")
    assert "unloads: 0 unloads, 0 without need" in swapped.stdout
    assert gateway.process.poll() is None


def test_what_cannot_be_asked_fails_the_run_and_calls_without_sense_are_refused(
    start_gateway: StartGateway, home: Path, tmp_path: Path
) -> None:
    start_gateway()
    unknown = run_cli(home, "stress", "nobody", "--minutes", "600", "--pause", "0")
    assert unknown.returncode == 1
    assert "FAILED  answers: 0 of 3 rounds were answered" in unknown.stdout
    both = run_cli(home, "stress", "tiny", "--rounds", "1", "--minutes", "1")
    assert (both.returncode, both.stdout) == (2, "")
    assert "exclude each other" in both.stderr
    empty = tmp_path / "pictures"
    empty.mkdir()
    assert run_cli(home, "stress", "tiny", "--image", str(empty)).returncode == 2


def test_without_a_server_it_says_so(home: Path) -> None:
    done = run_cli(home, "stress", "tiny")
    assert done.returncode == 1
    assert "mlxr serve" in done.stderr
