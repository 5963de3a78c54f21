"""Ollama's own Python client, unmodified, pulls, makes, copies and deletes models on a real server."""

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import psutil
import pytest

from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.hub_faults import Fault
from tests.support.stub_hub import StubHub
from tests.support.stub_ollama_registry import StubOllamaRegistry, digest_of, published
from tests.support.tiny_model import write_gguf
from tests.support.waiting import WITHIN_S, wait_until

HUB_REPO = "tester/Tiny-GGUF"
HUB_NAME = f"hf.co/{HUB_REPO}:F32"
PULLS = "/v1/mlxr/models/pulls"
HELD = 100_000
"""Bytes of a file that come before it stands still."""
GREEDY = {"temperature": 0, "num_predict": 3}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("weights") / "tiny-F32.gguf").read_bytes()


@pytest.fixture
def library(weights: bytes) -> Iterator[StubOllamaRegistry]:
    params = {"temperature": 0.25, "stop": ["<|im_end|>"], "num_ctx": 64}
    models = {"library/tiny:135m": published(weights, params=params, system="Be brief.")}
    with StubOllamaRegistry(models) as registry:
        yield registry


@pytest.fixture
def hub(weights: bytes) -> Iterator[StubHub]:
    with StubHub({HUB_REPO: {"tiny-F32.gguf": weights}}) as hub:
        yield hub


@pytest.fixture
def gateway(tmp_path: Path, hub: StubHub, library: StubOllamaRegistry) -> Iterator[GatewayProcess]:
    home = tmp_path / "home"
    home.mkdir()
    config = {"hub": {"endpoint": hub.url, "ollama_registry": library.url}, "server": {"body_timeout_s": 10}}
    gateway = GatewayProcess(home, config=config)
    try:
        yield gateway
    finally:
        assert gateway.stop() == 0


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[ollama.Client]:
    with ollama.Client(host=gateway.url, trust_env=False) as client:
        yield client


def settings_of(gateway: GatewayProcess, name: str) -> dict[str, Any]:
    shown = run_cli(gateway.home, "models", "show", name, "--json")
    assert shown.returncode == 0, shown.stderr
    settings: dict[str, Any] = json.loads(shown.stdout)["settings"]
    return settings


def names_of(gateway: GatewayProcess) -> set[str]:
    return {model["id"] for model in gateway.get("/v1/models")["data"]}


def answers(gateway: GatewayProcess, name: str) -> bool:
    reply = gateway.post("/v1/completions", {"model": name, "prompt": "Hi", "max_tokens": 3, "temperature": 0})
    return reply.status_code == 200


def test_a_library_name_is_pulled_with_its_publishers_settings(
    client: ollama.Client, gateway: GatewayProcess, weights: bytes
) -> None:
    lines = list(client.pull("tiny:135m", stream=True))
    texts = [line.status for line in lines]
    short = f"pulling {digest_of(weights)[7:19]}"
    assert texts[:2] == ["pulling manifest", short]
    assert texts[-3:] == ["verifying sha256 digest", "writing manifest", "success"]
    of_file = [line for line in lines if line.status == short]
    assert {line.digest for line in of_file} == {digest_of(weights)}
    assert {line.total for line in of_file} == {len(weights)}
    assert of_file[-1].completed == len(weights)
    assert settings_of(gateway, "tiny:135m") == {
        "temperature": 0.25, "stop": ["<|im_end|>"], "context_length": 64, "system": "Be brief."
    }  # fmt: skip
    assert answers(gateway, "tiny:135m")
    assert [pull["state"] for pull in gateway.get(PULLS)["pulls"]] == ["done"]


def test_without_a_stream_the_last_line_comes_alone(client: ollama.Client) -> None:
    assert client.pull("tiny:135m").status == "success"


def test_names_of_the_hub_go_on_working_as_they_were_typed(client: ollama.Client, gateway: GatewayProcess) -> None:
    assert client.pull(HUB_NAME).status == "success"
    assert names_of(gateway) == {f"{HUB_REPO}:F32".lower()}
    assert client.generate(HUB_NAME, "Hi", options=GREEDY).done
    assert client.pull(HUB_NAME).status == "success"
    client.delete(HUB_NAME)
    assert names_of(gateway) == set()
    assert gateway.model_files() == []


def test_a_model_that_was_pulled_otherwise_keeps_its_name_and_gets_the_other(
    client: ollama.Client, gateway: GatewayProcess
) -> None:
    pulled = run_cli(gateway.home, "models", "pull", HUB_REPO)
    assert pulled.returncode == 0, pulled.stderr
    before = names_of(gateway)
    client.pull(HUB_NAME)
    assert names_of(gateway) == before
    client.delete(HUB_NAME)
    assert names_of(gateway) == before, "only the other name goes"
    with pytest.raises(ollama.ResponseError, match="not found"):
        client.delete(HUB_NAME.replace("Tiny", "Other"))


def test_the_command_line_pulls_from_the_same_registry(gateway: GatewayProcess) -> None:
    pulled = run_cli(gateway.home, "models", "pull", "ollama://tiny:135m")
    assert pulled.returncode == 0, pulled.stderr
    assert names_of(gateway) == {"tiny:135m"}


def test_errors_without_a_stream_have_their_status(client: ollama.Client, gateway: GatewayProcess) -> None:
    with pytest.raises(ollama.ResponseError, match="does not exist") as missing:
        client.pull("nobody:1b")
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="config"):
        client.pull("tiny:135m", insecure=True)
    with pytest.raises(ollama.ResponseError, match="does not push") as refused:
        client.push("tiny:135m")
    assert refused.value.status_code == 501
    assert gateway.get(PULLS)["pulls"] == []


def test_a_client_that_leaves_pauses_its_pull_and_the_next_goes_on(
    client: ollama.Client, gateway: GatewayProcess, library: StubOllamaRegistry, weights: bytes
) -> None:
    library.held_after = HELD
    leave_when_bytes_came(gateway)
    wait_until(lambda: states(gateway) == ["paused"], "the pull is paused")
    library.held_after = None
    assert client.pull("tiny:135m").status == "success"
    assert states(gateway) == ["done"]
    served = [item for item in library.served if item.path.endswith(digest_of(weights))]
    assert len(served) == 2
    assert served[1].start > 0, "what came before is not fetched again"


def test_a_pull_that_another_follows_goes_on_when_the_first_leaves(
    client: ollama.Client, gateway: GatewayProcess, library: StubOllamaRegistry
) -> None:
    library.held_after = HELD
    last: list[str | None] = []
    has_begun = threading.Event()

    def follow() -> None:
        for line in client.pull("tiny:135m", stream=True):
            last.append(line.status)
            if line.total:
                has_begun.set()

    def begin_and_leave() -> None:
        with gateway.client() as http, http.stream("POST", "/api/pull", json={"model": "tiny:135m"}) as reply:
            for line in reply.iter_lines():
                if json.loads(line).get("completed"):
                    follower.start()
                    assert has_begun.wait(WITHIN_S)
                    return

    follower = threading.Thread(target=follow)
    begin_and_leave()
    library.held_after = None
    follower.join(WITHIN_S)
    assert last[-1] == "success"


def test_a_pull_that_mlxr_started_goes_on_without_its_ollama_client(
    gateway: GatewayProcess, library: StubOllamaRegistry
) -> None:
    library.held_after = HELD
    with (
        gateway.client() as http,
        http.stream("POST", "/v1/mlxr/models/pull", json={"reference": "ollama://tiny:135m"}) as reply,
    ):
        next(reply.iter_lines())
    leave_when_bytes_came(gateway)
    assert states(gateway) == ["running"], "it is not its client's"
    library.held_after = None
    wait_until(lambda: states(gateway) == ["done"], "the pull ends")
    assert names_of(gateway) == {"tiny:135m"}


def leave_when_bytes_came(gateway: GatewayProcess) -> None:
    with gateway.client() as http, http.stream("POST", "/api/pull", json={"model": "tiny:135m"}) as reply:
        for line in reply.iter_lines():
            if json.loads(line).get("completed"):
                return
    raise AssertionError("the pull ended at once")


def states(gateway: GatewayProcess) -> list[str]:
    return [pull["state"] for pull in gateway.get(PULLS)["pulls"]]


def test_broken_transfers_and_a_moving_tag_end_well(
    client: ollama.Client, library: StubOllamaRegistry, weights: bytes
) -> None:
    library.faults["library/tiny:135m", "model"] = [Fault("reset", after=20_000), Fault("flip", after=5)]
    assert client.pull("tiny:135m").status == "success"
    library.models["library/tiny:135m"] = published(weights, params={"seed": 7})
    assert client.pull("tiny:135m").status == "success"


def test_an_upload_becomes_a_model(
    client: ollama.Client, gateway: GatewayProcess, weights: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "mine.gguf"
    file.write_bytes(weights)
    digest = client.create_blob(file)
    with gateway.client() as http:
        assert http.head(f"/api/blobs/{digest}").status_code == 200
        assert http.head(f"/api/blobs/{digest_of(b'other')}").status_code == 404
        assert http.head("/api/blobs/sha256:..").status_code == 400
    lines = list(
        client.create(
            "mine",
            files={"mine.gguf": digest},
            system="You are mine.",
            parameters={"temperature": 0.5, "stop": ["###"], "num_ctx": 128},
            messages=[{"role": "user", "content": "Ping"}, {"role": "assistant", "content": "Pong"}],
            license="MIT",
            stream=True,
        )
    )
    assert [line.status for line in lines][-2:] == ["writing manifest", "success"]
    assert settings_of(gateway, "mine") == {
        "context_length": 128, "temperature": 0.5, "stop": ["###"], "system": "You are mine.", "license": "MIT",
        "messages": [{"role": "user", "content": "Ping"}, {"role": "assistant", "content": "Pong"}],
    }  # fmt: skip
    assert client.generate("mine", "Hi", options=GREEDY).done
    assert gateway.model_files() == ["made/_/mine/latest/gguf/mine.gguf"]
    with gateway.client() as http:
        assert http.head(f"/api/blobs/{digest}").status_code == 200, "the bytes are found under their new name"
    client.create("second", files={"x.gguf": digest})
    assert names_of(gateway) == {"mine:latest", "second:latest"}


def test_models_are_made_of_models_copied_and_deleted_one_by_one(
    client: ollama.Client, gateway: GatewayProcess
) -> None:
    client.pull("tiny:135m")
    client.create("mario", from_="tiny:135m", system="You are Mario.", parameters={"top_k": 5})
    client.copy("mario", "luigi:v1")
    assert settings_of(gateway, "luigi:v1") == settings_of(gateway, "mario:latest")
    assert settings_of(gateway, "mario")["system"] == "You are Mario."
    assert settings_of(gateway, "tiny:135m")["system"] == "Be brief."
    inodes = {path.stat().st_ino for path in (gateway.home / "data" / "models").rglob("*.gguf")}
    assert len(inodes) == 1, "the bytes are shared"
    client.delete("tiny:135m")
    client.delete("mario")
    assert names_of(gateway) == {"luigi:v1"}
    assert client.chat("luigi:v1", [{"role": "user", "content": "Hi"}], options=GREEDY).done
    client.delete("luigi:v1")
    assert gateway.model_files() == []
    with pytest.raises(ollama.ResponseError, match="'mario' not found") as missing:
        client.delete("mario")
    assert missing.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="'mario' not found") as missing:
        client.copy("mario", "x")
    assert missing.value.status_code == 404


def test_creating_from_a_name_that_is_not_here_pulls_it(client: ollama.Client, gateway: GatewayProcess) -> None:
    lines = [line.status for line in client.create("mario", from_="tiny:135m", system="Hi.", stream=True)]
    assert lines[0] == "pulling manifest"
    assert lines[-1] == "success"
    assert lines.count("success") == 1
    assert names_of(gateway) == {"mario:latest", "tiny:135m"}


def test_a_modelfile_says_the_same_by_http_and_on_the_command_line(
    client: ollama.Client, gateway: GatewayProcess, tmp_path: Path, weights: bytes
) -> None:
    client.pull("tiny:135m")
    text = 'FROM tiny:135m\nPARAMETER temperature 0.5\nSYSTEM """\nYou are Mario.\n"""\nMESSAGE user Hi\n'
    reply = gateway.post("/api/create", {"name": "mario", "modelfile": text, "stream": False})
    assert (reply.status_code, reply.json()) == (200, {"status": "success"})
    (tmp_path / "mine.gguf").write_bytes(weights)
    for name, source in (("luigi", "tiny:135m"), ("peach", "./mine.gguf")):
        file = tmp_path / f"{name}.Modelfile"
        file.write_text(text.replace("tiny:135m", source))
        made = run_cli(gateway.home, "models", "create", name, "-f", str(file))
        assert made.returncode == 0, made.stderr
    assert settings_of(gateway, "luigi") == settings_of(gateway, "mario")
    assert settings_of(gateway, "peach")["messages"] == [{"role": "user", "content": "Hi"}]
    assert answers(gateway, "peach")


def test_large_uploads_go_beyond_the_limit_of_other_bodies_and_their_time(gateway: GatewayProcess) -> None:
    size, piece = 128 << 20, bytes(1 << 20)
    digest = hashlib.sha256(bytes(size)).hexdigest()
    process = psutil.Process(gateway.pid)
    before = process.memory_info().rss
    with gateway.client() as http:
        pieces = (piece for _ in range(size // len(piece)))
        reply = http.post(f"/api/blobs/sha256:{digest}", content=pieces)
        assert reply.status_code == 201, reply.text
        assert http.post("/api/copy", content=bytes(40 << 20)).status_code == 413
    assert process.memory_info().rss - before < 48 << 20
    assert (gateway.home / "data" / "models" / ".uploads" / f"sha256-{digest}").stat().st_size == size
