"""Conversions that a real server runs: after pulls that found no MLX form, and asked for; cancels and kills."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from router.jobs.convert.report import read_report
from router.jobs.convert.scratch import SCRATCH_PREFIX
from tests.support.gateway_process import GatewayProcess, environment, run_cli, sse_events
from tests.support.processes import ending, running_children
from tests.support.stub_hub import StubHub
from tests.support.tiny_model import write_gguf
from tests.support.waiting import WITHIN_S, wait_until

REPO = "tester/Tiny-GGUF"
PULL = "/v1/mlxr/models/pull"
PULLS = "/v1/mlxr/models/pulls"
CONVERT = "/v1/mlxr/models/convert"
STEPS = ["converting", "reading with the source", "reading with the result", "saving"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StubHub]:
    gguf = write_gguf(tmp_path / "tiny-F32.gguf").read_bytes()
    with StubHub({REPO: {"tiny-F32.gguf": gguf}}) as hub:
        yield hub


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def serve(home: Path, hub: StubHub) -> GatewayProcess:
    home.mkdir(exist_ok=True)
    return GatewayProcess(home, config={"hub": {"endpoint": hub.url}})


def events_of(gateway: GatewayProcess, path: str, body: dict[str, Any], *, until: str | None = None) -> list[Any]:
    """Follow a stream to its end, or leave it at the first event of a kind."""
    events = []
    with gateway.client() as client, client.stream("POST", path, json=body) as response:
        assert response.status_code == 200, response.read()
        for data in sse_events(response.iter_lines()):
            events.append(json.loads(data))
            if events[-1]["type"] == until:
                break
    return events


def converters(gateway: GatewayProcess) -> list[psutil.Process]:
    """The processes that convert, of a gateway that lives."""
    return running_children("backends.converting.convert", pid=gateway.pid)


def begun(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> tuple[list[Any], psutil.Process]:
    """Begin a conversion; its process stands still, so that it does not end before what is to become of it."""
    events = events_of(gateway, path, body, until="converting")
    wait_until(lambda: converters(gateway), "a converter runs")
    (converter,) = converters(gateway)
    converter.suspend()
    return events, converter


def half_made(home: Path) -> list[Path]:
    return list((home / "data" / "models").glob(f"{SCRATCH_PREFIX}*"))


def engines_of(gateway: GatewayProcess, model: str) -> set[str]:
    said = json.loads(run_cli(gateway.home, "models", "show", model, "--json").stdout)
    return {artifact["format"] for artifact in said["artifacts"]}


def has_answer(gateway: GatewayProcess, model: str) -> bool:
    answer = gateway.post("/v1/completions", {"model": model, "prompt": "Hi", "max_tokens": 3, "temperature": 0})
    return answer.status_code == 200


def test_a_pull_for_both_engines_makes_the_form_that_no_repository_has(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        events = events_of(gateway, PULL, {"reference": REPO, "engine": "both"})
        kinds = [event["type"] for event in events]
        assert (kinds[0], kinds[-1]) == ("started", "done")
        first = kinds.index("registered")
        steps = [event["step"] for event in events if event["type"] == "converting"]
        assert kinds.index("converting") > first
        assert list(dict.fromkeys(steps)) == STEPS
        last = events[-2]
        assert (last["type"], last["model"], sorted(last["engines"])) == ("registered", "tiny", ["llamacpp", "mlx"])
        report = read_report(Path(last["path"]))
        assert report is not None
        assert report.parity is not None
        assert has_answer(gateway, "tiny@mlx")
        shown = run_cli(home, "models", "show", "tiny").stdout
        assert f"at {report.parity.num_tokens} places {report.parity.agreement:.0%} the same" in shown
        described = json.loads(run_cli(home, "models", "show", "tiny", "--json").stdout)["artifacts"]
        assert {item["format"]: (item["conversion"] or {}).get("parity") for item in described} == {
            "gguf": None,
            "mlx": msgspec.to_builtins(report.parity),
        }
        assert gateway.get(PULLS)["pulls"][0]["state"] == "done"
        assert half_made(home) == []
    finally:
        assert gateway.stop() == 0


def test_it_goes_on_without_its_client_is_listed_and_cancelled(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        number = begun(gateway, PULL, {"reference": REPO, "engine": "both"})[0][0]["id"]
        (listed,) = gateway.get(PULLS)["pulls"]
        assert listed["state"] == "running"
        assert listed["step"] in STEPS
        assert gateway.post(f"{PULLS}/{number}/cancel", {}).json()["state"] == "cancelled"
        assert converters(gateway) == []
        assert half_made(home) == []
        assert engines_of(gateway, "tiny") == {"gguf"}
        assert has_answer(gateway, "tiny")
    finally:
        assert gateway.stop() == 0


def test_a_paused_conversion_is_begun_anew(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        number = begun(gateway, PULL, {"reference": REPO, "engine": "both"})[0][0]["id"]
        assert gateway.post(f"{PULLS}/{number}/pause", {}).json()["state"] == "paused"
        assert half_made(home) == []
        gateway.post(f"{PULLS}/{number}/resume", {})
        wait_until(lambda: converters(gateway), "another converter runs")
    finally:
        assert gateway.stop() == 0


def test_a_kill_in_the_middle_leaves_nothing_half_made_and_the_next_server_goes_on(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        events_of(gateway, PULL, {"reference": REPO, "engine": "both"}, until="converting")
        wait_until(lambda: converters(gateway), "a converter runs")
        children = converters(gateway)
    finally:
        gateway.process.kill()
        gateway.stop()
    _, alive = psutil.wait_procs(children, timeout=WITHIN_S)
    assert not alive, "a converter outlived the gateway"
    gateway = serve(home, hub)
    try:
        assert engines_of(gateway, "tiny") == {"gguf"}
        wait_until(lambda: gateway.get(PULLS)["pulls"][0]["state"] == "done", "the pull goes on")
        assert engines_of(gateway, "tiny") == {"gguf", "mlx"}
        assert half_made(home) == []
    finally:
        assert gateway.stop() == 0


def test_a_server_that_is_stopped_stops_its_conversion_and_goes_on_at_its_next_start(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        events_of(gateway, PULL, {"reference": REPO, "engine": "both"}, until="converting")
    finally:
        assert gateway.stop() == 0
    assert half_made(home) == []
    gateway = serve(home, hub)
    try:
        wait_until(lambda: converters(gateway), "the pull goes on")
    finally:
        assert gateway.stop() == 0


@pytest.fixture
def gateway(home: Path, hub: StubHub) -> Iterator[GatewayProcess]:
    """A server that has the model's GGUF."""
    gateway = serve(home, hub)
    try:
        events_of(gateway, PULL, {"reference": REPO})
        yield gateway
    finally:
        assert gateway.stop() == 0


def test_a_conversion_is_followed_by_all_who_ask(gateway: GatewayProcess) -> None:
    begun_events, converter = begun(gateway, CONVERT, {"model": "tiny", "bits": 8})
    started = begun_events[0]
    assert started | {"path": None} == {"type": "started", "model": "tiny", "path": None, "is_joined": False}
    with (
        gateway.client() as client,
        client.stream("POST", CONVERT, json={"model": "tiny", "bits": 8}) as response,
    ):
        lines = map(json.loads, sse_events(response.iter_lines()))
        assert next(lines)["is_joined"]
        converter.resume()
        events = list(lines)
    assert (events[-1]["type"], events[-1]["path"]) == ("done", started["path"])
    assert events[-1]["report"]["parity"]["agreement"] > 0.5
    refused = gateway.post(CONVERT, {"model": "tiny"})
    assert (refused.status_code, "--as NAME" in refused.json()["error"]["message"]) == (409, True)


def test_a_conversion_is_cancelled_and_leaves_nothing(gateway: GatewayProcess, home: Path) -> None:
    assert gateway.post(f"{CONVERT}/cancel", {"model": "tiny"}).status_code == 404
    begun(gateway, CONVERT, {"model": "tiny"})
    assert gateway.post(f"{CONVERT}/cancel", {"model": "tiny"}).json() == {"model": "tiny", "cancelled": 1}
    assert half_made(home) == []
    assert engines_of(gateway, "tiny") == {"gguf"}


def test_a_pull_s_conversion_waits_for_one_that_was_asked_for(
    gateway: GatewayProcess, hub: StubHub, tmp_path: Path
) -> None:
    other = write_gguf(tmp_path / "other-F32.gguf", name="other", seed=1)
    hub.repos["tester/Other-GGUF"] = {other.name: other.read_bytes()}
    _, first = begun(gateway, CONVERT, {"model": "tiny"})
    steps, running = [], []
    with (
        gateway.client() as client,
        client.stream("POST", PULL, json={"reference": "tester/Other-GGUF", "engine": "both"}) as response,
    ):
        for event in map(json.loads, sse_events(response.iter_lines())):
            running.append(converters(gateway))
            if event["type"] == "converting":
                steps.append(event["step"])
                if len(steps) == 1:
                    first.resume()
                if steps[-1] == STEPS[0]:
                    break
    assert (steps[0], max(map(len, running))) == ("waiting for another conversion", 1), event
    assert (engines_of(gateway, "tiny"), engines_of(gateway, "other")) == ({"gguf", "mlx"}, {"gguf"})


def test_what_cannot_be_converted_is_refused_at_once(gateway: GatewayProcess) -> None:
    refusals: list[tuple[dict[str, Any], int, str]] = [
        ({"model": "none"}, 404, "none"),
        ({"model": "tiny", "bits": 7}, 400, "bits"),
        ({"model": "tiny", "dtype": "bfloat16"}, 409, "float16"),
    ]
    for body, status, words in refusals:
        answer = gateway.post(CONVERT, body)
        assert (answer.status_code, words in answer.json()["error"]["message"]) == (status, True), body


def test_leaving_the_terminal_does_not_stop_the_server_s_conversion(gateway: GatewayProcess, home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "router.cli", "models", "convert", "tiny"],
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with ending(process):
        wait_until(lambda: converters(gateway), "the server converts")
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130
    assert "mlxr models convert tiny --cancel" in said
    again = run_cli(home, "models", "convert", "tiny", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["report"]["parity"]
    assert engines_of(gateway, "tiny") == {"gguf", "mlx"}
