"""How llama.cpp's KV cache is stored, and where each sequence's is: in a slot or, once retired, copied beside them.

Attention visits every cell up to the highest used one, also those of sequences that do not take part. What is only kept
for others to begin with is therefore taken out of the memory, which costs some microseconds per token, and put back
for a fork. Nothing is evaluated in here.
"""

import ctypes
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final, NamedTuple

import llama_cpp

from backends.cache_files import ExportedCache, read_cache
from backends.checkpoint_store import CheckpointStore
from backends.errors import LoadError
from backends.llamacpp.checkpoints import PARTIAL, WHOLE, read_state, write_state
from backends.llamacpp.context import Context
from backends.llamacpp.positions import Positions
from backends.sequence import EmbeddingSpan, Sequence
from backends.step import Chunk
from backends.wire.load import LoadSpec, kv_types_of

# Source: ggml.h, enum ggml_type; the Python package names all of these but bfloat16.
_FLOAT_TYPES: Final = {"f32": llama_cpp.GGML_TYPE_F32, "f16": llama_cpp.GGML_TYPE_F16, "bf16": 30}
_QUANTIZED_TYPES: Final = {
    "q8_0": llama_cpp.GGML_TYPE_Q8_0,
    "q5_1": llama_cpp.GGML_TYPE_Q5_1,
    "q5_0": llama_cpp.GGML_TYPE_Q5_0,
    "q4_1": llama_cpp.GGML_TYPE_Q4_1,
    "q4_0": llama_cpp.GGML_TYPE_Q4_0,
}
_TYPES: Final = _FLOAT_TYPES | _QUANTIZED_TYPES

# Source: llama.h, enum llama_flash_attn_type.
_FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}


class _State(NamedTuple):
    """A sequence's state in the library's own form.

    Attributes:
        data: A ctypes array of uint8.
        token_ids: The tokens it holds.
    """

    data: Any
    token_ids: list[int]


class SequenceCaches:
    """The slots of one context, and the retired states beside it.

    Args:
        model: A loaded `llama_model_p`.
        context: Its context, which must outlive this object; nothing is in it. It grows where a state has no room.
        positions: Where its memory has the places of sequences.

    Attributes:
        can_cut: Whether the tail of a sequence can be removed.
        num_cuttable_tokens: The most tokens of a retired state that can be cut at any place; None = any.
        checkpoints: Which sequence holds what, besides.
    """

    def __init__(self, model: object, context: Context, positions: Positions) -> None:
        self._context = context
        self._positions = positions
        self._window = llama_cpp.llama_model_n_swa(model)
        self.can_cut = not has_states(model)
        self._is_recurrent = bool(llama_cpp.llama_model_is_recurrent(model))
        # Source: llama-kv-cache.cpp, `state_write`: "check the cell is not SWA-masked".
        self.num_cuttable_tokens = (self._window or None) if self.can_cut else 0
        self._free_slots = list(reversed(range(llama_cpp.llama_n_seq_max(context.pointer))))
        self._slots: dict[int, int] = {}
        self._retired: dict[int, _State] = {}
        self.checkpoints = CheckpointStore[Any]()

    def slot_of(self, sequence_id: int) -> int:
        """Return a sequence's slot, a free one where it has none yet."""
        slot = self._slots.get(sequence_id)
        if slot is None:
            slot = self._slots[sequence_id] = self._free_slots.pop()
        return slot

    def remove(self, sequence_id: int) -> None:
        """Free whatever a sequence has; unknown ids are ignored."""
        self._retired.pop(sequence_id, None)
        self.checkpoints.remove(sequence_id)
        self._free(sequence_id)

    def _free(self, sequence_id: int) -> None:
        slot = self._slots.pop(sequence_id, None)
        if slot is not None:
            llama_cpp.llama_memory_seq_rm(self._context.memory, slot, -1, -1)
            self._free_slots.append(slot)

    def roll_back(self, chunks: tuple[Chunk, ...]) -> dict[int, int]:
        """Take the tokens of a step that was not done out of the cells; return what each sequence still has there."""
        return {chunk.sequence.sequence_id: self.cut(chunk.sequence, chunk.start) for chunk in chunks}

    def lose(self) -> list[int]:
        """Note that the context has come back empty; return the sequences that had something in it."""
        lost = list(self._slots)
        for sequence_id in lost:
            self._free_slots.append(self._slots.pop(sequence_id))
            self.checkpoints.truncate(sequence_id, 0)
        return lost

    def cut(self, sequence: Sequence, num_tokens: int) -> int:
        """Drop all but a sequence's first tokens, more where that needs a checkpoint; return how many are left."""
        slot, spans = self.slot_of(sequence.sequence_id), sequence.spans
        if not self._cut(slot, num_tokens, spans):
            num_tokens = self.checkpoints.last(sequence.sequence_id, num_tokens)
            data = self.checkpoints.get(sequence.sequence_id, num_tokens)
            if data is None or not self._go_back(slot, num_tokens, spans, data):
                llama_cpp.llama_memory_seq_rm(self._context.memory, slot, -1, -1)
                num_tokens = 0
        num_left = self._num_whole(slot, spans) if num_tokens else 0
        self.checkpoints.truncate(sequence.sequence_id, num_left)
        return num_left

    def _cut(self, slot: int, num_tokens: int, spans: tuple[EmbeddingSpan, ...]) -> bool:
        num_positions = self._positions.before(spans, num_tokens)
        is_cut = llama_cpp.llama_memory_seq_rm(self._context.memory, slot, num_positions, -1)
        # Behind a window's end the cells may be others' by now.
        return bool(is_cut and (not self._window or self._can_begin(slot, num_positions)))

    def _go_back(self, slot: int, num_tokens: int, spans: tuple[EmbeddingSpan, ...], data: Any) -> bool:
        """Bring a slot that holds more tokens to the state of a checkpoint; return whether it has that."""
        num_positions = self._positions.before(spans, num_tokens)
        return (
            write_state(self._context.pointer, slot, data, PARTIAL)
            and llama_cpp.llama_memory_seq_rm(self._context.memory, slot, num_positions, -1)
            and bool(llama_cpp.llama_memory_seq_pos_max(self._context.memory, slot) + 1 == num_positions)
        )

    def add_checkpoint(self, sequence: Sequence) -> int:
        """Keep what cannot be cut of a live sequence's state; return its bytes, 0 = nothing was kept."""
        slot = self._slots.get(sequence.sequence_id)
        num_tokens = sequence.num_computed
        if slot is None:
            return 0
        num_held = llama_cpp.llama_memory_seq_pos_max(self._context.memory, slot) + 1
        if num_held != self._positions.before(sequence.spans, num_tokens):
            return 0
        data = read_state(self._context.pointer, slot, PARTIAL)
        if data is None:
            return 0
        self.checkpoints.add(sequence.sequence_id, num_tokens, data)
        return len(data)

    def fork(self, source_id: int, target: Sequence, num_tokens: int) -> bool:
        """Let the target begin with the source's first tokens: the same cells, or its own after a retired one."""
        if target.sequence_id in self._slots or not self._free_slots:
            return False
        retired = self._retired.get(source_id)
        if retired is not None:
            is_done = self._restore(source_id, retired, target, num_tokens)
        else:
            is_done = self._copy(source_id, target, num_tokens)
        if is_done:
            self.checkpoints.share(source_id, target.sequence_id, num_tokens)
        else:
            self.remove(target.sequence_id)
        return is_done

    def _copy(self, source_id: int, target: Sequence, num_tokens: int) -> bool:
        """Let the target hold cells of a live source; what cannot be cut is that of a checkpoint where there is one."""
        source = self._slots.get(source_id)
        if source is None:
            return False
        num_positions = self._positions.before(target.spans, num_tokens)
        if self._can_begin(source, num_positions):
            # Recurrent memory knows no ranges; it was looked at that the source holds this much and no more.
            start, end = (0, num_positions) if self.can_cut else (-1, -1)
            llama_cpp.llama_memory_seq_cp(self._context.memory, source, self.slot_of(target.sequence_id), start, end)
            return True
        data = self.checkpoints.get(source_id, num_tokens)
        if data is None:
            return False
        slot = self.slot_of(target.sequence_id)
        if not self._is_recurrent:
            llama_cpp.llama_memory_seq_cp(self._context.memory, source, slot, 0, num_positions)
        return self._go_back(slot, num_tokens, target.spans, data)

    def retire(self, sequence: Sequence) -> int:
        """Take a sequence's state out of the memory; return how many tokens it holds, 0 = it was removed."""
        state = self._state_of(sequence)
        if state is None:
            self.remove(sequence.sequence_id)
            return 0
        self._free(sequence.sequence_id)
        self.checkpoints.truncate(sequence.sequence_id, len(state.token_ids))
        self._retired[sequence.sequence_id] = state
        return len(state.token_ids)

    def export(self, sequence_id: int, live: Sequence | None, places: Collection[int] | None) -> ExportedCache | None:
        """Return what is to be written of a sequence; None = it has no state.

        Args:
            live: The sequence itself, if it is not retired.
            places: Of the checkpoints that are wanted; None = of all.
        """
        state = self._retired.get(sequence_id) or (None if live is None else self._state_of(live))
        if state is None:
            return None
        held = self.checkpoints.of(sequence_id)
        kept = {place: data for place, data in held.items() if places is None or place in places}
        parts = [memoryview(data).cast("B") for data in (state.data, *kept.values())]
        return ExportedCache(state.token_ids, sum(map(len, parts)), iter(parts), tuple(kept))

    def load(self, path: Path, sequence_id: int, token_ids: list[int], fingerprint: str) -> int:
        """Read a file into a retired sequence; return how many of `token_ids` it holds, 0 = it is not to be used."""
        saved = read_cache(path, fingerprint, token_ids)
        if saved is None:
            return 0
        (part,) = saved.parts
        self._retired[sequence_id] = _State(_array_of(part), token_ids[: saved.num_tokens])
        for place, state in saved.checkpoints.items():
            self.checkpoints.add(sequence_id, place, _array_of(state))
        return saved.num_tokens

    def _state_of(self, sequence: Sequence) -> _State | None:
        slot, token_ids = self._slots.get(sequence.sequence_id), sequence.token_ids
        num_tokens = 0 if slot is None else self._num_whole(slot, sequence.spans)
        if slot is not None and num_tokens > len(token_ids):  # of a draft whose end nobody wants any more
            num_tokens = len(token_ids) if self._cut(slot, len(token_ids), sequence.spans) else 0
        if slot is None or not 0 < num_tokens <= len(token_ids):
            return None
        data = read_state(self._context.pointer, slot, WHOLE)
        return None if data is None else _State(data, token_ids[:num_tokens])

    def _num_whole(self, slot: int, spans: tuple[EmbeddingSpan, ...]) -> int:
        """Return how many tokens a slot holds, after the part of a picture that cannot be told from it has gone."""
        num_held = llama_cpp.llama_memory_seq_pos_max(self._context.memory, slot) + 1
        num_tokens = self._positions.num_places(spans, num_held)
        if self._positions.before(spans, num_tokens) == num_held or self._cut(slot, num_tokens, spans):
            return num_tokens
        llama_cpp.llama_memory_seq_rm(self._context.memory, slot, -1, -1)
        return 0

    def _restore(self, source_id: int, state: _State, target: Sequence, num_tokens: int) -> bool:
        """Put the beginning of a retired state into a slot of the target's own; return whether that could be done."""
        slot, spans = self.slot_of(target.sequence_id), target.spans
        data = None
        if num_tokens != len(state.token_ids):
            data = self.checkpoints.get(source_id, num_tokens)
        if data is not None and self._is_recurrent:
            return self._go_back(slot, num_tokens, spans, data)
        if not self._put_back(slot, state):
            return False
        if data is not None:
            return self._go_back(slot, num_tokens, spans, data)
        num_positions = self._positions.before(spans, num_tokens)
        return self._can_begin(slot, num_positions) and (
            num_tokens == len(state.token_ids) or self._cut(slot, num_tokens, spans)
        )

    def _put_back(self, slot: int, state: _State) -> bool:
        """Put a retired state into a slot, for which there may have to be more cells; return whether it has it."""
        while not write_state(self._context.pointer, slot, state.data, WHOLE):
            num_cells = self._context.num_cells + len(state.token_ids)
            if not self._context.grow(num_needed=num_cells).is_larger:
                return False
        return True

    def _can_begin(self, slot: int, num_positions: int) -> bool:
        """Tell whether a sequence can go on after the first positions that a slot holds.

        Where only the last state is kept, the slot must hold just these. Where layers see a window, all that the next
        token sees must still be there. Source: llama.h, `llama_memory_seq_pos_min`: "all positions in the range
        [pos_min, pos_max] are guaranteed to be present in the memory".
        """
        num_held = llama_cpp.llama_memory_seq_pos_max(self._context.memory, slot) + 1
        if not self.can_cut:
            return bool(num_positions == num_held)
        first = llama_cpp.llama_memory_seq_pos_min(self._context.memory, slot)
        first_seen = max(0, num_positions - self._window) if self._window else 0
        return bool(first <= first_seen and 1 <= num_positions <= num_held)


def _array_of(data: memoryview) -> Any:
    return (ctypes.c_uint8 * len(data)).from_buffer(data)


def num_kept_slots(spec: LoadSpec, num_slots: int) -> int:
    """Return how many sequences, live and retired, have a cache: a retired one's is beside a context with few slots."""
    return max(num_slots, spec.max_sequences + spec.num_spare_slots) if spec.num_spare_slots else num_slots


def num_slots_for(model: object, spec: LoadSpec, *, has_full_windows: bool) -> int:
    """Return how many slots a context is to have.

    Where a slot has memory of its own (a recurrent state, a window) there are none beyond `max_sequences`. Source:
    llama.h, `swa_full`: "use full-size SWA cache"; a smaller one has a window's cells per slot.

    Args:
        model: A loaded `llama_model_p`.
        has_full_windows: Whether layers with a window have as many cells as the others.
    """
    if has_states(model) or (llama_cpp.llama_model_n_swa(model) > 0 and not has_full_windows):
        return spec.max_sequences
    num_slots = spec.max_sequences + spec.num_spare_slots
    return max(spec.max_sequences, min(num_slots, int(llama_cpp.llama_max_parallel_sequences())))


def set_cache_types(params: Any, spec: LoadSpec, *, has_float32_weights: bool) -> None:
    """Set the cache's types and flash attention of a new context.

    A model with float32 weights keeps attention in float32 too, unless told otherwise: kernels round differently by
    batch size, in the last bit of float32; half precision in the cache or inside flash attention makes that a thousand
    times larger, and a batch's size would tip draws.

    Args:
        params: The `llama_context_params` to be changed.
        has_float32_weights: Whether all of the model's matrices are float32.

    Raises:
        LoadError: The type is unknown, or needs flash attention, which is off.
    """
    kv_type = spec.kv_type
    of_keys, of_values = (None, None) if kv_type is None else kv_types_of(kv_type)
    for name in (of_keys, of_values):
        if name is not None and name not in _TYPES:
            raise LoadError(f"kv_type: llama.cpp has no KV cache of type {name!r:.20}; choose {', '.join(_TYPES)}")
    is_quantized = of_values in _QUANTIZED_TYPES
    # Source: llama-context.cpp, "V cache quantization requires flash_attn".
    if is_quantized and spec.flash_attention == "off":
        raise LoadError(
            f"kv_type {kv_type} needs flash attention, and llamacpp.flash_attention is off: set that to auto or on, "
            f"or choose one of the types {', '.join(_FLOAT_TYPES)} for the values"
        )
    params.flash_attn_type = _FLASH_ATTENTION[spec.flash_attention]
    if of_keys is not None and of_values is not None:
        params.type_k, params.type_v = _TYPES[of_keys], _TYPES[of_values]
    if has_float32_weights and spec.flash_attention == "auto" and not is_quantized:
        params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if kv_type is None:
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32


def no_context_error(spec: LoadSpec, num_cells: int, words: str) -> LoadError:
    """Return the error for a context that the library did not make."""
    if spec.kv_type is None or not _QUANTIZED_TYPES.keys() & set(kv_types_of(spec.kv_type)):
        return LoadError(f"llama.cpp could not make a context of {num_cells} tokens: {words}")
    # Besides a lack of memory: rows of a head that are no multiple of a block (32), and models that cannot do with
    # flash attention.
    return LoadError(
        f"llama.cpp could not make a context of {num_cells} tokens with a KV cache of type {spec.kv_type}: {words}; "
        "not every model can have a quantized one: kv_type f16 always works"
    )


def fingerprint_of(model: object, context_params: "llama_cpp.llama_context_params") -> str:
    """Return what the form of a saved state depends on: library, model and the cache's types.

    Args:
        model: A loaded `llama_model_p`.
    """
    name = ctypes.create_string_buffer(256)
    llama_cpp.llama_model_desc(model, name, len(name))
    sizes = (llama_cpp.llama_model_n_params(model), llama_cpp.llama_model_size(model))
    cache = (context_params.type_k, context_params.type_v, context_params.flash_attn_type)
    return f"llamacpp {llama_cpp.__version__}|{name.value.decode(errors='replace')} {sizes} {cache}"


def has_states(model: object) -> bool:
    """Tell whether a model's memory has states that cannot be cut behind any token."""
    return bool(llama_cpp.llama_model_is_recurrent(model) or llama_cpp.llama_model_is_hybrid(model))
