"""From a GGUF header to ModelFacts.

Not here: the judgement whether llama.cpp loads the file (`judge.py`).

Source: ggml, docs/gguf.md, "Standardized key-value pairs"; llama.cpp's llama-model.cpp where it decides a default.
"""

from registry.facts import (
    ArtifactFormat,
    ChatTemplateFacts,
    KVGeometry,
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
from registry.gguf.fields import HeaderFields
from registry.gguf.header import GGUFHeader
from registry.gguf.judge import reasons_not_loadable, warnings_for
from registry.gguf.memory import memory_facts
from registry.gguf.tensors import TensorTypeTotals


def facts_from_header(header: GGUFHeader) -> ModelFacts:
    """Give the facts of one GGUF file; of a split set, of this file alone."""
    fields = HeaderFields(header)
    kind = _kind(fields)
    reasons = tuple(reasons_not_loadable(header, kind))
    template, pooling = header.chat_template, fields.arch_integer("pooling_type")
    return ModelFacts(
        format=ArtifactFormat.GGUF,
        architecture=clean_text(header.architecture),
        kind=kind,
        parameter_count=header.parameter_count,
        weight_bytes=header.data_bytes,
        num_tensors=header.num_tensors,
        quantization=quantization_of(fields.integer("general.file_type"), header.tensor_types),
        context_length=fields.arch_integer("context_length"),
        embedding_length=fields.arch_integer("embedding_length"),
        vocabulary_size=fields.array_length("tokenizer.ggml.tokens") or fields.arch_integer("vocab_size"),
        num_experts=fields.arch_integer("expert_count") or None,
        num_experts_used=fields.arch_integer("expert_used_count") or None,
        kv=_kv_geometry(fields),
        memory=memory_facts(fields, header.tensor_types),
        chat_template=None if template is None else ChatTemplateFacts.from_text(template),
        tokenizer=_tokenizer(fields),
        pooling_type=None if pooling is None else POOLING_TYPES.get(pooling),
        rope_scaling_type=fields.arch_text("rope.scaling.type"),
        split=_split(fields),
        provenance=Provenance(**{name: fields.text(f"general.{name}") for name in Provenance.__struct_fields__}),
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


def _kind(fields: HeaderFields) -> ModelKind:
    header = fields.header
    kind = fields.text("general.type")
    architecture = header.architecture
    if kind == "imatrix":
        return ModelKind.IMATRIX
    if kind == "adapter":
        return ModelKind.LORA
    if architecture == "clip" or kind == "mmproj":
        return ModelKind.MMPROJ
    if header.num_tensors == 0 and "tokenizer.ggml.tokens" in header.arrays:
        return ModelKind.VOCAB_ONLY
    if architecture in EMBEDDING_ARCHITECTURES or (fields.arch_integer("pooling_type") or 0) > 0:
        return ModelKind.EMBEDDING
    return ModelKind.MODEL


def _kv_geometry(fields: HeaderFields) -> KVGeometry | None:
    num_layers = fields.arch_integer("block_count")
    if num_layers is None or not 0 < num_layers <= MAX_BLOCKS:
        return None
    heads = fields.arch_integers("attention.head_count", num_layers)
    # Source: llama-model.cpp: "n_head_kv is optional, if not set, assume it is equal to n_head".
    kv_heads = fields.arch_integers("attention.head_count_kv", num_layers) or heads
    if heads is None or kv_heads is None or max(kv_heads) > MAX_INT32 or min(kv_heads) < 0:
        return None
    embedding_length = fields.arch_integer("embedding_length")
    default = embedding_length // max(heads) if embedding_length and max(heads) > 0 else None
    key_length = fields.arch_integer("attention.key_length") or default
    value_length = fields.arch_integer("attention.value_length") or default
    if key_length is None or value_length is None:
        return None
    pattern = fields.header.arrays.get(f"{fields.header.architecture}.attention.sliding_window_pattern")
    has_pattern = pattern is not None and pattern.values is not None
    return KVGeometry(
        num_layers=num_layers,
        num_kv_heads=kv_heads,
        key_length=key_length,
        value_length=value_length,
        sliding_window=fields.arch_integer("attention.sliding_window") or None,
        num_windowed_layers=sum(map(bool, pattern.values or ())) if pattern is not None and has_pattern else None,
    )


def _tokenizer(fields: HeaderFields) -> TokenizerFacts | None:
    num_tokens = fields.array_length("tokenizer.ggml.tokens")
    model = fields.text("tokenizer.ggml.model")
    if num_tokens is None and model is None:
        return None
    ends = (fields.integer(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    bos_prefix = fields.header.metadata.get("tokenizer.ggml.add_bos_token")
    return TokenizerFacts(
        model=model,
        pre=fields.text("tokenizer.ggml.pre"),
        num_tokens=num_tokens,
        num_merges=fields.array_length("tokenizer.ggml.merges"),
        bos_token_id=fields.integer("tokenizer.ggml.bos_token_id"),
        eos_token_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
        unknown_token_id=fields.integer("tokenizer.ggml.unknown_token_id"),
        padding_token_id=fields.integer("tokenizer.ggml.padding_token_id"),
        has_bos_prefix=bos_prefix if isinstance(bos_prefix, bool) else None,
    )


def _split(fields: HeaderFields) -> SplitFacts | None:
    number, count = fields.integer("split.no"), fields.integer("split.count")
    if number is None or count is None or count <= 1:
        return None
    return SplitFacts(number=number, count=count, num_tensors=fields.integer("split.tensors.count"))
