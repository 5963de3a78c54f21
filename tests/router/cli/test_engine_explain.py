"""`mlxr engine explain`, without a server; the server's own answer is tested with the route."""

import json
import time
from pathlib import Path

import msgspec
import pytest

from registry.engines import EngineKind
from registry.store import Registry
from router.bench.machine.machine import machine_id
from router.config.paths import Paths
from router.models.auto.learning import installed_versions
from tests.router.cli.conftest import Mlxr
from tests.router.models.auto.histories import compared, contestant


@pytest.fixture
def model(mlxr: Mlxr, tiny_gguf: Path, tiny_mlx: Path) -> str:
    for path in (tiny_gguf, tiny_mlx):
        assert mlxr("models", "add", str(path), "--name", "some-model").exit_code == 0
    return "some-model"


def measure(paths: Paths, model: str) -> None:
    """Put a run on this machine into the history: mlx prefills quicker, llamacpp decodes quicker."""
    with Registry(paths.registry_db) as registry:
        versions = {artifact.engine: artifact.version for artifact in registry.models.get(model).artifacts}
        contestants = tuple(
            contestant(engine, artifact_version=versions[engine], engine_versions=installed_versions()[engine])
            for engine in (EngineKind.LLAMACPP, EngineKind.MLX)
        )
        for number in range(2):
            run = compared(
                (200.0, 100.0),
                (5000.0, 20.0),
                contestants=contestants,
                machine_id=machine_id(),
                created_at=time.time(),
                bench_id=f"b-{number}",
                load_ms=(100.0, 100.0),
            )
            registry.benches.add(msgspec.structs.replace(run, model=model))


def test_without_figures_it_says_so_and_how_to_get_them(mlxr: Mlxr, model: str) -> None:
    result = mlxr("engine", "explain", model)
    assert result.exit_code == 0
    assert "auto: llamacpp has an artifact" in result.out
    assert "have not been compared on this machine" in result.out
    assert f"mlxr bench {model}" in result.out


def test_with_figures_it_shows_them_and_the_choice_hangs_on_the_prompt(mlxr: Mlxr, paths: Paths, model: str) -> None:
    measure(paths, model)
    long, short = (
        json.loads(mlxr("engine", "explain", model, "--prompt-tokens", tokens, "--answer-tokens", "20", "--json").out)
        for tokens in ("4000", "30")
    )
    assert (long["engine"], short["engine"]) == ("mlx", "llamacpp")
    assert long["engines"][0]["total_s"] == pytest.approx(0.1 + 4000 / 5000 + 1.0)
    shown = mlxr("engine", "explain", model, "--prompt-tokens", "4000").out
    assert "5000.0" in shown
    assert "today, 12 requests" in shown
    assert "mlxr bench" not in shown


def test_a_selector_shows_all_models_with_what_it_goes_by(mlxr: Mlxr, paths: Paths, model: str) -> None:
    measure(paths, model)
    mlxr("models", "set", model, "tags=work")
    shown = mlxr("engine", "explain", "auto:work").out
    head, row = shown.splitlines()[:2]
    assert head.split() == ["MODEL", "TAGS", "PARAMETERS", "SEES", "TOOLS", "LOADED", "TOKENS/S", "USED", "WHY", "NOT"]
    assert row.split()[:2] == [model, "work"]
    assert "100.0" in row
    assert "auto:work, tagged work: it is the only one" in shown
    found = json.loads(mlxr("engine", "explain", "auto:work", "--json").out)
    assert (found["model"], found["selection"]["selector"]) == (model, "auto:work")
    assert "no model here is tagged home" in mlxr("engine", "explain", "auto:home").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain",), "Which model?"),
        (("explain", "nobody"), "nobody"),
        (("explain", "some-model", "--model", "x"), "has no --model"),
        (("explain", "some-model", "--prompt-tokens", "many"), "prompt_tokens"),
        (("mlx", "some-model"), "Only `mlxr engine explain MODEL`"),
    ],
)
def test_what_means_nothing_is_refused_in_one_sentence(
    mlxr: Mlxr, model: str, arguments: tuple[str, ...], said: str
) -> None:
    del model
    result = mlxr("engine", *arguments)
    assert result.exit_code == 1
    assert said in result.err
    assert result.err.count("\n") == 1
