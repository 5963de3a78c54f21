"""`model: "name+adapter"` through a real gateway, on both real engines with the tiny model and its own adapter."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from registry.adapters.registration import register_adapter
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_adapter, tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import wait_until

ENGINES = ["llamacpp", "mlx"]
WORDS = "the quick brown fox jumps over the lazy dog and then it sleeps for a while in the warm sun beside the river"


def complete(gateway: GatewayProcess, model: str, prompt: str = WORDS) -> Any:
    body = {"model": model, "prompt": prompt, "max_tokens": 8, "temperature": 0}
    response = gateway.post("/v1/completions", body)
    assert response.status_code == 200, response.text
    return response.json()


def text(gateway: GatewayProcess, model: str) -> str:
    found: str = complete(gateway, model)["choices"][0]["text"]
    return found


def error(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> tuple[int, str, str]:
    response = gateway.post(path, body)
    found = response.json()["error"]
    return response.status_code, found["code"], found["message"]


@pytest.fixture(scope="module")
def loras(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("loras")
    return {
        "llamacpp": tiny_adapter.write_gguf_lora(folder / "fox.gguf"),
        "mlx": tiny_adapter.write_mlx_lora(folder / "fox"),
    }


@pytest.fixture(scope="module")
def make_home_with_adapters(
    make_home: Callable[[Path], Path], loras: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], Path]:
    """The tiny model with `fox` for both engines, `owl` for mlx alone, and a model with `fox` merged in."""
    folder = tmp_path_factory.mktemp("merged")
    merged = tiny_adapter.merged(tiny_adapter.pairs())
    owl = tiny_adapter.write_mlx_lora(folder / "owl", tiny_adapter.pairs(seed=3))
    merged_gguf = tiny_model.write_gguf(folder / "merged.gguf", tensors=merged)

    def make(home: Path) -> Path:
        with Registry(Paths.under(make_home(home)).registry_db) as registry:
            register_path(registry, merged_gguf, name="merged")
            registry.aliases.set("nick", "tiny")
            for path in loras.values():
                register_adapter(registry, "tiny", path, name="fox")
            register_adapter(registry, "tiny", owl)
        return home

    return make


@pytest.fixture(scope="module")
def gateway(
    tmp_path_factory: pytest.TempPathFactory, make_home_with_adapters: Callable[[Path], Path]
) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(make_home_with_adapters(tmp_path_factory.mktemp("adapters") / "home"))
    yield gateway
    assert gateway.stop() == 0


def test_answers_are_the_merged_models_on_both_engines_and_the_base_stays_as_it_was(gateway: GatewayProcess) -> None:
    before = text(gateway, "tiny")
    changed = text(gateway, "merged")
    assert changed != before
    assert [text(gateway, f"tiny+fox@{engine}") for engine in ENGINES] == [changed] * 2
    assert text(gateway, "NICK+FOX") == changed
    assert [text(gateway, f"tiny@{engine}") for engine in ENGINES] == [before] * 2


def test_auto_goes_to_the_engine_that_has_it_and_the_other_is_a_400(gateway: GatewayProcess) -> None:
    complete(gateway, "tiny+owl")
    (worker,) = gateway.status()["workers"]
    assert (worker["model"], worker["adapter"], worker["engine"]) == ("tiny", "owl", "mlx")
    status, code, message = error(gateway, "/v1/completions", {"model": "tiny+owl@llamacpp", "prompt": "x"})
    assert (status, code) == (400, "engine_not_available")
    assert "mlxr models adapter add tiny PATH --name owl" in message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions/input_tokens", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/embeddings", {"input": "x"}),
        ("/tokenize", {"content": "x"}),
        ("/apply-template", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/mlxr/models/stop", {}),
    ],
)
def test_every_route_knows_them(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> None:
    response = gateway.post(path, body | {"model": "tiny+fox"})
    assert response.status_code == 200, response.text
    status, code, message = error(gateway, path, body | {"model": "tiny+bat"})
    assert (status, code) == (404, "adapter_not_found")
    assert "It has: tiny+fox, tiny+owl." in message
    status, code, message = error(gateway, path, body | {"model": "tiny+fox+owl"})
    assert (status, code) == (400, "invalid_model_name")
    assert "one adapter at a time" in message


def test_the_openai_client_lists_them_and_talks_to_them(gateway: GatewayProcess) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="none", max_retries=0) as client:
        found = {model.id: model.model_extra or {} for model in client.models.list()}
        assert {"merged", "tiny", "tiny+fox", "tiny+owl"} == found.keys()
        assert (found["tiny+owl"]["parent"], found["tiny+owl"]["engines"]) == ("tiny", ["mlx"])
        assert client.models.retrieve("tiny+fox").id == "tiny+fox"
        with pytest.raises(openai.NotFoundError, match="no adapter 'bat'"):
            client.models.retrieve("tiny+bat")
        answer = client.chat.completions.create(
            model="tiny+fox", messages=[{"role": "user", "content": "hi"}], max_tokens=4, temperature=0
        )
        assert answer.model == "tiny+fox"
        plain, changed = (
            client.embeddings.create(model=name, input=WORDS).data[0].embedding for name in ("tiny", "tiny+fox")
        )
        assert sum(a * b for a, b in zip(plain, changed, strict=True)) < 0.99


def test_stop_unloads_by_base_or_by_adapter(gateway: GatewayProcess) -> None:
    complete(gateway, "tiny+fox@llamacpp")
    assert gateway.post("/v1/mlxr/models/stop", {"model": "tiny+owl"}).json()["stopped"] is False
    assert gateway.get("/health")["resident"] == [{"model": "tiny+fox", "engine": "llamacpp"}]
    for path in ("/props", "/props?model=tiny+fox", "/props?model=tiny%2Bfox&autoload=false"):
        assert gateway.get(path)["model_alias"] == "tiny+fox"
    assert gateway.get("/slots?model=tiny+owl") == []
    assert gateway.get("/v1/mlxr/capabilities?model=tiny+fox")["model"] == "tiny"
    assert gateway.get("/v1/mlxr/engine/explain?model=tiny+fox@llamacpp")["engine"] == "llamacpp"
    assert gateway.post("/v1/mlxr/models/stop", {"model": "tiny+fox"}).json()["stopped"] is True
    complete(gateway, "tiny+fox@llamacpp")
    assert gateway.post("/v1/mlxr/models/stop", {"model": "tiny"}).json()["stopped"] is True
    assert gateway.status()["workers"] == []
    swaps = [swap["model"] for swap in gateway.status()["swaps"]]
    assert swaps[-2:] == ["tiny+fox", "tiny+fox"]


@pytest.mark.parametrize("engine", ENGINES)
def test_saved_caches_of_base_and_adapter_are_never_each_others(
    tmp_path: Path, make_home_with_adapters: Callable[[Path], Path], engine: str
) -> None:
    home = make_home_with_adapters(tmp_path / "home")
    gateway = GatewayProcess(home, config={"cache": {"persist": True}})

    def cached(answer: Any) -> int:
        return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])

    try:
        first = {}
        for name in ("tiny", "tiny+fox"):
            first[name] = complete(gateway, f"{name}@{engine}")
            assert cached(first[name]) == 0, "nothing of the other's"
        for name in ("tiny", "tiny+fox"):
            again = complete(gateway, f"{name}@{engine}")
            assert cached(again) > 0, "its own"
            assert again["choices"][0]["text"] == first[name]["choices"][0]["text"]
    finally:
        assert gateway.stop() == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_that_changes_is_refused_and_the_gateway_goes_on(
    tmp_path: Path, make_home: Callable[[Path], Path], engine: str
) -> None:
    home = make_home(tmp_path / "home")
    if engine == "mlx":
        path = tiny_adapter.write_mlx_lora(tmp_path / "fox")
        file = path / "adapters.safetensors"
    else:
        path = file = tiny_adapter.write_gguf_lora(tmp_path / "fox.gguf")
    added = run_cli(home, "models", "adapter", "add", "tiny", str(path))
    assert added.returncode == 0, added.stderr
    gateway = GatewayProcess(home)
    try:
        good = text(gateway, f"tiny+fox@{engine}")
        info, whole = file.stat(), file.read_bytes()
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns + 10**9))
        wait_until(lambda: status_of(gateway, engine)[0] == 500, "the change is seen")
        assert "reads it anew" in status_of(gateway, engine)[1]
        # Damage that size and time do not show reaches the engine, which refuses it.
        file.write_bytes(b"\xff" * len(whole))
        os.utime(file, ns=(info.st_atime_ns, info.st_mtime_ns))
        base = text(gateway, f"tiny@{engine}")
        wait_until(lambda: "could not load the adapter" in status_of(gateway, engine)[1], "the engine refuses it")
        assert text(gateway, f"tiny@{engine}") == base
        file.write_bytes(whole)
        again = run_cli(home, "models", "adapter", "add", "tiny", str(path))
        assert again.returncode == 0, again.stderr
        wait_until(lambda: status_of(gateway, engine)[0] == 200, "it is served again")
        assert text(gateway, f"tiny+fox@{engine}") == good
    finally:
        assert gateway.stop() == 0


def status_of(gateway: GatewayProcess, engine: str) -> tuple[int, str]:
    response = gateway.post("/v1/completions", {"model": f"tiny+fox@{engine}", "prompt": "x", "max_tokens": 1})
    return response.status_code, response.text
