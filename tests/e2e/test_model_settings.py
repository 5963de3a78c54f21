"""What `mlxr models set` does to a running gateway: requests over HTTP, on both real engines with the tiny model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import wait_until

StartGateway = Callable[..., GatewayProcess]
ENGINES = ["llamacpp", "mlx"]
HI: dict[str, Any] = {"messages": [{"role": "user", "content": "hello fox"}], "temperature": 0, "max_tokens": 3}
OWN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


def set_values(home: Path, *pairs: str) -> None:
    done = run_cli(home, "models", "set", "tiny", *pairs)
    assert done.returncode == 0, done.stderr


def status(gateway: GatewayProcess) -> dict[str, Any]:
    with gateway.client() as client:
        body: dict[str, Any] = client.get("/v1/mlxr/status").json()
    return body


def worker(gateway: GatewayProcess) -> dict[str, Any]:
    (only,) = status(gateway)["workers"]
    found: dict[str, Any] = only
    return found


def prompt_of(gateway: GatewayProcess, engine: str) -> str:
    """Return the conversation as the model's template writes it."""
    response = gateway.post("/apply-template", {"model": f"tiny@{engine}", "messages": HI["messages"]})
    assert response.status_code == 200, response.text
    text: str = response.json()["prompt"]
    return text


@pytest.mark.parametrize("engine", ENGINES)
def test_a_changed_load_counts_from_the_next_request_and_others_do_not_load_again(
    start_gateway: StartGateway, home: Path, engine: str
) -> None:
    gateway = start_gateway()
    body = HI | {"model": f"tiny@{engine}"}
    assert gateway.post("/v1/chat/completions", body).status_code == 200
    first = worker(gateway)
    set_values(home, "temperature=0.5", "system=Be brief.", "seed=4")
    wait_until(lambda: "Be brief." in prompt_of(gateway, engine), "the setting is seen")
    assert worker(gateway)["pid"] == first["pid"]
    set_values(home, "context_length=64", "parallel=2", f"template={OWN}")
    wait_until(lambda: prompt_of(gateway, engine).startswith("[system]Be brief.[user]"), "it is loaded again")
    second = worker(gateway)
    assert (second["pid"] != first["pid"], second["context_length"]) == (True, 64)
    answer = gateway.post("/v1/chat/completions", body).json()
    assert answer["usage"]["prompt_tokens"] == len("[system]Be brief.[user]hello fox")
    assert [swap["reason"] for swap in status(gateway)["swaps"] if swap["event"] == "unload"] == ["swap"]
    refused = gateway.post("/v1/chat/completions", body | {"messages": [{"role": "user", "content": "x" * 100}]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_models_sampling_defaults_are_those_of_its_answers(
    start_gateway: StartGateway, home: Path, engine: str
) -> None:
    set_values(home, "seed=7", "max_tokens=5", "temperature=1", "repetition_penalty=1.3")
    gateway = start_gateway()
    plain = {"model": f"tiny@{engine}", "prompt": "once", "ignore_eos": True}

    def answer(**wishes: Any) -> tuple[str, int]:
        body = gateway.post("/v1/completions", plain | wishes).json()
        return body["choices"][0]["text"], body["usage"]["completion_tokens"]

    text, num_tokens = answer()
    assert num_tokens == 5
    assert answer() == answer(seed=7, repetition_penalty=1.3, temperature=1) == (text, 5)
    assert answer(max_tokens=2)[1] == 2
    assert len({answer(seed=seed)[0] for seed in range(5)}) > 1


@pytest.mark.parametrize("engine", ENGINES)
def test_answers_are_drawn_as_the_makers_recommend_it_until_that_is_switched_off(
    start_gateway: StartGateway, home: Path, engine: str, tmp_path: Path
) -> None:
    """Greedy by generation_config.json, which counts for the GGUF of the same model too."""
    folder = tiny_model.write_mlx(tmp_path / "makers")
    (folder / "generation_config.json").write_text('{"do_sample": false}')
    gguf = tiny_model.write_gguf(tmp_path / "makers.gguf")
    for path in (folder, gguf):
        assert run_cli(home, "models", "add", str(path), "--name", "makers").returncode == 0
    gateway = start_gateway()
    model = f"makers@{engine}"
    bodies: dict[str, dict[str, Any]] = {
        "/v1/completions": {"prompt": "once", "max_tokens": 6},
        "/v1/chat/completions": {"messages": HI["messages"], "max_tokens": 6},
        "/v1/messages": {"messages": HI["messages"], "max_tokens": 6},
        "/v1/responses": {"input": "hello fox", "max_output_tokens": 16},
        "/api/chat": {"messages": HI["messages"], "stream": False, "options": {"num_predict": 6}},
    }

    def texts(path: str) -> set[str]:
        return {_text(gateway.post(path, bodies[path] | {"model": model}).json()) for _ in range(4)}

    assert [len(texts(path)) for path in bodies] == [1] * len(bodies)
    assert "temperature                    0.0" in gateway.post("/api/show", {"model": "makers"}).json()["parameters"]
    done = run_cli(home, "models", "set", "makers", "recommended_sampling=false")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: len(texts("/v1/completions")) > 1, "the switch is seen")


def _text(answer: dict[str, Any]) -> str:
    """Give the text of an answer, whatever the protocol."""
    if "output" in answer:
        return str([part["text"] for item in answer["output"] for part in item["content"]])
    return next(str(answer[key]) for key in ("choices", "content", "message") if key in answer)


def test_a_kv_type_is_refused_on_mlx_and_takes_nothing_down(start_gateway: StartGateway, home: Path) -> None:
    set_values(home, "kv_type=f16")
    gateway = start_gateway()
    assert gateway.post("/v1/chat/completions", HI | {"model": "tiny@llamacpp"}).status_code == 200
    pid = worker(gateway)["pid"]
    refused = gateway.post("/v1/chat/completions", HI | {"model": "tiny@mlx"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (500, "model_load_failed")
    assert "mlxr models set tiny kv_type=" in refused.json()["error"]["message"]
    assert worker(gateway)["pid"] == pid


def test_an_idle_model_is_unloaded_after_its_own_time(start_gateway: StartGateway, home: Path) -> None:
    set_values(home, "keep_alive_s=0.3")
    gateway = start_gateway({"limits": {"keep_alive_s": 3600}})
    assert gateway.post("/v1/chat/completions", HI | {"model": "tiny@llamacpp"}).status_code == 200
    wait_until(lambda: status(gateway)["workers"] == [], "it is unloaded")
    assert [swap.get("reason") for swap in status(gateway)["swaps"]] == [None, "idle"]
    set_values(home, "keep_alive_s=forever")

    def stays() -> bool:
        assert gateway.post("/v1/chat/completions", HI | {"model": "tiny@llamacpp"}).status_code == 200
        workers = status(gateway)["workers"]
        return [(each["expires_at"], each["state"]) for each in workers] == [(None, "ready")]

    wait_until(stays, "it stays")
