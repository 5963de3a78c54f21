"""What the registry knows of models and adapters from their files: the Structs that the parsers fill.

Everything here is plain data that goes through JSON and back unchanged. Not here: how the facts are read (`gguf/`,
`mlx/`, `adapters/`) and how much memory a load takes (these are the inputs of that sum, not its result).
"""

import enum
import hashlib
import re
from typing import Literal, Self

import msgspec

from registry.sampling import RecommendedSampling
from registry.vision import VisionFacts

_TOOLS_PATTERN = re.compile(r"\btools?\b|\btool_calls\b")
_THINKING_PATTERN = re.compile(r"<think>|<\|think|enable_thinking|reasoning_content|<\|channel\|>")
_CONTROL_PATTERN = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

MAX_PROVENANCE_CHARS = 256
"""Longest text kept of a free-text field. These fields are written by strangers and are shown on terminals."""


class ArtifactFormat(enum.StrEnum):
    """The on-disk form of a model; it decides the engine."""

    GGUF = "gguf"
    MLX = "mlx"


class ModelKind(enum.StrEnum):
    """What a model file is for."""

    MODEL = "model"
    EMBEDDING = "embedding"
    MMPROJ = "mmproj"
    LORA = "lora"
    VOCAB_ONLY = "vocab_only"
    IMATRIX = "imatrix"


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """How the weights are stored.

    Attributes:
        label: The name to show, e.g. `Q4_K_M`, `F16` or `4bit-g32`.
        from_file_type: What the file says about itself (`general.file_type`, config's `quantization`); None if silent.
        from_tensors: What the tensors' own types say; None without tensors.
        bits_per_weight: Stored bits per parameter, tensors only; None without tensors.
    """

    label: str
    from_file_type: str | None = None
    from_tensors: str | None = None
    has_disagreement: bool = False
    bits_per_weight: float | None = None


class KVGeometry(msgspec.Struct, frozen=True, kw_only=True):
    """The shape of the KV cache.

    Attributes:
        num_kv_heads: KV heads of each layer, length `num_layers`; 0 for a layer without attention.
        sliding_window: Tokens that the windowed layers keep; None when no layer is windowed.
        num_windowed_layers: How many layers keep only `sliding_window` tokens; None when the file does not say.
    """

    num_layers: int
    num_kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    sliding_window: int | None = None
    num_windowed_layers: int | None = None

    def kv_bytes_per_token(self, bytes_per_element: float, bytes_per_value_element: float | None = None) -> float:
        """Give the KV-cache bytes that one token takes over all layers, windowing ignored, not rounded.

        Args:
            bytes_per_element: 2 for float16; quantized caches have fractions (q8_0: 34 / 32).
            bytes_per_value_element: Of the values; None = as the keys.
        """
        of_values = bytes_per_element if bytes_per_value_element is None else bytes_per_value_element
        return sum(self.num_kv_heads) * (self.key_length * bytes_per_element + self.value_length * of_values)


class ChatTemplateFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What can be known of a chat template without running it.

    Attributes:
        sha256: Of the UTF-8 text.
        size_bytes: Of the UTF-8 text.
        has_tools: The text speaks of tools. A hint, from the text alone.
        has_thinking: The text speaks of a reasoning block. A hint, from the text alone.
    """

    sha256: str
    size_bytes: int
    has_tools: bool
    has_thinking: bool

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Describe a template."""
        data = text.encode("utf-8", "replace")
        return cls(
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            has_tools=_TOOLS_PATTERN.search(text) is not None,
            has_thinking=_THINKING_PATTERN.search(text) is not None,
        )


class TokenizerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The tokenizer, without its vocabulary.

    Attributes:
        model: Family, e.g. `gpt2` (BPE), `llama` (SPM), `bert`; for MLX the class named in tokenizer_config.json.
        pre: Pre-tokenizer name (GGUF only).
        eos_token_ids: Every id that ends a sequence, the main one first.
        has_bos_prefix: Encoding puts the bos token in front; None when the file does not say.
    """

    model: str | None = None
    pre: str | None = None
    num_tokens: int | None = None
    num_merges: int | None = None
    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    unknown_token_id: int | None = None
    padding_token_id: int | None = None
    has_bos_prefix: bool | None = None


class SplitFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One file's place in a split GGUF set.

    Attributes:
        number: 0-based, as `split.no` has it (file names count from 1).
        num_tensors: Tensors of the whole set; None when the file does not say.
    """

    number: int
    count: int
    num_tensors: int | None = None


class MemoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The inputs of a memory estimate.

    Attributes:
        num_heads: Query heads, the most of any layer; None when unknown.
        feed_forward_length: Width inside the feed-forward part for one token, all experts it uses together; None when
            unknown.
        num_attention_layers: Layers that keep keys and values; None = all.
        recurrent_bytes: State of one sequence in layers without attention, in float32; 0 without such layers.
        latent_length: Elements kept per token and layer where keys and values are kept in compressed form (multi-head
            latent attention) and `KVGeometry` gives the expanded one; None otherwise.
        half_bytes: Bytes of weights in 16-bit or 8-bit floats.
        float8_bytes: Those of them in 8-bit floats.
        type_bytes: Bytes of matrices per GGUF tensor type, embeddings included; empty for other formats.
    """

    num_heads: int | None = None
    feed_forward_length: int | None = None
    num_attention_layers: int | None = None
    recurrent_bytes: int = 0
    latent_length: int | None = None
    half_bytes: int = 0
    float8_bytes: int = 0
    type_bytes: dict[str, int] = {}


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Free text about the origin, cleaned for display. Untrusted: never a path, never markup."""

    name: str | None = None
    basename: str | None = None
    organization: str | None = None
    finetune: str | None = None
    size_label: str | None = None
    version: str | None = None
    license: str | None = None
    quantized_by: str | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the files of one artifact say.

    Attributes:
        architecture: `general.architecture` or config's `model_type`; None when the file has none (imatrix).
        parameter_count: Weights over all files of the artifact; packed quantized weights count as what they unpack to.
        weight_bytes: Bytes of tensor data.
        num_tensors: Tensors over all files of the artifact.
        quantization: How the weights are stored; None without weights.
        context_length: Trained context in tokens.
        vocabulary_size: Rows of the embedding matrix; None when unknown.
        num_experts: Experts per layer; None for a dense model.
        kv: Shape of the KV cache; None when the file does not say enough.
        memory: What else decides how much memory it needs; None when it was read by an older mlxr.
        chat_template: None when there is none.
        sampling: How its makers would have tokens drawn; None when it was read by an older mlxr.
        tokenizer: None when the file has none.
        pooling_type: `none`, `mean`, `cls`, `last` or `rank`; None when not stated.
        rope_scaling_type: E.g. `yarn`, `linear`; None when not stated.
        split: None for an artifact in one file.
        vision: What it sees with: the projector that belongs to a GGUF model, or the folder's tower; None = nothing.
        loadable: False when the engine is known to refuse the file or to abort on it.
        reasons: Why `loadable` is False; empty when it is True.
    """

    format: ArtifactFormat
    architecture: str | None
    kind: ModelKind
    parameter_count: int
    weight_bytes: int
    num_tensors: int
    quantization: Quantization | None = None
    context_length: int | None = None
    embedding_length: int | None = None
    vocabulary_size: int | None = None
    num_experts: int | None = None
    num_experts_used: int | None = None
    kv: KVGeometry | None = None
    memory: MemoryFacts | None = None
    chat_template: ChatTemplateFacts | None = None
    sampling: RecommendedSampling | None = None
    tokenizer: TokenizerFacts | None = None
    pooling_type: str | None = None
    rope_scaling_type: str | None = None
    split: SplitFacts | None = None
    vision: VisionFacts | None = None
    provenance: Provenance = Provenance()
    loadable: bool = True
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class AdapterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the files of one adapter say.

    Attributes:
        format: `gguf` or `mlx`; it decides the engine.
        method: How its matrices change the base: `lora`, or `dora` (mlx only).
        architecture: Of the base it was made for; None where its files do not say (mlx).
        rank: Inner dimension of its matrices, the largest of them.
        scale: What the product of its matrices is multiplied by: alpha / rank in a GGUF, `scale` in an MLX folder.
        weight_bytes: Bytes of tensor data.
        title: What it calls itself, cleaned for display. Untrusted.
    """

    format: ArtifactFormat
    method: Literal["lora", "dora"]
    architecture: str | None
    rank: int
    scale: float
    num_tensors: int
    num_weights: int
    weight_bytes: int
    title: str | None = None

    @property
    def alpha(self) -> float:
        """The scale in the words of most training tools: alpha = scale * rank."""
        return self.scale * self.rank


def clean_text(text: object) -> str | None:
    """Make a stranger's text safe to show: no control or direction characters, at most MAX_PROVENANCE_CHARS.

    Returns:
        The cleaned text; None when nothing is left, or it is no text.
    """
    if not isinstance(text, str):
        return None
    cleaned = _CONTROL_PATTERN.sub(" ", text[: 4 * MAX_PROVENANCE_CHARS]).strip()[:MAX_PROVENANCE_CHARS].rstrip()
    return cleaned or None
