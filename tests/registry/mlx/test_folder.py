import json
import math
import os
import re
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ArtifactError, MLXDirError
from registry.facts import ModelFacts, ModelKind
from registry.mlx.config import read_chat_template
from registry.mlx.folder import read_mlx_dir
from tests.registry.mlx_builder import CONFIG, LFS_POINTER, TENSORS, safetensors, write_mlx_dir


def test_reads_the_facts_of_a_float_folder(tmp_path: Path) -> None:
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m"))
    assert facts.loadable, facts.reasons
    assert facts.kind is ModelKind.MODEL
    assert facts.architecture == "llama"
    assert facts.parameter_count == 5 * 64 + 64
    assert facts.context_length == 2048
    assert facts.quantization is not None
    assert (facts.quantization.label, facts.quantization.bits_per_weight) == ("F32", 32.0)
    assert facts.kv is not None
    assert facts.kv.kv_bytes_per_token(2) == 256
    assert facts.tokenizer is not None
    assert facts.tokenizer.eos_token_ids == (2, 3)
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts


def test_packed_weights_count_as_what_they_unpack_to(tmp_path: Path) -> None:
    tensors = {
        # 64 wide, 4 bits: 8 words and 2 groups of 32 a row
        "model.embed_tokens.weight": ("U32", (5, 8)),
        "model.embed_tokens.scales": ("F32", (5, 2)),
        "model.embed_tokens.biases": ("F32", (5, 2)),
        # 8 bits, by its own entry: 16 words a row
        "lm_head.weight": ("U32", (5, 16)),
        "lm_head.scales": ("F32", (5, 2)),
        "lm_head.biases": ("F32", (5, 2)),
        "model.norm.weight": ("F32", (64,)),
    }
    quantization = {"group_size": 32, "bits": 4, "lm_head": {"group_size": 32, "bits": 8}}
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config={"quantization": quantization}, tensors=tensors))
    assert facts.parameter_count == 5 * 64 + 5 * 64 + 64
    assert facts.quantization is not None
    assert facts.quantization.label == "4bit-g32"
    assert not facts.quantization.has_disagreement
    num_bytes = 5 * 8 * 4 + 5 * 16 * 4 + 4 * 5 * 2 * 4 + 64 * 4
    assert facts.weight_bytes == num_bytes
    assert facts.quantization.bits_per_weight == round(num_bytes * 8 / facts.parameter_count, 3)


def test_a_config_that_claims_what_the_tensors_are_not_is_a_disagreement(tmp_path: Path) -> None:
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config={"quantization": {"group_size": 64, "bits": 4}}))
    assert facts.quantization is not None
    assert facts.quantization.has_disagreement


def test_reads_all_shards_of_an_index(tmp_path: Path) -> None:
    folder = write_mlx_dir(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    names = [f"model-0000{index}-of-00002.safetensors" for index in (1, 2)]
    for name, (key, value) in zip(names, TENSORS.items(), strict=True):
        (folder / name).write_bytes(safetensors({key: value}))
    weight_map = dict(zip(TENSORS, names, strict=True))
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert read_mlx_dir(folder).parameter_count == 384
    (folder / names[1]).unlink()
    with pytest.raises(MLXDirError) as caught:
        read_mlx_dir(folder)
    assert caught.value.code == "incomplete"


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/b.safetensors", "..", "", "a\\b", "x\0y"])
def test_an_index_may_not_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    """Diffusers CVE-2026-65920: weight_map reads any file."""
    index = json.dumps({"weight_map": {"w": name}})
    folder = write_mlx_dir(tmp_path / "m", extra={"model.safetensors.index.json": index})
    with pytest.raises(MLXDirError) as caught:
        read_mlx_dir(folder)
    assert caught.value.code == "index_escapes"


@pytest.mark.parametrize(
    ("config", "extra", "words"),
    [
        ({"model_file": "evil.py"}, {}, "model_file"),
        ({"auto_map": {"AutoModel": "modeling_x.X"}}, {"modeling_x.py": ""}, r"modeling_x\.py"),
        ({"auto_map": {"AutoTokenizer": [None, "org/repo--tok.T"]}}, {"tok.py": ""}, r"tok\.py"),
        ({}, {"tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["tok.T", null]}}', "tok.py": ""}, r"tok\.py"),
        ({"model_type": None}, {}, "model_type"),
        ({"num_hidden_layers": 0}, {}, "num_hidden_layers"),
    ],
)
def test_says_why_a_folder_is_not_loadable(
    tmp_path: Path, config: dict[str, Any], extra: dict[str, str], words: str
) -> None:
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config=config, extra=extra))
    assert not facts.loadable
    assert any(re.search(words, reason) for reason in facts.reasons), facts.reasons


def test_a_reference_to_code_that_is_not_there_is_harmless(tmp_path: Path) -> None:
    assert read_mlx_dir(write_mlx_dir(tmp_path / "m", config={"auto_map": {"AutoModel": "modeling_x.X"}})).loadable


def test_a_folder_without_tokenizer_is_not_loadable(tmp_path: Path) -> None:
    folder = write_mlx_dir(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    assert "no tokenizer" in read_mlx_dir(folder).reasons[0]


def _pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _deep_config(folder: Path) -> None:
    (folder / "config.json").write_text("[" * 100_000)


def _list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _binary_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(b'{"a": "\xff"}')


def _large_config(folder: Path) -> None:
    (folder / "config.json").write_text(" " * ((4 << 20) + 1))


def _npz(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "weights.npz")


def _lfs_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(LFS_POINTER)


def _lfs_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(LFS_POINTER)


def _fifo_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_pickles, "pickle_weights"),
        (_npz, "npz_weights"),
        (_lfs_weights, "lfs_pointer"),
        (_lfs_config, "lfs_pointer"),
        (_no_weights, "no_weights"),
        (_no_config, "no_config"),
        (_deep_config, "bad_json"),
        (_list_config, "bad_json"),
        (_binary_config, "bad_json"),
        (_large_config, "too_large"),
        (_fifo_config, "not_a_regular_file"),
    ],
)
def test_refuses_a_spoilt_folder(tmp_path: Path, spoil: Any, code: str) -> None:
    folder = write_mlx_dir(tmp_path / "m")
    spoil(folder)
    with pytest.raises(ArtifactError) as caught:
        read_mlx_dir(folder)
    assert caught.value.code == code


def entry(dtype: Any = "F32", shape: Any = (1,), data_offsets: Any = (0, 4)) -> bytes:
    header = json.dumps({"w": {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        struct.pack("<Q", (1 << 64) - 1),
        struct.pack("<Q", 1 << 30) + b"{}",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 2) + b"{",
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        struct.pack("<Q", 200_005) + b'{"w":' + b'{"a":' * 40_000,
        entry(dtype="F31"),
        entry(shape=(2,)),
        entry(shape=(-1, -1)),
        entry(shape=(1 << 62, 1 << 62)),
        entry(shape="x"),
        entry(data_offsets=(0, 8), shape=(2,)),
        entry(data_offsets=(4, 0)),
        entry(data_offsets=(-4, 0)),
        entry(data_offsets=(0, 1 << 70)),
        entry(data_offsets=(0,)),
        safetensors(TENSORS)[:-1],
    ],
)
def test_refuses_malformed_safetensors(tmp_path: Path, data: bytes) -> None:
    folder = write_mlx_dir(tmp_path / "m")
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(MLXDirError) as caught:
        read_mlx_dir(folder)
    assert caught.value.code == "bad_safetensors"
    assert caught.value.file == "model.safetensors"


def test_every_truncation_of_a_safetensors_file_is_an_error(tmp_path: Path) -> None:
    folder = write_mlx_dir(tmp_path / "m")
    data = safetensors(TENSORS)
    for size in range(len(data)):
        (folder / "model.safetensors").write_bytes(data[:size])
        with pytest.raises(MLXDirError):
            read_mlx_dir(folder)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(
    key=st.sampled_from([*CONFIG, "quantization", "auto_map", "text_config", "rope_scaling", "layer_types"]),
    value=_JSON,
)
def test_any_value_in_config_gives_facts_or_our_error(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: object
) -> None:
    folder = write_mlx_dir(tmp_path_factory.mktemp("mlx"), config={key: value})
    try:
        facts = read_mlx_dir(folder)
    except ArtifactError:
        return
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts


@pytest.mark.parametrize(
    ("extra", "template"),
    [
        ({"tokenizer_config.json": '{"chat_template": "a"}'}, "a"),
        ({"tokenizer_config.json": '{"chat_template": "a"}', "chat_template.jinja": "b"}, "b"),
        ({"chat_template.json": '{"chat_template": "c"}'}, "c"),
        ({"tokenizer_config.json": '{"chat_template": "a"}', "chat_template.json": '{"chat_template": "c"}'}, "a"),
        (
            {
                "tokenizer_config.json": json.dumps(
                    {"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}
                )
            },
            "d",
        ),
        ({"tokenizer_config.json": '{"chat_template": 7}'}, None),
        ({"chat_template.jinja": "x" * ((1 << 20) + 1)}, None),
        ({}, None),
    ],
)
def test_finds_the_chat_template(tmp_path: Path, extra: dict[str, str], template: str | None) -> None:
    assert read_chat_template(write_mlx_dir(tmp_path / "m", extra=extra)) == template


def test_numbers_that_only_pythons_json_has_are_read(tmp_path: Path) -> None:
    """Configs of Mamba 2 have `"time_step_limit": [0.0, Infinity]`."""
    config = {"time_step_limit": [0.0, math.inf, math.nan], "max_position_embeddings": -math.inf}
    odd = json.dumps({"chat_template": "a", "x": math.inf})
    index = json.dumps({"metadata": {"total_size": math.nan}, "weight_map": {}})
    extra = {"tokenizer_config.json": odd, "generation_config.json": odd, "model.safetensors.index.json": index}
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config=config, extra=extra))
    assert facts.loadable
    assert facts.context_length is None
    assert facts.chat_template is not None


def test_a_vision_models_language_config_is_found(tmp_path: Path) -> None:
    text_config = {"num_hidden_layers": 7, "num_attention_heads": 2, "hidden_size": 32}
    config = {"text_config": text_config, "num_hidden_layers": None, "num_attention_heads": None, "hidden_size": None}
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config=config))
    assert facts.kv is not None
    assert facts.kv.num_layers == 7
    assert facts.embedding_length == 32
