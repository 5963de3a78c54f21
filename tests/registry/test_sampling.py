"""What a model's makers recommend of sampling, as their files say it."""

import math
from pathlib import Path
from typing import Any

import pytest

from registry.checksums.verification import verify
from registry.facts import ArtifactFormat
from registry.mlx.folder import read_mlx_dir
from registry.sampling import RecommendedSampling
from registry.scan import register_path
from registry.store import Registry
from tests.registry.gguf_builder import Value, f32, llama_model
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.scan_steps import scan_plain, write

GGUF = {
    "general.sampling.temp": f32(0.6),
    "general.sampling.top_p": f32(0.95),
    "general.sampling.top_k": Value(5, 20),
    "general.sampling.min_p": f32(0.05),
    "general.sampling.penalty_repeat": f32(1.1),
    "general.sampling.mirostat": Value(5, 2),
}
ALL = {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1}


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (ALL | {"do_sample": True, "max_new_tokens": 5, "eos_token_id": [2, 3]}, ALL),
        ({"temperature": 0.6}, {"temperature": 0.6}),
        ({"temperature": 0.6, "do_sample": False}, {"temperature": 0.0}),
        ({"top_k": 0, "top_p": 1.5, "temperature": "warm", "min_p": None, "repetition_penalty": True}, {}),
        ({"temperature": math.nan, "top_p": math.inf, "min_p": -1, "top_k": 10**30}, {}),
        ({}, {}),
    ],
)
def test_reads_generation_config(said: dict[str, Any], read: dict[str, Any]) -> None:
    assert RecommendedSampling.of_generation_config(said).values == read


def test_both_formats_are_read_with_their_other_facts(store: Registry, models: Path) -> None:
    gguf = write(models / "a.gguf", llama_model(**GGUF))
    mlx = write_mlx_dir(models / "b", extra={"generation_config.json": '{"temperature": 0.3, "top_k": 7}'})
    assert register_path(store, gguf, name="m").recommended_sampling.values == ALL
    model = register_path(store, mlx, name="m")
    assert model.recommended_sampling.values == {"temperature": 0.3, "top_k": 7}, "the makers' own file goes first"
    assert model.recommended_sampling.source == "generation_config.json"
    silent = write_mlx_dir(models / "c")
    (facts,) = (read_mlx_dir(silent).sampling,)
    assert facts is not None
    assert facts.values == {}


def test_what_an_older_mlxr_read_is_read_again_by_the_next_scan(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf", llama_model(**GGUF))
    scan_plain(store, models)
    (model,) = store.models.list()
    with store.write():
        store.rows("UPDATE artifacts SET facts = json_remove(facts, '$.sampling', '$.vision')")
    assert store.models.get(model.name).recommended_sampling.values == {}
    assert scan_plain(store, models).updated == (str(path),)
    artifact = store.models.get(model.name).artifacts[0]
    assert artifact.format is ArtifactFormat.GGUF
    assert artifact.facts.sampling is not None
    assert artifact.facts.sampling.values == ALL
    assert scan_plain(store, models).num_unchanged == 1


def test_what_an_older_mlxr_read_is_not_damaged(store: Registry, models: Path) -> None:
    (artifact,) = register_path(store, write(models / "a.gguf", llama_model(**GGUF)), name="a").artifacts
    with store.write():
        store.rows("UPDATE artifacts SET facts = json_remove(facts, '$.sampling')")
    (artifact,) = store.models.get("a").artifacts
    assert verify(store, artifact).state == "ok"
