"""From the headers of a GGUF model's files to ModelFacts.

Not here: the judgement whether llama.cpp loads the file (`judge.py`), and finding files: a path is never taken from a
header.

Source: ggml, docs/gguf.md, "Standardized key-value pairs"; llama.cpp's llama-model.cpp where it decides a default.
"""

from collections.abc import Sequence

import msgspec

from registry.errors import ArtifactError
from registry.facts import (
    ArtifactFormat,
    ChatTemplateFacts,
    KVGeometry,
    MemoryFacts,
    ModelFacts,
    ModelKind,
    Provenance,
    Quantization,
    SplitFacts,
    TokenizerFacts,
    clean_text,
)
from registry.gguf.constants import (
    EMBEDDING_ARCHITECTURES,
    FILE_TYPE_GUESSED,
    FILE_TYPES,
    MAX_BLOCKS,
    MAX_INT32,
    POOLING_TYPES,
    TYPE_LABELS,
)
from registry.gguf.header import GGUFHeader
from registry.gguf.judge import reasons_not_loadable, warnings_for
from registry.gguf.tensors import TensorTypeTotals
from registry.sampling import RecommendedSampling

_FLOAT_BYTES = 4


def facts_from_headers(headers: Sequence[GGUFHeader]) -> ModelFacts:
    """Give the facts of a model from the headers of all its files.

    Source: llama.cpp, llama-model-loader.cpp: loads the file with split.no 0 and derives the other names from its
    prefix; checks each file's number, and the tensor total against split.tensors.count.

    Args:
        headers: In the order of the file names; one for a model in one file.

    Raises:
        ArtifactError: bad_split: the headers do not say that the files are this set, in this order.
    """
    first = facts_from_header(headers[0])
    if len(headers) == 1:
        if first.split is None:
            return first
        reason = f"this is file {first.split.number + 1} of a set of {first.split.count}; its name does not say so"
        return msgspec.structs.replace(first, loadable=False, reasons=(*first.reasons, reason))
    for index, header in enumerate(headers):
        number, count = header.metadata.get("split.no"), header.metadata.get("split.count")
        if number != index or count != len(headers):
            raise ArtifactError(
                "bad_split", f"file {index + 1} of {len(headers)} says that it is number {number} (from 0) of {count}"
            )
    num_tensors = sum(header.num_tensors for header in headers)
    expected = first.split.num_tensors if first.split is not None else None
    if expected is not None and expected != num_tensors:
        raise ArtifactError("bad_split", f"the files have {num_tensors} tensors together; they announce {expected}")
    tensor_types = _merge([header.tensor_types for header in headers])
    file_type = headers[0].metadata.get("general.file_type")
    return msgspec.structs.replace(
        first,
        parameter_count=sum(header.parameter_count for header in headers),
        weight_bytes=sum(header.data_bytes for header in headers),
        num_tensors=num_tensors,
        memory=_memory(headers[0], tensor_types),
        quantization=quantization_of(file_type if isinstance(file_type, int) else None, tensor_types),
    )


def facts_from_header(header: GGUFHeader) -> ModelFacts:
    """Give the facts of one GGUF file; of a split set, of this file alone."""
    kind = _kind(header)
    reasons = tuple(reasons_not_loadable(header, kind))
    template, pooling = header.chat_template, header.arch_integer("pooling_type")
    return ModelFacts(
        format=ArtifactFormat.GGUF,
        architecture=clean_text(header.architecture),
        kind=kind,
        parameter_count=header.parameter_count,
        weight_bytes=header.data_bytes,
        num_tensors=header.num_tensors,
        quantization=quantization_of(header.integer("general.file_type"), header.tensor_types),
        context_length=header.arch_integer("context_length"),
        embedding_length=header.arch_integer("embedding_length"),
        vocabulary_size=header.array_length("tokenizer.ggml.tokens") or header.arch_integer("vocab_size"),
        num_experts=header.arch_integer("expert_count") or None,
        num_experts_used=header.arch_integer("expert_used_count") or None,
        kv=_kv_geometry(header),
        memory=_memory(header, header.tensor_types),
        chat_template=None if template is None else ChatTemplateFacts.from_text(template),
        sampling=RecommendedSampling.of_gguf(header.metadata),
        tokenizer=_tokenizer(header),
        pooling_type=None if pooling is None else POOLING_TYPES.get(pooling),
        rope_scaling_type=header.arch_text("rope.scaling.type"),
        split=_split(header),
        provenance=Provenance(**{name: header.text(f"general.{name}") for name in Provenance.__struct_fields__}),
        loadable=not reasons,
        reasons=reasons,
        warnings=tuple(warnings_for(header)),
    )


def quantization_of(file_type: int | None, tensor_types: dict[str, TensorTypeTotals]) -> Quantization | None:
    """Name the quantization, from what the file says and from what its tensors are; None when neither says anything.

    llama.cpp takes the most frequent tensor type when `general.file_type` is absent. So do we, among matrices only:
    norms and biases stay F32 in every file and are the majority in some architectures.

    Args:
        tensor_types: Type name -> totals.
    """
    said = None if file_type is None else FILE_TYPES.get(file_type & ~FILE_TYPE_GUESSED)
    totals = {name: total for name, total in tensor_types.items() if total.num_matrices} or tensor_types
    seen = max(totals, key=lambda name: (totals[name].num_matrices, totals[name].num_tensors), default=None)
    from_tensors = None if seen is None else TYPE_LABELS.get(seen, seen)
    label = said[0] if said is not None else from_tensors
    if label is None:
        return None
    num_elements = sum(total.num_elements for total in tensor_types.values())
    size_bytes = sum(total.size_bytes for total in tensor_types.values())
    return Quantization(
        label=label,
        from_file_type=None if said is None else said[0],
        from_tensors=from_tensors,
        has_disagreement=(file_type is not None and said is None)
        or (said is not None and seen is not None and seen not in said[1]),
        bits_per_weight=round(size_bytes * 8 / num_elements, 3) if num_elements else None,
    )


def _merge(parts: Sequence[dict[str, TensorTypeTotals]]) -> dict[str, TensorTypeTotals]:
    merged: dict[str, TensorTypeTotals] = {}
    for part in parts:
        for name, totals in part.items():
            merged.setdefault(name, TensorTypeTotals()).add(*msgspec.structs.astuple(totals))
    return merged


def _kind(header: GGUFHeader) -> ModelKind:
    kind = header.text("general.type")
    architecture = header.architecture
    if kind == "imatrix":
        return ModelKind.IMATRIX
    if kind == "adapter":
        return ModelKind.LORA
    if architecture == "clip" or kind == "mmproj":
        return ModelKind.MMPROJ
    if header.num_tensors == 0 and "tokenizer.ggml.tokens" in header.arrays:
        return ModelKind.VOCAB_ONLY
    if architecture in EMBEDDING_ARCHITECTURES or (header.arch_integer("pooling_type") or 0) > 0:
        return ModelKind.EMBEDDING
    return ModelKind.MODEL


def _kv_geometry(header: GGUFHeader) -> KVGeometry | None:
    num_layers = header.arch_integer("block_count")
    if num_layers is None or not 0 < num_layers <= MAX_BLOCKS:
        return None
    heads = header.arch_integers("attention.head_count", num_layers)
    # Source: llama-model.cpp: "n_head_kv is optional, if not set, assume it is equal to n_head".
    kv_heads = header.arch_integers("attention.head_count_kv", num_layers) or heads
    if heads is None or kv_heads is None or max(kv_heads) > MAX_INT32 or min(kv_heads) < 0:
        return None
    embedding_length = header.arch_integer("embedding_length")
    default = embedding_length // max(heads) if embedding_length and max(heads) > 0 else None
    key_length = header.arch_integer("attention.key_length") or default
    value_length = header.arch_integer("attention.value_length") or default
    if key_length is None or value_length is None:
        return None
    pattern = header.arrays.get(f"{header.architecture}.attention.sliding_window_pattern")
    has_pattern = pattern is not None and pattern.values is not None
    return KVGeometry(
        num_layers=num_layers,
        num_kv_heads=kv_heads,
        key_length=key_length,
        value_length=value_length,
        sliding_window=header.arch_integer("attention.sliding_window") or None,
        num_windowed_layers=sum(map(bool, pattern.values or ())) if pattern is not None and has_pattern else None,
    )


def _tokenizer(header: GGUFHeader) -> TokenizerFacts | None:
    num_tokens = header.array_length("tokenizer.ggml.tokens")
    model = header.text("tokenizer.ggml.model")
    if num_tokens is None and model is None:
        return None
    ends = (header.integer(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    bos_prefix = header.metadata.get("tokenizer.ggml.add_bos_token")
    return TokenizerFacts(
        model=model,
        pre=header.text("tokenizer.ggml.pre"),
        num_tokens=num_tokens,
        num_merges=header.array_length("tokenizer.ggml.merges"),
        bos_token_id=header.integer("tokenizer.ggml.bos_token_id"),
        eos_token_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
        unknown_token_id=header.integer("tokenizer.ggml.unknown_token_id"),
        padding_token_id=header.integer("tokenizer.ggml.padding_token_id"),
        has_bos_prefix=bos_prefix if isinstance(bos_prefix, bool) else None,
    )


def _split(header: GGUFHeader) -> SplitFacts | None:
    number, count = header.integer("split.no"), header.integer("split.count")
    if number is None or count is None or count <= 1:
        return None
    return SplitFacts(number=number, count=count, num_tensors=header.integer("split.tensors.count"))


def _memory(header: GGUFHeader, tensor_types: dict[str, TensorTypeTotals]) -> MemoryFacts:
    """Give what the header says of memory; of a split set, sizes are those of this file.

    Source: llama.cpp, llama-hparams.cpp, `n_embd_r` and `n_embd_s` (elements of a recurrent state), llama-model.cpp,
    `recurrent_layer_arr` (which layers have one).

    Args:
        tensor_types: Type name -> totals, of this file.
    """
    num_layers = max(1, min(header.arch_integer("block_count") or 1, 1024))
    heads = header.arch_integers("attention.head_count", num_layers)
    num_recurrent = _num_recurrent_layers(header, num_layers)
    return MemoryFacts(
        num_heads=max(heads) if heads else None,
        feed_forward_length=_feed_forward(header, num_layers),
        num_attention_layers=_num_attention_layers(header, num_layers),
        recurrent_bytes=num_recurrent * _state_elements(header) * _FLOAT_BYTES,
        type_bytes={name: total.size_bytes for name, total in tensor_types.items() if total.num_matrices},
    )


def _feed_forward(header: GGUFHeader, num_layers: int) -> int | None:
    widths = header.arch_integers("feed_forward_length", num_layers)
    dense = max(widths) if widths else None
    expert, used = header.arch_integer("expert_feed_forward_length"), header.arch_integer("expert_used_count")
    if used:
        sparse = (expert or dense or 0) * used + (header.arch_integer("expert_shared_feed_forward_length") or 0)
        return max(sparse, dense or 0) or None
    return dense


def _num_attention_layers(header: GGUFHeader, num_layers: int) -> int | None:
    """Count the layers with a KV cache where most have a recurrent state; None where the head counts say it."""
    interval = header.arch_integer("full_attention_interval")
    return num_layers // interval if interval and _state_elements(header) else None


def _num_recurrent_layers(header: GGUFHeader, num_layers: int) -> int:
    kv_heads = header.arch_integers("attention.head_count_kv", num_layers)
    if kv_heads and 0 in kv_heads:
        return kv_heads.count(0)
    attention = _num_attention_layers(header, num_layers)
    # Without either, every layer has a state: pure recurrent models, and those with both parts in each layer.
    return num_layers - attention if attention is not None else num_layers


def _state_elements(header: GGUFHeader) -> int:
    """Give the elements of one layer's state for one sequence."""
    head = header.arch_integer("wkv.head_size")
    width = header.arch_integer("embedding_length") or 0
    if head:
        return (header.arch_integer("token_shift_count") or 2) * width + width * head
    kernel, inner = header.arch_integer("ssm.conv_kernel"), header.arch_integer("ssm.inner_size")
    state = header.arch_integer("ssm.state_size")
    if not kernel or not inner or not state:
        return 0
    groups = header.arch_integer("ssm.group_count") or 0
    return (kernel - 1) * (inner + 2 * groups * state) + state * inner
