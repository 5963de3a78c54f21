"""One model name, two engines: the flip, under load, and its proof."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import POLL_S, wait_until

CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 16}
StartGateway = Callable[..., GatewayProcess]


def engine_of(gateway: GatewayProcess) -> str:
    return str(gateway.post("/v1/chat/completions", CHAT).raise_for_status().json()["timings"]["engine"])


def is_resident(gateway: GatewayProcess, engine: str) -> bool:
    workers = gateway.status()["workers"]
    return [worker["engine"] for worker in workers if worker["state"] in {"ready", "generating"}] == [engine]


def test_the_engine_command_flips_a_running_server_and_keeps_the_files_comments(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    config = gateway.home / "config" / "server.yaml"
    before = config.read_text()
    assert engine_of(gateway) == "llamacpp"
    done = run_cli(gateway.home, "engine", "mlx")
    assert (done.returncode, done.stderr) == (0, "")
    assert engine_of(gateway) == "mlx"
    assert config.read_text() == before.replace("\nengine: auto\n", "\nengine: mlx\n")
    swaps = gateway.status()["swaps"]
    assert [(swap["event"], swap["engine"]) for swap in swaps] == [
        ("load", "llamacpp"),
        ("unload", "llamacpp"),
        ("load", "mlx"),
    ]
    assert swaps[1]["freed_bytes"] > 0
    assert swaps[1]["unload_ms"] > 0
    assert all(swap["load_ms"] > 0 for swap in swaps if swap["event"] == "load")


def test_a_models_own_setting_goes_before_the_global_one_and_the_request_before_both(
    start_gateway: StartGateway,
) -> None:
    gateway = start_gateway({"engine": "mlx"})
    assert run_cli(gateway.home, "engine", "llamacpp", "--model", "tiny").returncode == 0
    wait_until(lambda: engine_of(gateway) == "llamacpp", "the model's own setting is in force")
    answer = gateway.post("/v1/chat/completions", CHAT, **{"X-Mlxr-Engine": "mlx"})
    assert answer.json()["timings"]["engine"] == "mlx"
    both = gateway.post("/v1/chat/completions", {**CHAT, "model": "tiny@llamacpp"}, **{"X-Mlxr-Engine": "mlx"})
    assert both.status_code == 400


def test_a_bad_edit_of_the_config_leaves_the_old_one_in_force_and_is_reported(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"engine": "llamacpp"})
    config = gateway.home / "config" / "server.yaml"
    config.write_text("engine: warp\n")
    wait_until(lambda: gateway.status()["config_error"] is not None, "the error is reported")
    assert "engine" in gateway.status()["config_error"]
    assert engine_of(gateway) == "llamacpp"
    config.write_text("engine: llamacpp\n")
    wait_until(lambda: gateway.status()["config_error"] is None, "the error is gone")


def test_a_wish_that_cannot_be_met_says_what_there_is_and_what_would_help(
    start_gateway: StartGateway, home: Path
) -> None:
    assert run_cli(home, "models", "unlink", "tiny", "--format", "mlx").returncode == 0
    gateway = start_gateway()
    answer = gateway.post("/v1/chat/completions", {**CHAT, "model": "tiny@mlx"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "engine_not_available"
    assert "llamacpp" in error["message"]
    assert "mlxr models" in error["message"]


def has_model(worker: dict[str, Any]) -> bool:
    """Tell whether a worker of the status has one; a process that was prepared for a swap and given up never had."""
    return worker.get("model") is not None and worker["state"] in {"loading", "ready", "draining", "stopping"}


def test_flips_under_load_lose_nothing_and_never_have_two_engines_resident(start_gateway: StartGateway) -> None:
    num_clients, num_flips = 12, 4
    gateway = start_gateway({"engine": "llamacpp", "limits": {"swap_max_wait_s": 1}})
    done = threading.Event()
    most_workers = 0

    def sample_workers() -> None:
        nonlocal most_workers
        while not done.wait(POLL_S):
            workers = gateway.status()["workers"]
            most_workers = max(most_workers, sum(has_model(each) for each in workers))

    def client(number: int) -> list[str]:
        rng = random.Random(number)
        engines: list[str] = []
        with gateway.client() as http:
            while not done.is_set() or not engines:
                body = {**CHAT, "max_tokens": rng.randint(1, 40), "seed": number}
                answer = http.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200, answer.text
                assert answer.json()["choices"][0]["finish_reason"] in {"stop", "length"}
                engines.append(answer.json()["timings"]["engine"])
        return engines

    config = gateway.home / "config" / "server.yaml"
    with ThreadPoolExecutor(num_clients + 1) as pool:
        sampler = pool.submit(sample_workers)
        clients = [pool.submit(client, number) for number in range(num_clients)]
        try:
            for flip in range(num_flips):
                engine = ("mlx", "llamacpp")[flip % 2]
                config.write_text(f"engine: {engine}\nlimits:\n  swap_max_wait_s: 1\n")
                wait_until(partial(is_resident, gateway, engine), f"flip {flip}: {engine}")
        finally:
            done.set()
        answers = [engine for answer in clients for engine in answer.result()]
        sampler.result()
    assert set(answers) == {"llamacpp", "mlx"}
    assert most_workers == 1
    swaps = [swap["event"] for swap in gateway.status()["swaps"]]
    assert swaps == ["load", *["unload", "load"] * num_flips], "each is gone before the next one loads"


@pytest.mark.real_model
def test_memory_after_each_unload_is_within_a_tenth_of_before_the_load(real_gateway: GatewayProcess) -> None:
    model = "smollm2-135m-instruct"
    real_gateway.post("/v1/mlxr/models/stop", {"model": "tiny"})
    for engine in ("llamacpp", "mlx"):  # what a gateway needs once and keeps is no model's memory
        real_gateway.post("/v1/completions", {"model": f"{model}@{engine}", "prompt": "The fox", "max_tokens": 2})
    real_gateway.post("/v1/mlxr/models/stop", {"model": model})
    before, written_before = real_gateway.rss_bytes(), real_gateway.written_bytes()
    for engine in ("llamacpp", "mlx", "llamacpp"):
        body = {"model": f"{model}@{engine}", "prompt": "The fox", "max_tokens": 2}
        assert real_gateway.post("/v1/completions", body).status_code == 200
        assert real_gateway.rss_bytes() > 2 * before
        report = real_gateway.post("/v1/mlxr/models/stop", {"model": model}).json()
        assert report["stopped"]
        assert report["freed_bytes"] > before
        assert real_gateway.workers() == []
        assert real_gateway.written_bytes() <= 1.1 * written_before


def test_standby_workers_wait_with_their_libraries_imported_and_take_the_next_load(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"standby": True})

    def standby_pids() -> dict[str, int]:
        return {w["engine"]: w["pid"] for w in gateway.status()["workers"] if w["state"] == "standby"}

    wait_until(lambda: set(standby_pids()) == {"llamacpp", "mlx"}, "both engines have a standby worker")
    waiting = standby_pids()
    assert engine_of(gateway) == "llamacpp"
    (resident,) = [w for w in gateway.status()["workers"] if w["model"] == "tiny"]
    assert resident["pid"] == waiting["llamacpp"]
    answer = gateway.post("/v1/chat/completions", {**CHAT, "model": "tiny@mlx"}).json()
    assert answer["timings"]["engine"] == "mlx"
    (resident,) = [w for w in gateway.status()["workers"] if w["model"] == "tiny"]
    assert resident["pid"] == waiting["mlx"]
    wait_until(lambda: set(standby_pids()) == {"llamacpp", "mlx"}, "both were replaced")
