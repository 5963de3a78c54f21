"""How much memory a load takes, from facts and load alone. Pure: nothing is measured here.

What is counted is what a worker holds when its cache is full and the answers before it are kept: the pages it touches,
not what it reserves (llama.cpp reserves logits for every token of a step and touches those of the last). Not here: what
this machine has (`memory`), and whether a load fits into it (`fit`).

Sources: llama.cpp, llama-kv-cache.cpp (cells are padded to 256; every cell is cleared, hence touched, at the load),
llama-graph.cpp (the mask is float16 with flash attention, float32 without), ggml-cpu/repack.cpp (types that are copied
into another order); mlx-lm, models/cache.py (caches grow by 256 tokens; a growing layer is there twice). The constants
were measured with tests/bench/bench_fit.py.
"""

from typing import Final

import msgspec

from backends.wire.load import LoadSpec, kept_group_size, kv_types_of
from registry.engines import EngineKind
from registry.facts import MemoryFacts, ModelFacts
from router.placement.memory import Machine
from router.placement.vision_need import COUNTED_SIDE_PX, vision_need

KV_ELEMENT_BYTES: Final[dict[str, float]] = {
    "f32": 4,
    "f16": 2,
    "bf16": 2,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
"""Bytes per element. Source: ggml-common.h, the block structs (32 elements each)."""

RUNTIME_BYTES: Final[dict[EngineKind, int]] = {EngineKind.LLAMACPP: 62 << 20, EngineKind.MLX: 92 << 20}
"""A worker with a model of 1 MB: the interpreter, the engine's libraries and their buffers. Measured on Linux."""

VOCABULARY_ENTRY_BYTES: Final[dict[EngineKind, int]] = {EngineKind.LLAMACPP: 185, EngineKind.MLX: 268}
"""Per token and per merge rule, in the library's tables. Measured with 49,152 tokens and 48,900 merges; on mlx without
what parsing leaves behind, which the first caches take up."""

STEP_TOKENS: Final = 512
"""Of a step, on llamacpp and on Metal."""

CPU_STEP_TOKENS: Final = 64
"""Of a step, on mlx without Metal."""

CELL_PADDING: Final = 256
_FLOAT_BYTES: Final = 4
_CHECKPOINTS_EACH: Final = 8
"""More than a kept conversation of some turns has, shared ones counted once."""
_REPACKED_ON_X86: Final = frozenset({"Q4_0", "Q4_K", "Q2_K", "IQ4_NL"})
_REPACKED_ON_ARM: Final = _REPACKED_ON_X86 | {"Q5_K", "Q6_K", "Q8_0"}
_QUANTIZED_FLOAT_SHARE: Final = 0.12
"""Scales and biases in 16 bits among 4-bit weights in groups of 64; used where an older mlxr read the facts."""


class MemoryNeed(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker takes, bytes.

    Attributes:
        context_length: Tokens of one sequence, after the model's own limit.
        weights_bytes: In the form in which the engine computes with them.
        mapped_bytes: Those of them that stay pages of the file: evictable, but read for every token.
        cold_bytes: Pages of the file that were read at the load and are not needed any more; not in any sum.
        kv_bytes: Keys, values and recurrent states of sequences that compute.
        growing_bytes: Of these, what is not there at the load but comes with the tokens (llamacpp).
        kept_bytes: The same of ended answers, at most.
        compute_bytes: Activations, masks, scores and other intermediate results of a step.
        vision_bytes: The projector, and what it computes a picture in; an MLX folder's tower is among the weights.
        draft_bytes: All that the model takes that drafts for it.
    """

    engine: EngineKind
    context_length: int
    weights_bytes: int
    mapped_bytes: int
    cold_bytes: int
    kv_bytes: int
    kept_bytes: int
    compute_bytes: int
    output_bytes: int
    vocabulary_bytes: int
    runtime_bytes: int
    vision_bytes: int = 0
    draft_bytes: int = 0
    growing_bytes: int = 0

    @property
    def buffers_bytes(self) -> int:
        """All that is neither weights nor caches."""
        return self.compute_bytes + self.output_bytes + self.vocabulary_bytes + self.runtime_bytes

    @property
    def required_bytes(self) -> int:
        """The least with which it can run at full context."""
        return self.weights_bytes + self.kv_bytes + self.vision_bytes + self.draft_bytes + self.buffers_bytes

    @property
    def total_bytes(self) -> int:
        """What it grows to when it keeps the caches of ended answers."""
        return self.required_bytes + self.kept_bytes


def draft_bytes(facts: ModelFacts, spec: LoadSpec, machine: Machine) -> int:
    """Return what a draft model takes in the process of the main one, with full caches.

    Args:
        facts: Of its artifact.
        spec: How the main one is loaded, with the draft.
    """
    if spec.draft is None or spec.draft.why_not is not None:
        return 0
    own = msgspec.structs.replace(
        spec,
        context_length=spec.draft.context_length,
        kv_cells=spec.draft.kv_cells,
        kv_type=None,
        cache_slots=0,
        vision=None,
    )
    return _llamacpp_need(facts, own, machine).required_bytes - RUNTIME_BYTES[EngineKind.LLAMACPP]


def memory_need(
    facts: ModelFacts, spec: LoadSpec, machine: Machine, *, image_side_px: int = COUNTED_SIDE_PX
) -> MemoryNeed:
    """Add up what a load takes on this machine, which has all ranks of a model that are not on other hosts.

    Args:
        facts: Of the artifact; its format decides the engine.
        image_side_px: The longest side of pictures, where it sees any.

    Returns:
        The parts. Without a KV shape in the facts the caches count 0.
    """
    context_length = min(spec.context_length, facts.context_length or spec.context_length)
    spec = msgspec.structs.replace(spec, context_length=context_length)
    need = _llamacpp_need(facts, spec, machine) if facts.format == "gguf" else _mlx_need(facts, spec, machine)
    if spec.hosts:
        num_here = sum(host.ssh is None for host in spec.hosts)
        return share_of(need, facts, num_ranks=len(spec.hosts), num_here=num_here)
    if spec.vision is None or facts.vision is None:
        return need
    keeps_scores = tower_keeps_scores(facts, spec, machine)
    vision_bytes = vision_need(facts.vision, need.engine, spec.vision.family, image_side_px, keeps_scores=keeps_scores)
    return msgspec.structs.replace(need, vision_bytes=vision_bytes)


def share_of(need: MemoryNeed, facts: ModelFacts, *, num_ranks: int, num_here: int = 1) -> MemoryNeed:
    """Return what some of the ranks take of a need.

    Layers and caches are shared out; each rank has the embeddings and the output as a whole, and the rest of a process.

    Args:
        num_here: How many ranks are meant.
    """
    whole_bytes = min(need.weights_bytes, _embedding_bytes(need, facts))
    shared = {name: getattr(need, name) * num_here // num_ranks for name in ("kv_bytes", "kept_bytes")}
    of_processes = {
        name: getattr(need, name) * num_here
        for name in ("compute_bytes", "output_bytes", "vocabulary_bytes", "runtime_bytes")
    }
    weights_bytes = whole_bytes * num_here + (need.weights_bytes - whole_bytes) * num_here // num_ranks
    return msgspec.structs.replace(need, weights_bytes=weights_bytes, **shared, **of_processes)


def _embedding_bytes(need: MemoryNeed, facts: ModelFacts) -> int:
    """Give the embeddings' and the output's share of the weights, as if all had the same bits."""
    num_elements = 2 * (facts.vocabulary_size or 0) * (facts.embedding_length or 0)
    return need.weights_bytes * num_elements // max(1, facts.parameter_count or 0)


def tower_keeps_scores(facts: ModelFacts, spec: LoadSpec, machine: Machine) -> bool:
    """Tell whether a tower's attention keeps the scores of all pairs of patches: where it has no fused kernel.

    Metal has one; llama.cpp's towers have flash attention where their language models do.
    """
    return not _has_flash_attention(facts, spec) if facts.format == "gguf" else not machine.has_metal


def _has_flash_attention(facts: ModelFacts, spec: LoadSpec) -> bool:
    # Source: backends/llamacpp/caches.py: float32 weights get a float32 cache, and no flash attention.
    is_quantized = _element_bytes(facts, spec)[1] < KV_ELEMENT_BYTES["f16"]  # values that are need it
    return is_quantized or (spec.flash_attention != "off" and not _is_float32(facts))


def _element_bytes(facts: ModelFacts, spec: LoadSpec) -> tuple[float, float]:
    """Give the bytes of an element of keys and of values on llamacpp."""
    keys, values = kv_types_of(spec.kv_type or ("f32" if _is_float32(facts) else "f16"))
    return KV_ELEMENT_BYTES[keys], KV_ELEMENT_BYTES[values]


def _is_float32(facts: ModelFacts) -> bool:
    return facts.quantization is not None and facts.quantization.from_file_type == "F32"


def _llamacpp_need(facts: ModelFacts, spec: LoadSpec, machine: Machine) -> MemoryNeed:
    memory = facts.memory or MemoryFacts()
    cells = _padded(max(spec.context_length, spec.kv_cells or 0))
    kv_bytes = round(cells * _token_bytes(facts, *_element_bytes(facts, spec)))
    repacked_types = _REPACKED_ON_ARM if machine.is_arm else _REPACKED_ON_X86
    repacked_bytes = sum(size for name, size in memory.type_bytes.items() if name in repacked_types)
    step_tokens = min(spec.step_tokens or STEP_TOKENS, cells)
    if _has_flash_attention(facts, spec):
        scores_bytes = cells * step_tokens * 2
    else:
        scores_bytes = cells * step_tokens * _FLOAT_BYTES * ((memory.num_heads or 32) + 1)
    return MemoryNeed(
        engine=EngineKind.LLAMACPP,
        context_length=spec.context_length,
        weights_bytes=facts.weight_bytes,
        mapped_bytes=facts.weight_bytes - repacked_bytes if spec.use_mmap else 0,
        cold_bytes=repacked_bytes if spec.use_mmap else 0,
        kv_bytes=kv_bytes + memory.recurrent_bytes * spec.max_sequences,
        growing_bytes=0 if spec.first_cells is None else kv_bytes * max(0, cells - spec.first_cells) // max(1, cells),
        kept_bytes=kv_bytes + _states_bytes(facts, spec, KV_ELEMENT_BYTES["f16"]) if spec.cache_slots != 0 else 0,
        compute_bytes=_activation_bytes(facts, step_tokens) + scores_bytes,
        output_bytes=_output_bytes(facts, spec.max_sequences),
        vocabulary_bytes=_vocabulary_bytes(facts, EngineKind.LLAMACPP),
        runtime_bytes=RUNTIME_BYTES[EngineKind.LLAMACPP],
    )


def _mlx_need(facts: ModelFacts, spec: LoadSpec, machine: Machine) -> MemoryNeed:
    memory = facts.memory or MemoryFacts(half_bytes=_guessed_half_bytes(facts))
    if spec.vision is None and facts.vision is not None:
        # mlx-lm leaves the tower's weights in the file; they are in halves as a rule.
        tower_bytes = min(facts.vision.size_bytes, facts.weight_bytes)
        facts = msgspec.structs.replace(facts, weight_bytes=facts.weight_bytes - tower_bytes)
        memory = msgspec.structs.replace(memory, half_bytes=max(0, memory.half_bytes - tower_bytes))
    tokens = max(spec.context_length, spec.kv_cells or 0)
    if machine.has_metal:
        weights_bytes = facts.weight_bytes
        element_bytes = 2 if memory.half_bytes else _FLOAT_BYTES
    else:
        # Source: backends/mlx/engine.py: `set_dtype(mx.float32)` where there is no Metal; packed integers stay.
        weights_bytes = facts.weight_bytes + memory.half_bytes + 2 * memory.float8_bytes
        element_bytes = _FLOAT_BYTES
    kept_bytes = round(_mlx_kv_bytes(facts, spec, element_bytes, tokens) * _kept_share(facts, spec, element_bytes))
    kv_bytes = round(_mlx_kv_bytes(facts, spec, element_bytes, tokens + CELL_PADDING))
    step_tokens = spec.step_tokens or (STEP_TOKENS if machine.has_metal else CPU_STEP_TOKENS)
    # Metal's attention kernel keeps no scores; the CPU's fallback has them for all heads of a layer.
    scores_bytes = 0 if machine.has_metal else (memory.num_heads or 32) * step_tokens * tokens * _FLOAT_BYTES
    growing_bytes = kv_bytes // max(1, facts.kv.num_layers if facts.kv else 1)
    return MemoryNeed(
        engine=EngineKind.MLX,
        context_length=spec.context_length,
        weights_bytes=weights_bytes,
        mapped_bytes=0,
        cold_bytes=0,
        kv_bytes=kv_bytes + memory.recurrent_bytes * spec.max_sequences,
        kept_bytes=kept_bytes + _states_bytes(facts, spec, element_bytes) if spec.cache_slots != 0 else 0,
        compute_bytes=_activation_bytes(facts, step_tokens) + max(scores_bytes, growing_bytes),
        output_bytes=_output_bytes(facts, spec.max_sequences),
        vocabulary_bytes=_vocabulary_bytes(facts, EngineKind.MLX),
        runtime_bytes=RUNTIME_BYTES[EngineKind.MLX],
    )


def _kept_share(facts: ModelFacts, spec: LoadSpec, element_bytes: int) -> float:
    """Give what a kept cache takes of what it took while it was computed.

    Source: backends/mlx/retired.py. Windowed layers, and heads of other lengths, stay as they are.
    """
    if spec.kept_bits is None or facts.kv is None or (facts.memory and facts.memory.latent_length is not None):
        return 1.0
    sizes = [kept_group_size(length) for length in (facts.kv.key_length, facts.kv.value_length)]
    if not all(sizes) or facts.kv.sliding_window:
        return 1.0
    return max((spec.kept_bits / 8 + 2 * _FLOAT_BYTES / size) / element_bytes for size in sizes)


def _states_bytes(facts: ModelFacts, spec: LoadSpec, element_bytes: float) -> int:
    """Give what checkpoints take at most, and recurrent states at the ends of kept answers."""
    state_bytes = recurrent_bytes = 0 if facts.memory is None else facts.memory.recurrent_bytes
    if facts.kv is not None and facts.kv.sliding_window:
        layers = facts.kv.num_layers if facts.kv.num_windowed_layers is None else facts.kv.num_windowed_layers
        share = layers / max(1, facts.kv.num_layers)
        state_bytes += round(facts.kv.sliding_window * _token_bytes(facts, element_bytes) * share)
    num_sequences = spec.max_sequences + spec.num_spare_slots
    checkpoint_bytes = min(spec.checkpoint_bytes, _CHECKPOINTS_EACH * num_sequences * state_bytes)
    return checkpoint_bytes + min(spec.checkpoint_bytes, spec.num_spare_slots * recurrent_bytes)


def _padded(cells: int) -> int:
    return -(-cells // CELL_PADDING) * CELL_PADDING


def _token_bytes(facts: ModelFacts, element_bytes: float, value_element_bytes: float | None = None) -> float:
    """Give the cache of one token over all layers; llama.cpp gives windowed layers all cells (`swa_full`)."""
    if facts.kv is None:
        return 0
    num_attention = facts.memory.num_attention_layers if facts.memory is not None else None
    share = 1 if num_attention is None else num_attention / facts.kv.num_layers
    return facts.kv.kv_bytes_per_token(element_bytes, value_element_bytes) * share


def _mlx_kv_bytes(facts: ModelFacts, spec: LoadSpec, element_bytes: float, tokens: int) -> float:
    if facts.kv is None:
        return 0
    latent_length = facts.memory.latent_length if facts.memory is not None else None
    if latent_length is not None:
        return tokens * latent_length * facts.kv.num_layers * element_bytes
    token_bytes = _token_bytes(facts, element_bytes)
    window, num_windowed = facts.kv.sliding_window, facts.kv.num_windowed_layers
    if not window or not num_windowed:
        return tokens * token_bytes
    # mlx-lm gives windowed layers a rotating cache per sequence.
    windowed_share = min(1.0, num_windowed / facts.kv.num_layers)
    windowed_tokens = min(tokens, window * spec.max_sequences)
    return token_bytes * (tokens * (1 - windowed_share) + windowed_tokens * windowed_share)


def _activation_bytes(facts: ModelFacts, step_tokens: int) -> int:
    """Give what is live at the widest place of a layer: input and its norm, gate, up and their product.

    A ninth element per eight of the widest row is the copy in 8 bits that quantized products take.
    """
    width = facts.embedding_length or 0
    inner = (facts.memory.feed_forward_length if facts.memory is not None else None) or 4 * width
    return step_tokens * (_FLOAT_BYTES * (2 * width + 3 * inner) + inner * 9 // 8)


def _output_bytes(facts: ModelFacts, parallel: int) -> int:
    """Give the logits of one row per sequence: as computed, and as handed out."""
    return 2 * parallel * (facts.vocabulary_size or 0) * _FLOAT_BYTES


def _vocabulary_bytes(facts: ModelFacts, engine: EngineKind) -> int:
    tokenizer = facts.tokenizer
    num_tokens = facts.vocabulary_size or 0 if tokenizer is None else tokenizer.num_tokens or 0
    num_merges = num_tokens if tokenizer is None or tokenizer.num_merges is None else tokenizer.num_merges
    return (num_tokens + num_merges) * VOCABULARY_ENTRY_BYTES[engine]


def _guessed_half_bytes(facts: ModelFacts) -> int:
    label = facts.quantization.label if facts.quantization is not None else "F16"
    if label == "F32":
        return 0
    return facts.weight_bytes if label in {"F16", "BF16"} else round(facts.weight_bytes * _QUANTIZED_FLOAT_SHARE)
