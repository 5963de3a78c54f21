"""The llamacpp engine: one context with a unified KV cache, all sequences' tokens in one `llama_decode`.

CPU only, and provably so: no device is offered to the library, nothing is offloaded, and after the load every layer and
buffer that its log names must be the CPU's, or the load fails.
"""

import contextlib
import ctypes
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import llama_cpp

from backends.base import Chunk, Engine, EngineInfo, LoadedEngine, PromptScores, StepPlan, StepResult
from backends.embedding import Encoder
from backends.errors import BackendError, EngineError, LoadError
from backends.llamacpp.adapters import LoraAdapter, load_adapter
from backends.llamacpp.caches import (
    SequenceCaches,
    fingerprint_of,
    no_context_error,
    num_slots_for,
    set_cache_types,
)
from backends.llamacpp.embedding import LlamaCppEncoder, closing_ids, pooling_of, sees_whole_texts
from backends.llamacpp.library import LibraryLog, cpu_features
from backends.llamacpp.sampler import LogitsReader, Sampler
from backends.llamacpp.tokenizer import LlamaCppTokenizer
from backends.logits import LogitsEditor, TokenScore, score
from backends.machine.current import current_platform
from backends.sequence import Sequence
from backends.wire.messages import LoadedModel, LoadSpec
from backends.wire.request import Pooling

DEFAULT_STEP_TOKENS = 512
_ABORTABLE_TOKENS = 32
"""Steps with fewer prefill tokens end in milliseconds; asking Python at every graph node slows decode by some 2 %."""

# Source: llama.h, "llama_decode": "0 - success, 1 - could not find a KV slot for the batch, 2 - aborted, < 0 - error".
_DECODE_OK = 0
_DECODE_NO_SLOT = 1
_DECODE_ABORTED = 2


class LlamaCppEngine(Engine):
    """See the module; one per process, because the library's log is the process's."""

    name = "llamacpp"

    def __init__(self) -> None:
        self._log = LibraryLog()
        self._log.listen()

    def info(self) -> EngineInfo:
        """Return the build's version and CPU features."""
        features = cpu_features(llama_cpp.llama_print_system_info().decode(errors="replace"))
        return EngineInfo({"llama-cpp-python": llama_cpp.__version__}, features)

    def _load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> "LoadedLlamaCpp":
        self._log.reset()
        with contextlib.ExitStack() as freeing:
            model = _load_model(spec, on_progress, self._log)
            freeing.callback(llama_cpp.llama_model_free, model)
            adapter = load_adapter(model, spec, self._log)
            params = _context_params(model, spec)
            context = llama_cpp.llama_init_from_model(model, params)
            if not context:
                raise no_context_error(spec, params.n_ctx, self._log.words)
            freeing.callback(llama_cpp.llama_free, context)
            if adapter is not None:
                adapter.apply_to(context)
            if self._log.foreign_devices:
                raise LoadError(
                    f"llama.cpp put parts of the model on {', '.join(self._log.foreign_devices)}, not on the CPU"
                )
            loaded = LoadedLlamaCpp(spec, self._log, model, context, params, adapter)
            freeing.pop_all()  # the loaded engine's own business from now on
            return loaded


class _Live(NamedTuple):
    """A sequence that was inserted and has not ended."""

    sequence: Sequence
    sampler: Sampler
    editor: LogitsEditor | None


class LoadedLlamaCpp(LoadedEngine):
    """A model on the CPU.

    Args:
        model: A `llama_model_p`; owned from now on, like its context.
        context: Its `llama_context_p`.
        params: The `llama_context_params` that this was made with.
    """

    def __init__(
        self,
        spec: LoadSpec,
        log: LibraryLog,
        model: object,
        context: object,
        params: Any,
        adapter: LoraAdapter | None,
    ) -> None:
        self._log = log
        self._model = model
        self._context = context
        self._params = params
        self._adapter = adapter
        self._sees_whole_texts = sees_whole_texts(context)
        self._caches = SequenceCaches(model, context)
        tokenizer = LlamaCppTokenizer(model)
        super().__init__(
            spec,
            LoadedModel(
                context_length=_context_length(model, spec),
                max_sequences=spec.max_sequences,
                kv_cells=llama_cpp.llama_n_ctx(context),
                vocab_size=tokenizer.vocab_size,
                devices=tuple(sorted(log.devices)),
                can_generate=not self._sees_whole_texts,
                pooling=pooling_of(context),
            ),
            tokenizer,
            step_tokens=params.n_ubatch,
            num_slots=params.n_seq_max,
            can_cut_cache=self._caches.can_cut,
            forks_share_cells=True,
            closing_ids=closing_ids(model),
        )
        self._live: dict[int, _Live] = {}
        self._fingerprint = fingerprint_of(model, params)
        self._reader = LogitsReader(tokenizer.vocab_size)
        self._batch = llama_cpp.llama_batch_init(self.limits.step_tokens, 0, 1)
        self._should_abort: Callable[[], bool] | None = None
        self._on_abort = llama_cpp.ggml_abort_callback(lambda _data: self._is_abort_wanted())
        self._no_abort = llama_cpp.ggml_abort_callback()

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Create the sequence's sampler; it gets a slot with its first chunk."""
        self._live[sequence.sequence_id] = _Live(sequence, Sampler(sequence.sampling, self._reader), editor)

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let both sequences hold the same cells; a retired one's state is put back into cells of the target's own.

        Not done where memory has only the state after the last token and more or less than that is wanted, nor where a
        sliding window has dropped what would be seen.
        """
        return self._caches.fork(source_id, target_id, num_tokens)

    def retire(self, sequence_id: int) -> int:
        """Copy the sequence's state out of the cells and free them."""
        num_tokens = self._caches.retire(sequence_id, self._token_ids(sequence_id))
        self._forget(sequence_id)
        return num_tokens

    def save_cache(self, sequence_id: int, path: Path) -> int:
        """Write the sequence's state in the library's own form."""
        return self._caches.save(sequence_id, self._token_ids(sequence_id), path, self._fingerprint)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read a state back, if it is this model's and undamaged."""
        return self._caches.load(path, sequence_id, token_ids, self._fingerprint)

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Decode all chunks in one call, then draw."""
        for sequence_id in plan.evicted:
            self._caches.remove(sequence_id)
        if not plan.chunks:
            return StepResult()
        firsts = self._fill_batch(plan.chunks)
        num_prefill = sum(chunk.num_tokens for chunk in plan.chunks)
        is_abortable = num_prefill - len(plan.chunks) >= _ABORTABLE_TOKENS
        self._should_abort = should_abort if is_abortable else None
        callback = self._on_abort if is_abortable else self._no_abort
        llama_cpp.llama_set_abort_callback(self._context, callback, ctypes.c_void_p(0))
        status = llama_cpp.llama_decode(self._context, self._batch)
        if status == _DECODE_ABORTED:
            return StepResult(num_computed=self._roll_back(plan.chunks), was_aborted=True)
        if status != _DECODE_OK:
            self._roll_back(plan.chunks)
            reason = "no free KV cells" if status == _DECODE_NO_SLOT else f"status {status}"
            raise EngineError(f"llama.cpp could not decode the batch: {reason}; {self._log.words}".rstrip("; "))
        return self._draw(plan.chunks, firsts)

    def remove(self, sequence_id: int) -> None:
        """Free the sequence's cells, slot and sampler, or its kept state."""
        self._caches.remove(sequence_id)
        self._forget(sequence_id)

    def create_encoder(self, pooling: Pooling, max_tokens: int) -> Encoder:
        """Make a context for one request's embeddings."""
        return LlamaCppEncoder(
            self._model,
            pooling,
            max_tokens,
            is_whole=self._sees_whole_texts,
            is_exact=_has_float32_weights(self._model),
            step_tokens=self.limits.step_tokens,
            num_threads=self._params.n_threads,
            adapter=self._adapter,
        )

    def close(self) -> None:
        """Free samplers, batch, context and model."""
        for sequence_id in list(self._live):
            self._forget(sequence_id)
        llama_cpp.llama_batch_free(self._batch)
        llama_cpp.llama_free(self._context)
        llama_cpp.llama_model_free(self._model)

    def _fill_batch(self, chunks: tuple[Chunk, ...]) -> list[int]:
        """Write the chunks into the batch; return the batch index of each one's first token."""
        batch = self._batch
        tokens, positions, slots, num_slots, logits = batch.token, batch.pos, batch.seq_id, batch.n_seq_id, batch.logits
        firsts: list[int] = []
        index = 0
        for chunk in chunks:
            firsts.append(index)
            slot = self._caches.slot_of(chunk.sequence.sequence_id)
            num_scored = len(chunk.scored)
            for position in range(chunk.start, chunk.end):
                tokens[index] = chunk.sequence.token_ids[position]
                positions[index] = position
                slots[index][0] = slot
                num_slots[index] = 1
                logits[index] = position - chunk.start < num_scored
                index += 1
            if chunk.samples:
                logits[index - 1] = 1
        batch.n_tokens = index
        return firsts

    def _draw(self, chunks: tuple[Chunk, ...], firsts: list[int]) -> StepResult:
        """Tell what the library's logits say of prompts, and draw after the chunks that end their sequence."""
        result = StepResult()
        for chunk, first in zip(chunks, firsts, strict=True):
            sequence, scored = chunk.sequence, chunk.scored
            result.num_computed[sequence.sequence_id] = chunk.end
            if scored:
                result.prompt_scores[sequence.sequence_id] = PromptScores(scored.start, self._scores(chunk, first))
            if chunk.samples:
                self._draw_one(sequence.sequence_id, first + chunk.num_tokens - 1, result)
        return result

    def _scores(self, chunk: Chunk, first: int) -> list[TokenScore]:
        token_ids, num_top = chunk.sequence.token_ids, chunk.sequence.sampling.num_prompt_logprobs or 0
        return [
            score(self._reader.row(self._context, index), token_ids[place], num_top)
            for index, place in enumerate(chunk.scored, first)
        ]

    def _draw_one(self, sequence_id: int, output: int, result: StepResult) -> None:
        _, sampler, editor = self._live[sequence_id]
        sample = functools.partial(sampler.sample, self._context, output)
        if editor is None:
            result.tokens[sequence_id] = sample()
            return
        try:
            result.add(sequence_id, *editor.draw(self._reader.row(self._context, output), sample))
        except BackendError as exc:  # the editor's; it must not end the others' step
            result.errors[sequence_id] = exc

    def _roll_back(self, chunks: tuple[Chunk, ...]) -> dict[int, int]:
        """Take a failed step's tokens out of the cache; return what each sequence still has there."""
        caches = self._caches
        return {chunk.sequence.sequence_id: caches.cut(chunk.sequence.sequence_id, chunk.start) for chunk in chunks}

    def _token_ids(self, sequence_id: int) -> list[int]:
        live = self._live.get(sequence_id)
        return [] if live is None else live.sequence.token_ids

    def _forget(self, sequence_id: int) -> None:
        live = self._live.pop(sequence_id, None)
        if live is not None:
            live.sampler.close()

    def _is_abort_wanted(self) -> bool:
        return self._should_abort is not None and self._should_abort()


def _load_model(spec: LoadSpec, on_progress: Callable[[float], None], log: LibraryLog) -> object:
    params = llama_cpp.llama_model_default_params()
    # An empty list of devices, so that not even a build with Metal has one to use.
    no_devices = (ctypes.c_void_p * 1)(None)
    params.devices = ctypes.cast(no_devices, ctypes.c_void_p)
    params.n_gpu_layers = 0
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP if spec.use_mmap else llama_cpp.LLAMA_LOAD_MODE_NONE

    def report(fraction: float, _user_data: object) -> bool:
        on_progress(fraction)
        return True

    callback = llama_cpp.llama_progress_callback(report)
    params.progress_callback = callback
    model = llama_cpp.llama_model_load_from_file(spec.model_path.encode(), params)
    if not model:
        raise LoadError(f"llama.cpp could not load {spec.model_path}: {log.words or 'it gave no reason'}")
    if not llama_cpp.llama_model_has_decoder(model) or llama_cpp.llama_model_has_encoder(model):
        llama_cpp.llama_model_free(model)
        raise LoadError(f"{spec.model_path} is not a decoder-only model; it cannot generate text here")
    return model


def _context_params(model: object, spec: LoadSpec) -> Any:
    """Return the `llama_context_params` for a load."""
    params = llama_cpp.llama_context_default_params()
    params.n_seq_max = num_slots_for(model, spec, has_full_windows=params.swa_full)
    # The library keeps room for one output of each sequence, and aborts where that is more than a batch or than cells.
    params.n_ctx = max(_context_length(model, spec), spec.kv_cells or 0, params.n_seq_max)
    params.n_ubatch = min(spec.step_tokens or DEFAULT_STEP_TOKENS, params.n_ctx)
    params.n_batch = max(params.n_ubatch, params.n_seq_max)
    params.kv_unified = True
    params.offload_kqv = False
    params.op_offload = False
    params.no_perf = True
    set_cache_types(params, spec, has_float32_weights=_has_float32_weights(model))
    params.n_threads = params.n_threads_batch = spec.num_threads or current_platform().num_compute_threads()
    return params


def _context_length(model: object, spec: LoadSpec) -> int:
    trained: int = llama_cpp.llama_model_n_ctx_train(model)
    return min(spec.context_length, trained) if trained > 0 else spec.context_length


def _has_float32_weights(model: object) -> bool:
    """Tell models all of whose matrices are float32. Source: llama.h, `LLAMA_FTYPE_ALL_F32 = 0`."""
    buffer = ctypes.create_string_buffer(16)
    num = llama_cpp.llama_model_meta_val_str(model, b"general.file_type", buffer, len(buffer))
    return num > 0 and buffer.value == str(llama_cpp.LLAMA_FTYPE_ALL_F32).encode()
