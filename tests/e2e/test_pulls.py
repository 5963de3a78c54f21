"""Pulls that a real server runs, from the tests' own hub: events, lists, leaving clients, kills, and a completion."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess, run_cli, sse_events
from tests.support.stub_hub import StubHub
from tests.support.tiny_model import write_gguf, write_mlx
from tests.support.waiting import wait_until

REPO = "tester/Tiny-GGUF"
MLX_REPO = "tester/Tiny-4bit"
TOKEN = "hf_a_secret_that_nobody_sees"
PULL = "/v1/mlxr/models/pull"
PULLS = "/v1/mlxr/models/pulls"
HELD = 100_000
"""Bytes of a file that come before it stands still."""


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """A GGUF repository and, under the name that is looked for, its MLX form."""
    folder = tmp_path_factory.mktemp("hub")
    gguf = write_gguf(folder / "tiny-F32.gguf").read_bytes()
    mlx = write_mlx(folder / "mlx")
    return {
        REPO: {"tiny-F32.gguf": gguf, "README.md": b"# tiny"},
        MLX_REPO: {path.name: path.read_bytes() for path in sorted(mlx.iterdir())},
    }


@pytest.fixture
def hub(tiny_files: dict[str, dict[str, bytes]]) -> Iterator[StubHub]:
    with StubHub(dict(tiny_files)) as hub:
        hub.token = TOKEN
        yield hub


def serve(home: Path, hub: StubHub) -> GatewayProcess:
    home.mkdir(exist_ok=True)
    hub_config = {"endpoint": hub.url, "token": TOKEN}
    return GatewayProcess(home, config={"hub": hub_config, "logging": {"level": "debug"}})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def pulled(gateway: GatewayProcess, reference: str, **wishes: Any) -> list[dict[str, Any]]:
    """Pull to the end; return the events."""
    with gateway.client() as client, client.stream("POST", PULL, json={"reference": reference} | wishes) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        return [json.loads(data) for data in sse_events(response.iter_lines())]


def begun(gateway: GatewayProcess, hub: StubHub) -> int:
    """Start a pull, leave it once bytes have come; return its number."""
    hub.held_after = HELD
    with gateway.client() as client, client.stream("POST", PULL, json={"reference": REPO}) as response:
        for data in sse_events(response.iter_lines()):
            event = json.loads(data)
            if event["type"] == "started":
                number: int = event["id"]
            if event["type"] == "progress" and event["done_bytes"]:
                return number
    raise AssertionError("the pull ended at once")


def state_of(gateway: GatewayProcess, number: int) -> str:
    found = [pull for pull in gateway.get(PULLS)["pulls"] if pull["id"] == number]
    return str(found[0]["state"])


def has_answer(gateway: GatewayProcess, model: str) -> bool:
    answer = gateway.post("/v1/completions", {"model": model, "prompt": "Hi", "max_tokens": 3, "temperature": 0})
    return answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] > 0


def test_a_pulled_model_answers_at_once_and_the_token_is_nowhere(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        events = pulled(gateway, REPO, name="my-tiny")
        kinds = [event["type"] for event in events]
        assert kinds[:2] == ["started", "planned"]
        assert kinds[-2:] == ["registered", "done"]
        assert (events[-2]["model"], events[-2]["engines"]) == ("my-tiny", ["llamacpp"])
        assert has_answer(gateway, "my-tiny")
        assert state_of(gateway, events[0]["id"]) == "done"
    finally:
        assert gateway.stop() == 0
    assert {seen.headers["authorization"] for seen in hub.seen if "authorization" in seen.headers} == {
        f"Bearer {TOKEN}"
    }
    logs = [path for path in home.rglob("*") if path.is_file() and path.suffix in {".log", ".txt", ".sqlite3"}]
    assert logs
    assert not [path for path in logs if TOKEN.encode() in path.read_bytes()]


def test_both_forms_become_one_model(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        events = pulled(gateway, REPO, engine="both")
        registered = [event for event in events if event["type"] == "registered"]
        assert len({event["model"] for event in registered}) == 1
        assert [sorted(event["engines"]) for event in registered] == [["llamacpp", "mlx"]] * 2
        assert has_answer(gateway, registered[0]["model"] + "@mlx")
    finally:
        assert gateway.stop() == 0


def test_the_pull_goes_on_when_its_client_leaves(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        number = begun(gateway, hub)
        assert state_of(gateway, number) == "running"
        hub.held_after = None
        wait_until(lambda: state_of(gateway, number) == "done", "the pull ends without its client")
        wait_until(lambda: gateway.get("/v1/models")["data"], "the model is there")
    finally:
        assert gateway.stop() == 0


def test_a_pull_is_paused_resumed_and_cancelled(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        number = begun(gateway, hub)
        assert gateway.post(f"{PULLS}/{number}/pause", {}).json()["state"] == "paused"
        assert gateway.post(f"{PULLS}/{number}/pause", {}).status_code == 409
        assert gateway.post(f"{PULLS}/{number}/resume", {}).json()["state"] in {"queued", "running"}
        assert gateway.post(f"{PULLS}/{number}/cancel", {}).json()["state"] == "cancelled"
        partial = home / "data" / "models" / ".partial"
        assert not list(partial.glob("*.part"))
        assert gateway.post(f"{PULLS}/99/cancel", {}).status_code == 404
        assert gateway.post(f"{PULLS}/x/cancel", {}).status_code == 404
    finally:
        assert gateway.stop() == 0


def test_a_server_that_is_killed_goes_on_at_its_next_start(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        number = begun(gateway, hub)
    finally:
        gateway.process.kill()
        gateway.stop()
    hub.held_after = None
    gateway = serve(home, hub)
    try:
        wait_until(lambda: state_of(gateway, number) == "done", "the pull goes on")
        wait_until(lambda: gateway.get("/v1/models")["data"], "the model is there")
    finally:
        assert gateway.stop() == 0


def test_a_server_that_is_stopped_tells_its_clients_and_goes_on_at_its_next_start(home: Path, hub: StubHub) -> None:
    hub.held_after = HELD
    gateway = serve(home, hub)
    events: list[dict[str, Any]] = []
    try:
        with gateway.client() as client, client.stream("POST", PULL, json={"reference": REPO}) as response:
            for data in sse_events(response.iter_lines()):
                events.append(json.loads(data))
                if events[-1]["type"] == "progress" and gateway.process.poll() is None:
                    gateway.process.terminate()
    finally:
        assert gateway.stop() == 0
    assert events[-1] == {"type": "stopped", "state": "queued"}
    hub.held_after = None
    gateway = serve(home, hub)
    try:
        wait_until(lambda: state_of(gateway, events[0]["id"]) == "done", "the pull goes on")
    finally:
        assert gateway.stop() == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"reference": "nothing"}, 400, "ORG/REPO"),
        ({"reference": "/etc/passwd"}, 400, "mlxr models add"),
        ({"reference": "a/b", "engine": "cuda"}, 400, "engine"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_once(
    shared_gateway: GatewayProcess, body: dict[str, Any], status: int, words: str
) -> None:
    answer = shared_gateway.post(PULL, body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_failures_are_the_last_event_with_the_way_out(home: Path, hub: StubHub) -> None:
    gateway = serve(home, hub)
    try:
        wrong = pulled(gateway, f"{REPO}:Q9_K")[-1]
        assert (wrong["type"], wrong["code"]) == ("failed", "nothing_to_pull")
        assert "F32" in wrong["message"]
        assert pulled(gateway, "tester/none")[-1]["code"] == "hub_not_found"
        hub.token = "another"
        refused = pulled(gateway, f"{REPO}:F32")[-1]
        assert refused["code"] == "hub_unauthorized"
        assert re.search("token", refused["message"])
        assert TOKEN not in refused["message"]
        listed = gateway.get(PULLS)["pulls"]
        assert [(pull["state"], pull["error"]) for pull in listed] == [("failed", refused["message"])]
    finally:
        assert gateway.stop() == 0


@pytest.mark.long
def test_the_password_of_a_proxy_is_nowhere(home: Path) -> None:
    home.mkdir()
    secret = "geheim"
    hub = {"endpoint": "http://hub.example", "proxy": f"http://me:{secret}@127.0.0.1:9"}  # nobody listens there
    gateway = GatewayProcess(home, config={"hub": hub, "logging": {"level": "debug"}})
    try:
        events = pulled(gateway, REPO)
        assert events[-1]["type"] == "failed"
        said = [run_cli(home, *verb) for verb in (("config", "show"), ("doctor",), ("models", "pulls"), ("ps",))]
        told = json.dumps([events, gateway.get(PULLS), gateway.status()])
    finally:
        assert gateway.stop() == 0
    assert secret not in told + "".join(result.stdout + result.stderr for result in said)
    kept = [path for path in home.rglob("*") if path.is_file() and path.name != "server.yaml"]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]
