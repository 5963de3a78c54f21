"""Two real gateways, one an upstream of the other, by each protocol: listed, asked, given up, lost and found again."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support.gateway_process import GatewayProcess, run_cli, sse_events
from tests.support.waiting import wait_until

SAID = [{"role": "user", "content": "hi"}]
GREEDY = {"temperature": 0, "max_tokens": 8}


def home_with(folder: Path, *models: tuple[str, Path]) -> Path:
    paths = Paths.under(folder)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        for name, file in models:
            register_path(registry, file, name=name)
    return folder


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory, tooled: tuple[Path, Path]) -> Iterator[GatewayProcess]:
    """The server that has the model."""
    gateway = GatewayProcess(home_with(tmp_path_factory.mktemp("behind") / "home", ("tooled", tooled[0])))
    yield gateway
    gateway.stop()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, behind: GatewayProcess) -> Iterator[GatewayProcess]:
    """The server that has none, and the other one as an upstream by each protocol."""
    by_protocol = [
        {"name": protocol, "url": behind.url, "protocol": protocol, "names": {f"by-{protocol}": "tooled"}}
        for protocol in ("openai", "ollama", "mlxr")
    ]
    home = home_with(tmp_path_factory.mktemp("front") / "home")
    gateway = GatewayProcess(home, config={"upstreams": by_protocol})
    wait_until(lambda: len(listed(gateway)) == 3, "the lists of all upstreams are read")
    yield gateway
    assert gateway.stop() == 0


def listed(gateway: GatewayProcess) -> dict[str, Any]:
    return {each["id"]: each for each in gateway.get("/v1/models")["data"]}


@pytest.mark.parametrize("protocol", ["openai", "ollama", "mlxr"])
def test_the_same_is_answered_through_the_other_server(
    front: GatewayProcess, behind: GatewayProcess, protocol: str
) -> None:
    name = f"by-{protocol}"
    assert listed(front)[name]["engines"] == [f"upstream:{protocol}"]
    there = behind.post("/v1/chat/completions", {"model": "tooled", "messages": SAID, **GREEDY}).json()
    here = front.post("/v1/chat/completions", {"model": name, "messages": SAID, **GREEDY}).json()
    assert here["choices"][0]["message"]["content"] == there["choices"][0]["message"]["content"]
    for count in ("prompt_tokens", "completion_tokens"):
        assert here["usage"][count] == there["usage"][count]
    assert here["timings"]["engine"] == f"upstream:{protocol}"
    text = {"model": name, "prompt": "once", **GREEDY}
    again = front.post("/v1/completions", text).json()["choices"][0]["text"]
    assert again == behind.post("/v1/completions", text | {"model": "tooled"}).json()["choices"][0]["text"]


def test_a_stream_has_the_same_text_and_one_end(front: GatewayProcess) -> None:
    body = {"model": "by-mlxr", "messages": SAID, **GREEDY}
    whole = front.post("/v1/chat/completions", body).json()["choices"][0]["message"]["content"]
    with (
        front.client() as client,
        client.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as answer,
    ):
        events = list(sse_events(answer.iter_lines()))
    assert events[-1] == "[DONE]"
    choices = [each["choices"][0] for each in map(json.loads, events[:-1]) if each["choices"]]
    assert "".join(each["delta"].get("content") or "" for each in choices) == whole
    assert [each["finish_reason"] for each in choices if each["finish_reason"]] == ["length"]


def test_who_goes_here_is_gone_there(front: GatewayProcess, behind: GatewayProcess) -> None:
    body = {"model": "by-mlxr", "messages": SAID, "max_tokens": 4000, "ignore_eos": True, "stream": True}
    with front.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(sse_events(answer.iter_lines()))
        assert behind.get("/v1/mlxr/requests")["requests"], "it runs there"
    wait_until(lambda: not behind.get("/v1/mlxr/requests")["requests"], "and is given up there")


def test_the_command_line_shows_where_models_are(front: GatewayProcess) -> None:
    ps = run_cli(front.home, "ps").stdout
    assert "upstream:mlxr has 1 model" in ps
    models = run_cli(front.home, "models", "list").stdout
    assert "by-ollama" in models
    assert "upstream:ollama" in models
    assert "called there" in run_cli(front.home, "models", "show", "by-openai").stdout
    rows = json.loads(run_cli(front.home, "models", "list", "--json").stdout)
    assert {row["name"]: row["upstreams"] for row in rows}["by-mlxr"] == ["upstream:mlxr"]


def test_a_server_that_dies_in_the_middle_is_an_error_and_comes_back(
    tmp_path: Path, tooled: tuple[Path, Path], start_another: Callable[..., GatewayProcess]
) -> None:
    behind = start_another(home_with(tmp_path / "behind", ("tooled", tooled[0])), {})
    port = behind.url.rpartition(":")[2]
    upstream = {"name": "box", "url": behind.url, "health_interval_s": 1, "models": ["tooled"]}
    front = start_another(home_with(tmp_path / "front"), {"upstreams": [upstream]})
    body = {"model": "tooled", "messages": SAID, "max_tokens": 4000, "temperature": 0, "stream": True}
    with front.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        events = sse_events(answer.iter_lines())
        next(events)
        for worker in behind.workers():
            worker.kill()
        behind.process.send_signal(signal.SIGKILL)
        rest = list(events)
    assert sum('"error"' in each for each in rest) == 1
    assert "upstream_failed" in "".join(rest)
    lost = front.post("/v1/chat/completions", {"model": "tooled", "messages": SAID, **GREEDY})
    assert (lost.status_code, lost.json()["error"]["code"]) in {(502, "upstream_unreachable"), (503, "unavailable")}
    behind.stop()
    again = start_another(behind.home, {"server": {"port": int(port)}}, "--port", port)
    assert again.url == behind.url
    wait_until(lambda: front.status()["upstreams"][0]["state"] == "closed", "a look at its health finds it")
    answer_again = front.post("/v1/chat/completions", {"model": "tooled", "messages": SAID, **GREEDY})
    assert answer_again.status_code == 200, answer_again.text


@pytest.fixture
def start_another() -> Iterator[Callable[..., GatewayProcess]]:
    started: list[GatewayProcess] = []

    def start(home: Path, config: dict[str, Any], *arguments: str) -> GatewayProcess:
        started.append(GatewayProcess(home, config=config, arguments=arguments))
        return started[-1]

    yield start
    for gateway in started:
        gateway.stop()
