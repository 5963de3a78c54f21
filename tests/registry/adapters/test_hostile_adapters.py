"""Adapters that must be refused: broken, of another kind, for another model. Messages name file and reason."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from registry.adapters.registration import register_adapter
from registry.errors import ArtifactError
from registry.scan import register_path
from registry.store import Registry
from tests.registry.gguf_builder import LLAMA_TENSORS, Tensor, Value, array, build, f32, llama_metadata, text, u32
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


def refusal(registry: Registry, path: Path, base: str = "tiny") -> ArtifactError:
    with pytest.raises(ArtifactError) as caught:
        register_adapter(registry, base, path)
    assert str(path) in str(caught.value), "the message names the file"
    assert registry.models.get(base).adapters == ()
    return caught.value


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
        assert {adapter.name for adapter in registry.models.get("tiny").adapters} == {"a", "b"}

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
