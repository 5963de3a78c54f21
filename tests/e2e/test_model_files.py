"""Files of models that come, go and change under a running server."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import wait_until

CHAT = {"model": "moving", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": 4}
StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def model_file(home: Path) -> Path:
    """A path in mlxr's own folder; nothing is there yet."""
    return Paths.under(home).models_dir / "moving.gguf"


def names(gateway: GatewayProcess) -> set[str]:
    return {model["id"] for model in gateway.get("/v1/models")["data"]}


def status_of(gateway: GatewayProcess) -> int:
    return int(gateway.post("/v1/chat/completions", CHAT).status_code)


def num_loads(gateway: GatewayProcess) -> int:
    return sum(swap["event"] == "load" for swap in gateway.status()["swaps"])


def test_a_model_is_served_while_its_file_is_what_the_catalogue_says(
    start_gateway: StartGateway, model_file: Path, tmp_path: Path
) -> None:
    first = tiny_model.write_gguf(tmp_path / "first.gguf", name="moving", context_length=256)
    gateway = start_gateway()
    assert status_of(gateway) == 404
    shutil.copy(first, model_file)
    wait_until(lambda: "moving" in names(gateway), "the new file is found")
    assert status_of(gateway) == 200
    other = model_file.with_name("other")
    tiny_model.write_gguf(other, name="moving", context_length=128)
    other.replace(model_file)
    # Until it was looked into it is refused, which may be over before anybody asks.
    wait_until(lambda: status_of(gateway) == 200 and num_loads(gateway) == 2, "the changed file is served")
    model_file.unlink()
    wait_until(lambda: status_of(gateway) != 200, "a file that vanished is refused")
    answer = gateway.post("/v1/chat/completions", CHAT)
    assert "moving.gguf is gone" in answer.json()["error"]["message"]
    shutil.copy(first, model_file)
    wait_until(lambda: status_of(gateway) == 200, "the file is back")


def test_equal_files_become_one_model_in_the_background(
    start_gateway: StartGateway, model_file: Path, tiny_gguf: Path
) -> None:
    shutil.copy(tiny_gguf, model_file)
    gateway = start_gateway()
    wait_until(lambda: "moving" not in names(gateway), "the checksums are computed")
    assert status_of(gateway) == 200  # The name goes on as an alias.
    with Registry(Paths.under(gateway.home).registry_db, is_read_only=True) as registry:
        assert registry.models.get("moving").name == "tiny"
    shown = run_cli(gateway.home, "models", "show", "moving").stdout
    assert "also at" in shown
