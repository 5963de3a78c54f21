"""A draft model, and lookups on both engines, through a real gateway with the tiny model."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli

BODY = {"model": "big", "prompt": "again " * 12, "max_tokens": 40, "temperature": 0}


def sure_weights() -> tiny_model.Tensors:
    """Return weights with which one token is far likelier than the others."""
    tensors = tiny_model.weights(0)
    return tensors | {"output": tensors["output"] * 5}


@contextlib.contextmanager
def drafting(folder: Path, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    home = make_home(folder / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        for name in ("big", "small"):
            path = tiny_model.write_gguf(folder / f"{name}.gguf", name=name, tensors=sure_weights())
            register_path(registry, path, name=name)
        registry.models.change_settings("big", {"draft": "small"})
    gateway = GatewayProcess(home)
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Iterator[GatewayProcess]:
    with drafting(tmp_path_factory.mktemp("drafts"), make_home) as gateway:
        yield gateway


def timings(gateway: GatewayProcess, body: dict[str, Any], **headers: str) -> tuple[str, dict[str, Any]]:
    response = gateway.post("/v1/completions", body, **headers)
    assert response.status_code == 200, response.text
    found = response.json()
    return found["choices"][0]["text"], found["timings"]


def test_a_draft_model_drafts_in_the_same_worker_and_is_told(gateway: GatewayProcess) -> None:
    plain, without = timings(gateway, BODY, **{"X-Mlxr-Speculation": "off"})
    text, found = timings(gateway, BODY, **{"X-Mlxr-Speculation": "draft"})
    assert text == plain
    assert "draft_n" not in without
    assert found["draft_n_model_accepted"] == found["draft_n_model"] == found["draft_n"] >= 20
    (worker,) = [each for each in gateway.status()["workers"] if each["model"] == "big"]
    assert worker["draft"]["model"] == "small"
    assert worker["draft"]["why_not"] is None
    assert 0 < worker["draft"]["memory_bytes"] < worker["rss_bytes"]
    assert "small drafts for big" in run_cli(gateway.home, "ps").stdout
    refused = run_cli(gateway.home, "models", "rm", "small", "--yes")
    assert refused.returncode == 1
    assert "small drafts for big in the running server; `mlxr stop big` unloads both." in refused.stderr
    with gateway.client() as client:
        deleted = client.delete("/v1/models/small")
        assert (deleted.status_code, deleted.json()["error"]["code"]) == (409, "model_in_use")
        assert "is loaded to draft for 'big'" in deleted.json()["error"]["message"]
        planned = client.get("/v1/mlxr/models/removal", params={"model": "small"}).json()
        assert (planned["loaded_on"], planned["drafts_for"]) == (["llamacpp"], ["big"])
    drafted = 'mlxr_drafted_tokens_total{engine="llamacpp",model="big",source="draft"}'
    with gateway.client() as client:
        assert drafted in client.get("/metrics").text


def test_without_its_file_the_model_runs_and_says_so(tmp_path: Path, make_home: Callable[[Path], Path]) -> None:
    with drafting(tmp_path, make_home) as gateway:
        (tmp_path / "small.gguf").unlink()
        text, found = timings(gateway, BODY)
        assert text
        assert "draft_n_model" not in found
        listed = run_cli(gateway.home, "ps").stdout
        assert "big runs without small, which is to draft for it: " in listed
        response = gateway.post("/v1/completions", BODY | {"mlxr": {"speculation": "draft"}})
        assert response.status_code == 400
        assert "gone" in response.json()["error"]["message"], "as the worker or, a moment later, the scan says"


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_lookups_give_the_same_answer_on_both_engines(gateway: GatewayProcess, engine: str) -> None:
    body = BODY | {"model": f"tiny@{engine}", "max_tokens": 60}
    plain, _ = timings(gateway, body, **{"X-Mlxr-Speculation": "off"})
    text, _ = timings(gateway, body, **{"X-Mlxr-Speculation": "lookup"})
    assert text == plain
