"""Registering adapters: real files of the tiny model, and others that must be refused."""

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from registry.adapters.registration import register_adapter
from registry.adapters.removal import remove_adapter
from registry.candidates import ScanRoot
from registry.discovery import register_path, scan
from registry.errors import (
    AdapterNotFoundError,
    ArtifactConflictError,
    ArtifactError,
    InvalidModelNameError,
    InvalidSettingError,
    ModelNotFoundError,
)
from registry.facts import ArtifactFormat
from registry.removal import remove_model
from registry.store import Registry
from registry.watch import what_changed
from tests.registry.gguf_builder import LLAMA_TENSORS, Tensor, Value, array, build, f32, llama_metadata, text, u32
from tests.support import tiny_adapter, tiny_model

WIDTH, RANK = tiny_model.WIDTH, tiny_adapter.RANK


@pytest.fixture
def registry(tmp_path: Path, tiny_gguf: Path, tiny_mlx: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "registry.sqlite3") as opened:
        register_path(opened, tiny_gguf, name="tiny")
        register_path(opened, tiny_mlx, name="tiny")
        yield opened


@pytest.fixture
def gguf_lora(tmp_path: Path) -> Path:
    return tiny_adapter.write_gguf_lora(tmp_path / "tiny-fox-lora-f32.gguf")


@pytest.fixture
def mlx_lora(tmp_path: Path) -> Path:
    return tiny_adapter.write_mlx_lora(tmp_path / "owl" / "adapters")


def refusal(registry: Registry, path: Path, base: str = "tiny") -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        register_adapter(registry, base, path)
    assert str(path) in str(caught.value), "the message names the file"
    assert registry.get_model(base).adapters == ()
    return caught.value


class TestFacts:
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
        assert registry.get_model("tiny").adapters == (gguf, mlx)
        (summary,) = registry.list_summaries()
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
        assert registry.get_model("tiny").adapters == (second,)
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
        (model,) = registry.list_models()
        assert list(model.adapters) == adapters


class TestBelonging:
    def test_it_goes_with_the_artifact_that_it_changes(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path, name="fox")
        registry.unlink("tiny", ArtifactFormat.MLX)
        assert [(item.name, item.engine) for item in registry.get_model("tiny-mlx").adapters] == [("fox", "mlx")]
        assert [(item.name, item.engine) for item in registry.get_model("tiny").adapters] == [("fox", "llamacpp")]
        registry.link("tiny-mlx", "tiny")
        assert [item.engine for item in registry.get_model("tiny").adapters] == ["llamacpp", "mlx"]
        assert registry.rename_model("tiny", "small").adapters[0].reference == "small+fox"

    def test_it_is_forgotten_with_its_base_and_its_files_stay(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path, tiny_gguf: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path)
        remove_model(registry, "tiny")
        assert registry.list_models() == ()
        assert register_path(registry, tiny_gguf, name="tiny").adapters == ()
        assert gguf_lora.exists()
        assert len(list(mlx_lora.iterdir())) == 2

    def test_one_engines_can_be_forgotten_with_its_files(
        self, registry: Registry, gguf_lora: Path, mlx_lora: Path
    ) -> None:
        for path in (gguf_lora, mlx_lora):
            register_adapter(registry, "tiny", path, name="fox")
        (gone,) = remove_adapter(registry, "tiny", "fox", engine="mlx", is_deleting_files=True)
        assert (gone.engine, mlx_lora.exists(), gguf_lora.exists()) == ("mlx", False, True)
        with pytest.raises(AdapterNotFoundError, match="It has: tiny\\+fox"):
            remove_adapter(registry, "tiny", "fox", engine="mlx")
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


def lora_file(path: Path, tensors: list[Tensor], **changes: Value | None) -> Path:
    """Write a GGUF adapter with anything in it."""
    metadata: dict[str | bytes, Value] = {
        "general.architecture": text("llama"),
        "general.type": text("adapter"),
        "adapter.type": text("lora"),
        "adapter.lora.alpha": f32(8.0),
    }
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del metadata[name]
        else:
            metadata[name] = value
    path.write_bytes(build(metadata, tensors))
    return path


def tensor_pair(
    name: str = "blk.0.attn_q.weight", a: tuple[int, ...] = (WIDTH, 4), b: tuple[int, ...] = (4, WIDTH)
) -> list[Tensor]:
    return [Tensor(f"{name}.lora_a".encode(), a), Tensor(f"{name}.lora_b".encode(), b)]


class TestHostileGGUF:
    def test_the_builder_itself_writes_adapters_that_fit(self, registry: Registry, tmp_path: Path) -> None:
        register_adapter(registry, "tiny", lora_file(tmp_path / "a.gguf", tensor_pair()))
        embedding = tensor_pair("token_embd.weight", a=(4, len(tiny_model.vocabulary())), b=(4, WIDTH))
        register_adapter(registry, "tiny", lora_file(tmp_path / "b.gguf", embedding))

    @pytest.mark.parametrize(
        ("tensors", "code", "words"),
        [
            (tensor_pair("blk.9.attn_q.weight"), "adapter_mismatch", "'blk.9.attn_q.weight', which tiny does not have"),
            (tensor_pair(a=(WIDTH * 2, 4)), "adapter_mismatch", f"128 x 4 and 4 x {WIDTH}, which do not fit"),
            (tensor_pair(b=(4, WIDTH * 2)), "adapter_mismatch", "do not fit"),
            (tensor_pair(a=(4, WIDTH), b=(WIDTH, 4)), "adapter_mismatch", "do not fit"),
            (tensor_pair(b=(8, WIDTH)), "bad_adapter", "cannot be multiplied"),
            (tensor_pair(a=(WIDTH,), b=(WIDTH,)), "bad_adapter", "cannot be multiplied"),
            (tensor_pair()[:1], "bad_adapter", "only one of two tensors"),
            ([*tensor_pair(), Tensor(b"blk.0.attn_q.weight", (4,))], "bad_adapter", "none of a LoRA"),
            ([], "bad_adapter", "no LoRA tensors"),
        ],
    )
    def test_tensors_that_do_not_fit(
        self, registry: Registry, tmp_path: Path, tensors: list[Tensor], code: str, words: str
    ) -> None:
        error = refusal(registry, lora_file(tmp_path / "a.gguf", tensors))
        assert error.code == code
        assert words in str(error)

    @pytest.mark.parametrize(
        ("changes", "code", "words"),
        [
            ({"general__architecture": text("qwen3")}, "adapter_mismatch", "'qwen3'; tiny is 'llama'"),
            ({"general__type": text("model")}, "not_an_adapter", "this is a model"),
            ({"general__type": None}, "not_an_adapter", "this is a model"),
            ({"adapter__type": text("control_vector")}, "unsupported_adapter", "control_vector"),
            ({"adapter__type": u32(1)}, "unsupported_adapter", "adapter.type"),
            ({"adapter__lora__alpha": u32(8)}, "bad_adapter", "alpha"),
            ({"adapter__lora__alpha": f32(float("inf"))}, "bad_adapter", "alpha"),
            ({"adapter__alora__invocation_tokens": array(4, [1, 2])}, "unsupported_adapter", "activated LoRA"),
        ],
    )
    def test_metadata_that_does_not_fit(
        self, registry: Registry, tmp_path: Path, changes: dict[str, Value | None], code: str, words: str
    ) -> None:
        error = refusal(registry, lora_file(tmp_path / "a.gguf", tensor_pair(), **changes))
        assert error.code == code
        assert words in str(error)

    def test_a_truncated_file_at_every_64th_byte(self, registry: Registry, gguf_lora: Path) -> None:
        whole = gguf_lora.read_bytes()
        for size in range(0, len(whole), 64):
            gguf_lora.write_bytes(whole[:size])
            refusal(registry, gguf_lora)

    def test_a_model_a_text_and_nothing(self, registry: Registry, tmp_path: Path, tiny_gguf: Path) -> None:
        assert refusal(registry, tiny_gguf).code == "not_an_adapter"
        (tmp_path / "notes.txt").write_text("no adapter")
        assert refusal(registry, tmp_path / "notes.txt").code == "bad_magic"
        assert refusal(registry, tmp_path / "absent.gguf").code == "not_found"

    def test_an_adapter_without_a_base_of_its_format(self, registry: Registry, mlx_lora: Path, tmp_path: Path) -> None:
        (tmp_path / "only.gguf").write_bytes(build(llama_metadata(), LLAMA_TENSORS))
        register_path(registry, tmp_path / "only.gguf", name="only")
        error = refusal(registry, mlx_lora, "only")
        assert error.code == "adapter_without_base"
        assert "mlxr models add PATH --name only" in str(error)


Edit = Callable[[Path], object]


def config_edit(**changes: Any) -> Edit:
    def edit(folder: Path) -> None:
        tiny_adapter.write_mlx_lora(folder, **changes)

    return edit


def parameters_edit(**changes: Any) -> Edit:
    parameters = {"rank": RANK, "scale": 2.0, "dropout": 0.0} | changes
    return config_edit(lora_parameters={key: value for key, value in parameters.items() if value is not None})


def tensors_edit(**tensors: tuple[int, ...]) -> Edit:
    def edit(folder: Path) -> None:
        named = {name.replace("__", "."): np.zeros(shape, np.float32) for name, shape in tensors.items()}
        save_file(named, folder / "adapters.safetensors")

    return edit


Q = "model__layers__0__self_attn__q_proj__"


class TestHostileMLX:
    @pytest.mark.parametrize(
        ("edit", "code", "words"),
        [
            (config_edit(fine_tune_type="full"), "unsupported_adapter", "mlx_lm.fuse"),
            (config_edit(peft_type="LORA"), "unsupported_adapter", "convert_lora_to_gguf.py"),
            (config_edit(num_layers="2"), "bad_adapter", "num_layers"),
            (config_edit(lora_parameters=None), "bad_adapter", "lora_parameters"),
            (parameters_edit(rank=0), "bad_adapter", "rank"),
            (parameters_edit(rank=8), "bad_adapter", "rank 8"),
            (parameters_edit(scale=None), "bad_adapter", "alpha / rank"),
            (parameters_edit(scale="2"), "bad_adapter", "scale"),
            (parameters_edit(dropout=None), "bad_adapter", "dropout"),
            (parameters_edit(keys="q_proj"), "bad_adapter", "keys"),
            (tensors_edit(**{Q + "lora_a": (WIDTH * 2, 4), Q + "lora_b": (4, WIDTH)}), "adapter_mismatch", "128 x 4"),
            (tensors_edit(**{Q + "lora_a": (WIDTH, 4)}), "bad_adapter", "only one of two"),
            (tensors_edit(**{Q + "weight": (WIDTH, 4)}), "bad_adapter", "none of a LoRA"),
            (
                tensors_edit(
                    model__layers__7__self_attn__q_proj__lora_a=(WIDTH, 4),
                    model__layers__7__self_attn__q_proj__lora_b=(4, WIDTH),
                ),
                "adapter_mismatch",
                "layer 7; tiny has 2 layers",
            ),
            (
                tensors_edit(
                    model__layers__0__mixer__in_proj__lora_a=(WIDTH, 4),
                    model__layers__0__mixer__in_proj__lora_b=(4, WIDTH),
                ),
                "adapter_mismatch",
                "which tiny does not have",
            ),
            (lambda folder: (folder / "adapters.safetensors").unlink(), "bad_adapter", "no adapters.safetensors"),
            (lambda folder: (folder / "adapter_config.json").unlink(), "not_an_adapter", "no adapter_config.json"),
            (lambda folder: (folder / "adapter_config.json").write_text("[]"), "bad_json", "JSON"),
            (
                lambda folder: (folder / "adapters.safetensors").write_bytes(struct.pack("<Q", 1 << 60)),
                "bad_safetensors",
                "header",
            ),
        ],
    )
    def test_folders_that_do_not_fit(
        self, registry: Registry, mlx_lora: Path, edit: Edit, code: str, words: str
    ) -> None:
        edit(mlx_lora)
        error = refusal(registry, mlx_lora)
        assert error.code == code
        assert words in str(error)

    def test_weights_that_are_cut_short(self, registry: Registry, mlx_lora: Path) -> None:
        file = mlx_lora / "adapters.safetensors"
        whole = file.read_bytes()
        for size in range(0, len(whole), 256):
            file.write_bytes(whole[:size])
            refusal(registry, mlx_lora)

    def test_a_model_folder_is_no_adapter(self, registry: Registry, tiny_mlx: Path) -> None:
        assert refusal(registry, tiny_mlx).code == "not_an_adapter"
