"""Registering adapters: real files of the tiny model, and others that must be refused."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from registry.adapters.registration import register_adapter, remove_adapter
from registry.checksums.hashing import hash_artifact, pending_hashes
from registry.engines import EngineKind
from registry.errors import (
    AdapterNotFoundError,
    ArtifactConflictError,
    ArtifactError,
    InvalidModelNameError,
    InvalidSettingError,
    ModelNotFoundError,
)
from registry.facts import ArtifactFormat
from registry.removing.removal import remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.scan.watch import what_changed
from registry.store import Registry
from tests.support import tiny_adapter, tiny_model

WIDTH, RANK = tiny_model.WIDTH, tiny_adapter.RANK


@pytest.fixture
def registry(tmp_path: Path, tiny_gguf: Path, tiny_mlx: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3") as opened:
        register_path(opened, tiny_gguf, name="tiny")
        register_path(opened, tiny_mlx, name="tiny")
        yield opened


@pytest.fixture
def gguf_lora(tmp_path: Path) -> Path:
    return tiny_adapter.write_gguf_lora(tmp_path / "tiny-fox-lora-f32.gguf")


@pytest.fixture
def mlx_lora(tmp_path: Path) -> Path:
    return tiny_adapter.write_mlx_lora(tmp_path / "owl" / "adapters")


def hash_all(registry: Registry) -> None:
    for task in pending_hashes(registry):
        hash_artifact(registry, task)


class TestFacts:
    def test_dora_is_told_apart(self, registry: Registry, tmp_path: Path) -> None:
        matrices = tiny_adapter.pairs()
        magnitudes = {name: np.ones(len(b), np.float32) for name, (_, b) in matrices.items()}
        adapter = register_adapter(registry, "tiny", tiny_adapter.write_mlx_dora(tmp_path / "d", matrices, magnitudes))
        assert (adapter.facts.method, adapter.facts.rank) == ("dora", RANK)
        assert adapter.facts.num_tensors == 3 * len(matrices)

    def test_both_forms_say_the_same_of_the_same_matrices(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        gguf, mlx = (register_adapter(registry, "tiny", path, name="fox") for path in (gguf_lora, mlx_lora))
        assert (gguf.engine, mlx.engine) == ("llamacpp", "mlx")
        assert gguf.reference == mlx.reference == "tiny+fox"
        for facts in (gguf.facts, mlx.facts):
            assert (facts.method, facts.rank, facts.scale, facts.alpha) == ("lora", RANK, 2.0, 8.0)
            assert facts.num_tensors == 2 * tiny_model.NUM_LAYERS * len(tiny_adapter.TARGETS)
            assert facts.weight_bytes == 4 * facts.num_weights
        assert gguf.facts.num_weights == mlx.facts.num_weights
        assert (gguf.facts.architecture, mlx.facts.architecture) == ("llama", None)
        assert gguf.size_bytes == gguf_lora.stat().st_size
        assert mlx.size_bytes == sum(file.stat().st_size for file in mlx_lora.iterdir())
        assert registry.models.get("tiny").adapters == (gguf, mlx)
        (summary,) = registry.models.summaries()
        assert summary.adapters == (("fox", "llamacpp"), ("fox", "mlx"))

    def test_an_alpha_of_zero_means_a_scale_of_one(self, registry: Registry, tmp_path: Path) -> None:
        path = tiny_adapter.write_gguf_lora(tmp_path / "a.gguf", alpha=0.0)
        assert register_adapter(registry, "tiny", path).facts.scale == 1.0

    def test_names_come_from_the_file_or_the_folder(self, registry: Registry, gguf_lora: Path, mlx_lora: Path) -> None:
        assert register_adapter(registry, "tiny", gguf_lora).name == "tiny-fox-lora"
        assert register_adapter(registry, "tiny", mlx_lora).name == "owl"

    def test_an_adapter_over_a_packed_base_is_compared_with_what_it_unpacks_to(
        self, registry: Registry, tmp_path: Path, tiny_mlx: Path, mlx_lora: Path
    ) -> None:
        packed = packed_copy(tiny_mlx, tmp_path / "packed")
        register_path(registry, packed, name="packed")
        assert register_adapter(registry, "packed", mlx_lora).name == "owl"
        wide = {"blk.0.attn_q": (np.zeros((RANK, WIDTH * 2), np.float32), np.zeros((WIDTH, RANK), np.float32))}
        with pytest.raises(ArtifactError, match=f"do not fit {WIDTH} x {WIDTH} of packed"):
            register_adapter(registry, "packed", tiny_adapter.write_mlx_lora(tmp_path / "wide", wide))


def packed_copy(folder: Path, target: Path) -> Path:
    """Write what a 4-bit quantization's header says, with zeros for data."""
    target.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (target / name).write_bytes((folder / name).read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(config | {"quantization": {"bits": 4, "group_size": 32}}))
    tensors: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensor in tiny_model.weights().items():
        module = tiny_model.mlx_name(name).removesuffix(".weight")
        if tensor.ndim == 1:
            tensors[f"{module}.weight"] = tensor
            continue
        rows, columns = tensor.shape
        tensors[f"{module}.weight"] = np.zeros((rows, columns // 8), np.uint32)
        tensors |= {f"{module}.{leaf}": np.zeros((rows, columns // 32), np.float16) for leaf in ("scales", "biases")}
    save_file(tensors, target / "model.safetensors")
    return target


class TestRegistering:
    def test_again_with_the_same_path_takes_what_is_there_now(self, registry: Registry, gguf_lora: Path) -> None:
        first = register_adapter(registry, "tiny", gguf_lora, name="fox")
        assert what_changed(first) is None
        tiny_adapter.write_gguf_lora(gguf_lora, alpha=4.0)
        os.utime(gguf_lora, ns=(1, 1))
        assert what_changed(first) == f"{gguf_lora} was changed"
        second = register_adapter(registry, "tiny", gguf_lora, name="fox", scale=-0.5)
        assert (second.facts.scale, second.scale, what_changed(second)) == (1.0, -0.5, None)
        assert registry.models.get("tiny").adapters == (second,)
        gguf_lora.unlink()
        assert what_changed(second) == f"{gguf_lora} is gone"

    def test_a_name_stands_for_one_adapter_of_an_engine(
        self, registry: Registry, gguf_lora: Path, tmp_path: Path
    ) -> None:
        register_adapter(registry, "tiny", gguf_lora, name="fox")
        other = tiny_adapter.write_gguf_lora(tmp_path / "other.gguf")
        with pytest.raises(ArtifactConflictError, match="mlxr models adapter rm tiny\\+fox"):
            register_adapter(registry, "tiny", other, name="fox")

    @pytest.mark.parametrize(
        ("base", "options", "error"),
        [
            ("nobody", {}, ModelNotFoundError),
            ("tiny", {"name": "Fox!"}, InvalidModelNameError),
            ("tiny", {"name": "a+b"}, InvalidModelNameError),
            ("tiny", {"scale": float("nan")}, InvalidSettingError),
            ("tiny", {"scale": 1e6}, InvalidSettingError),
        ],
    )
    def test_refuses_what_cannot_be_meant(
        self, registry: Registry, gguf_lora: Path, base: str, options: dict[str, Any], error: type[Exception]
    ) -> None:
        with pytest.raises(error):
            register_adapter(registry, base, gguf_lora, **options)

    def test_a_scan_lists_it_as_no_model_and_leaves_it_registered(
        self, registry: Registry, tmp_path: Path, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        adapters = [register_adapter(registry, "tiny", path, name="fox") for path in (gguf_lora, mlx_lora)]
        report = scan(registry, [ScanRoot(path=tmp_path)])
        assert [(item.path, item.code) for item in report.skipped] == [(str(gguf_lora), "lora")]
        assert "mlxr models adapter add" in report.skipped[0].reason
        assert report.failed == ()
        (model,) = registry.models.list()
        assert list(model.adapters) == adapters


class TestBelonging:
    def test_it_goes_along_when_equal_models_become_one(
        self, registry: Registry, gguf_lora: Path, tiny_gguf: Path
    ) -> None:
        twin = tiny_gguf.read_bytes()
        path = gguf_lora.with_name("twin.gguf")
        path.write_bytes(twin)
        register_path(registry, path, name="twin")
        register_adapter(registry, "twin", gguf_lora, name="fox")
        hash_all(registry)
        assert registry.models.get("twin").name == "tiny"
        assert [item.reference for item in registry.models.get("tiny").adapters] == ["tiny+fox"]

    def test_equal_models_stay_apart_where_one_adapter_would_be_lost(
        self, registry: Registry, gguf_lora: Path, tiny_gguf: Path
    ) -> None:
        path = gguf_lora.with_name("twin.gguf")
        path.write_bytes(tiny_gguf.read_bytes())
        register_path(registry, path, name="twin")
        other = tiny_adapter.write_gguf_lora(gguf_lora.with_name("other.gguf"), alpha=1.0)
        for base, adapter in (("tiny", gguf_lora), ("twin", other)):
            register_adapter(registry, base, adapter, name="fox")
        hash_all(registry)
        assert [model.name for model in registry.models.list()] == ["tiny", "twin"]
        assert [model.adapters[0].path for model in registry.models.list()] == [str(gguf_lora), str(other)]

    def test_it_goes_with_the_artifact_that_it_changes(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path, name="fox")
        registry.models.unlink("tiny", ArtifactFormat.MLX)
        assert [(item.name, item.engine) for item in registry.models.get("tiny-mlx").adapters] == [("fox", "mlx")]
        assert [(item.name, item.engine) for item in registry.models.get("tiny").adapters] == [("fox", "llamacpp")]
        registry.models.link("tiny-mlx", "tiny")
        assert [item.engine for item in registry.models.get("tiny").adapters] == ["llamacpp", "mlx"]
        assert registry.models.rename("tiny", "small").adapters[0].reference == "small+fox"

    def test_it_is_forgotten_with_its_base_and_its_files_stay(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path, tiny_gguf: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path)
        remove_model(registry, "tiny")
        assert registry.models.list() == ()
        assert register_path(registry, tiny_gguf, name="tiny").adapters == ()
        assert gguf_lora.exists()
        assert len(list(mlx_lora.iterdir())) == 2

    def test_one_engines_can_be_forgotten_with_its_files(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path, name="fox")
        (gone,) = remove_adapter(registry, "tiny", "fox", engine=EngineKind.MLX, is_deleting_files=True)
        assert (gone.engine, mlx_lora.exists(), gguf_lora.exists()) == ("mlx", False, True)
        with pytest.raises(AdapterNotFoundError, match="It has: tiny\\+fox"):
            remove_adapter(registry, "tiny", "fox", engine=EngineKind.MLX)
        remove_adapter(registry, "tiny", "fox")
        with pytest.raises(AdapterNotFoundError, match="It has none"):
            remove_adapter(registry, "tiny", "fox")
        assert gguf_lora.exists()

    def test_files_that_another_model_needs_stay(self, registry: Registry, gguf_lora: Path, tmp_path: Path) -> None:
        register_path(registry, tiny_model.write_gguf(tmp_path / "twin.gguf", seed=3), name="twin")
        for base in ("tiny", "twin"):
            register_adapter(registry, base, gguf_lora, name="fox")
        remove_adapter(registry, "tiny", "fox", is_deleting_files=True)
        assert gguf_lora.exists()
