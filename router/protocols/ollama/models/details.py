"""What Ollama's lists say of a model, from the registry's facts. Pure.

Source: Ollama, api/types.go (`ModelDetails`), types/model/capability.go, format/format.go (`HumanNumber`).
"""

import hashlib
from typing import Any, Final

import msgspec

from registry.catalogue import Artifact, Model
from registry.facts import ArtifactFormat, ModelFacts
from registry.settings import NO_SETTINGS

_FORMATS: Final = {ArtifactFormat.GGUF: "gguf", ArtifactFormat.MLX: "safetensors"}


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`details` of a model."""

    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int | None = None
    embedding_length: int | None = None


def details_of(facts: ModelFacts, context_length: int | None = None) -> ModelDetails:
    """Return the details of a model's files.

    Args:
        context_length: In force, tokens; None = that of the files.
    """
    family = facts.architecture or ""
    return ModelDetails(
        parent_model="",
        format=_FORMATS[facts.format],
        family=family,
        families=[family] if family else [],
        parameter_size=human_number(facts.parameter_count),
        quantization_level="unknown" if facts.quantization is None else facts.quantization.label,
        context_length=facts.context_length if context_length is None else context_length,
        embedding_length=facts.embedding_length,
    )


def digest_of(model: Model, artifact: Artifact) -> str:
    """Return 64 hex digits that are others when the files or the settings are: clients take equal ones for one model.

    Without settings they are the checksum of the files, or one of their state until it is known.
    """
    state = f"{artifact.path}\n{artifact.version}".encode(errors="surrogateescape")
    digest = artifact.sha256 or hashlib.sha256(state).hexdigest()
    if model.settings == NO_SETTINGS:
        return digest
    return hashlib.sha256(digest.encode() + msgspec.json.encode(model.settings)).hexdigest()


def human_number(number: int) -> str:
    """Return a number of parameters as Ollama writes it: `134.52M`, `8B`."""
    for unit, value, digits in (("B", 1_000_000_000, 1), ("M", 1_000_000, 2), ("K", 1_000, 0)):
        if number >= value:
            is_whole = number % value == 0
            return f"{number / value:.{0 if is_whole else digits}f}{unit}"
    return str(number)


def gguf_keys(facts: ModelFacts) -> dict[str, Any]:
    """Return facts under the names that GGUF files have for them; those that are not known are left out."""
    family = facts.architecture or "unknown"
    kv, tokenizer = facts.kv, facts.tokenizer
    keys: dict[str, Any] = {
        "general.architecture": facts.architecture,
        "general.basename": facts.provenance.basename,
        "general.organization": facts.provenance.organization,
        "general.size_label": facts.provenance.size_label,
        "general.license": facts.provenance.license,
        "general.parameter_count": facts.parameter_count,
        f"{family}.context_length": facts.context_length,
        f"{family}.embedding_length": facts.embedding_length,
        f"{family}.vocab_size": facts.vocabulary_size,
        f"{family}.expert_count": facts.num_experts,
        f"{family}.expert_used_count": facts.num_experts_used,
        f"{family}.rope.scaling.type": facts.rope_scaling_type,
    }
    if kv is not None:
        keys[f"{family}.block_count"] = kv.num_layers
        keys[f"{family}.attention.head_count_kv"] = max(kv.num_kv_heads, default=None)
        keys[f"{family}.attention.key_length"] = kv.key_length
        keys[f"{family}.attention.value_length"] = kv.value_length
        keys[f"{family}.attention.sliding_window"] = kv.sliding_window
    if tokenizer is not None:
        keys["tokenizer.ggml.model"] = tokenizer.model
        keys["tokenizer.ggml.pre"] = tokenizer.pre
        keys["tokenizer.ggml.bos_token_id"] = tokenizer.bos_token_id
        keys["tokenizer.ggml.eos_token_id"] = next(iter(tokenizer.eos_token_ids), None)
        keys["tokenizer.ggml.add_bos_token"] = tokenizer.has_bos_prefix
    return {key: value for key, value in keys.items() if value is not None}
