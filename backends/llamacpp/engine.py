"""The llamacpp engine: one context with a unified KV cache, all sequences' tokens in one `llama_decode`.

CPU only, and provably so: no device is offered to the library, nothing is offloaded, and after the load every layer and
buffer that its log names must be the CPU's, or the load fails.
"""

import ctypes
import time
from collections.abc import Callable
from pathlib import Path

import llama_cpp

from backends.base import Chunk, Engine, EngineCapabilities, EngineInfo, EngineMemory, StepPlan, StepResult
from backends.embedding import Encoder, EncoderSpec
from backends.errors import BackendError, EngineError, LoadError
from backends.llamacpp.adapters import LoraAdapter, load_adapter
from backends.llamacpp.caches import SequenceCaches, fingerprint_of, num_slots_for
from backends.llamacpp.embedding import LlamaCppEncoder, closing_ids, pooling_of, sees_whole_texts
from backends.llamacpp.kv_types import no_context_error, set_cache_types
from backends.llamacpp.library import LibraryLog
from backends.llamacpp.sampler import LogitsReader, Sampler, create_sampler
from backends.llamacpp.threads import default_num_threads
from backends.llamacpp.tokenizer import LlamaCppTokenizer
from backends.logits import LogitsEditor
from backends.sequence import Sequence
from backends.wire.messages import LoadedModel, LoadSpec

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
        self._model: object = None
        self._context: object = None
        self._adapter: LoraAdapter | None = None
        self._caches: SequenceCaches | None = None
        self._batch: llama_cpp.llama_batch | None = None
        self._step_tokens = DEFAULT_STEP_TOKENS
        self._num_slots = 1
        self._num_retired_tokens = 0
        self._fingerprint = ""
        self._num_threads = 1
        self._sees_whole_texts = False
        self._token_ids: dict[int, list[int]] = {}
        self._samplers: dict[int, Sampler] = {}
        self._editors: dict[int, LogitsEditor] = {}
        self._reader: LogitsReader | None = None
        self._should_abort: Callable[[], bool] | None = None
        self._on_abort = llama_cpp.ggml_abort_callback(lambda _data: self._is_abort_wanted())
        self._no_abort = llama_cpp.ggml_abort_callback()

    @property
    def step_tokens(self) -> int:
        """Token budget of one step; the library's n_ubatch."""
        return self._step_tokens

    @property
    def num_slots(self) -> int:
        """Sequences whose cache it can hold at once; the library's n_seq_max."""
        return self._num_slots

    @property
    def num_retired_tokens(self) -> int:
        """Tokens that the caches of all retired sequences may hold together: as many as there are cells."""
        return self._num_retired_tokens

    def info(self) -> EngineInfo:
        """Return the build's version and CPU features."""
        features = llama_cpp.llama_print_system_info().decode(errors="replace").strip(" |")
        return EngineInfo(self.name, {"llama-cpp-python": llama_cpp.__version__}, features)

    def load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedModel:
        """Load a GGUF onto the CPU.

        Raises:
            LoadError: The library refused the file or its adapter, it is no decoder model, or something left the CPU.
        """
        started_at = time.monotonic()
        self._log.reset()
        self._model = self._load_model(spec, on_progress)
        self._adapter = load_adapter(self._model, spec, self._log)
        self.tokenizer = LlamaCppTokenizer(self._model)
        context_length, kv_cells = self._load_context(spec)
        if self._log.foreign_devices:
            raise LoadError(
                f"llama.cpp put parts of the model on {', '.join(self._log.foreign_devices)}, not on the CPU"
            )
        self._reader = LogitsReader(self.tokenizer.vocab_size)
        self._num_retired_tokens = kv_cells
        self._sees_whole_texts = sees_whole_texts(self._context)
        self.capabilities = EngineCapabilities(
            can_abort_step=True, can_cut_cache=self._caches_here.can_cut, forks_share_cells=True
        )
        return LoadedModel(
            context_length=context_length,
            max_sequences=spec.max_sequences,
            kv_cells=kv_cells,
            vocab_size=self.tokenizer.vocab_size,
            has_chat_template=self.tokenizer.chat_template is not None,
            load_ms=(time.monotonic() - started_at) * 1000,
            devices=tuple(sorted(self._log.devices)),
            can_generate=not self._sees_whole_texts,
            pooling=pooling_of(self._context),
        )

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Create the sequence's sampler; it gets a slot with its first chunk."""
        assert self._reader is not None, "load comes first"
        self._samplers[sequence.sequence_id] = create_sampler(sequence.sampling, self._reader)
        self._token_ids[sequence.sequence_id] = sequence.token_ids
        if editor is not None:
            self._editors[sequence.sequence_id] = editor

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let both sequences hold the same cells; a retired one's state is put back into cells of the target's own.

        Not done where memory has only the state after the last token and more or less than that is wanted, nor where a
        sliding window has dropped what would be seen.
        """
        return self._caches_here.fork(source_id, target_id, num_tokens)

    def retire(self, sequence_id: int) -> int:
        """Copy the sequence's state out of the cells and free them."""
        token_ids = self._token_ids.get(sequence_id, [])
        num_tokens = self._caches_here.retire(sequence_id, token_ids)
        self._forget(sequence_id)
        return num_tokens

    def save_cache(self, sequence_id: int, path: Path) -> int:
        """Write the sequence's state in the library's own form.

        Raises:
            EngineError: The file cannot be written.
        """
        token_ids = self._token_ids.get(sequence_id, [])
        return self._caches_here.save(sequence_id, token_ids, path, self._fingerprint)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read a state back, if it is this model's and undamaged."""
        return self._caches_here.load(path, sequence_id, token_ids, self._fingerprint)

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Decode all chunks in one call, then draw.

        Raises:
            EngineError: llama_decode failed.
        """
        for sequence_id in plan.evicted:
            self._caches_here.remove(sequence_id)
        if not plan.chunks:
            return StepResult()
        outputs = self._fill_batch(plan.chunks)
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
        return self._draw(plan.chunks, outputs)

    def remove(self, sequence_id: int) -> None:
        """Free the sequence's cells, slot and sampler, or its kept state."""
        if self._caches is not None:
            self._caches.remove(sequence_id)
        self._forget(sequence_id)

    @property
    def closing_ids(self) -> tuple[int, ...]:
        """Return EOS or BERT's separator, where the model's file asks for them."""
        return closing_ids(self._model)

    def create_encoder(self, spec: EncoderSpec) -> Encoder:
        """Make a context for one request's embeddings.

        Raises:
            EngineError: There is no memory for it.
        """
        return LlamaCppEncoder(
            self._model,
            spec,
            is_whole=self._sees_whole_texts,
            is_exact=self._has_float32_weights(),
            step_tokens=self._step_tokens,
            num_threads=self._num_threads,
            adapter=self._adapter,
        )

    def memory(self) -> EngineMemory:
        """llama.cpp keeps no account that can be asked; the process's own memory is the measure."""
        return EngineMemory(None, None)

    def close(self) -> None:
        """Free samplers, batch, context and model."""
        for sampler in self._samplers.values():
            sampler.close()
        self._samplers.clear()
        self._caches = None
        if self._batch is not None:
            llama_cpp.llama_batch_free(self._batch)
            self._batch = None
        if self._context is not None:
            llama_cpp.llama_free(self._context)
            self._context = None
        if self._model is not None:
            llama_cpp.llama_model_free(self._model)
            self._model = None

    def _load_model(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> object:
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
            raise LoadError(f"llama.cpp could not load {spec.model_path}: {self._log.words or 'it gave no reason'}")
        if not llama_cpp.llama_model_has_decoder(model) or llama_cpp.llama_model_has_encoder(model):
            llama_cpp.llama_model_free(model)
            raise LoadError(f"{spec.model_path} is not a decoder-only model; it cannot generate text here")
        return model

    def _load_context(self, spec: LoadSpec) -> tuple[int, int]:
        """Create the context; return the length of a sequence and the number of cells."""
        trained = llama_cpp.llama_model_n_ctx_train(self._model)
        context_length = min(spec.context_length, trained) if trained > 0 else spec.context_length
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = max(context_length, spec.kv_cells or 0)
        self._step_tokens = min(spec.step_tokens or DEFAULT_STEP_TOKENS, params.n_ctx)
        params.n_seq_max = self._num_slots = num_slots_for(
            self._model, spec.max_sequences, spec.cache_slots, has_full_windows=params.swa_full
        )
        # The library keeps room for one output of each sequence, and aborts where that is more than a batch.
        params.n_batch = max(self._step_tokens, self._num_slots)
        params.n_ubatch = self._step_tokens
        params.kv_unified = True
        params.offload_kqv = False
        params.op_offload = False
        params.no_perf = True
        set_cache_types(params, spec, has_float32_weights=self._has_float32_weights())
        self._num_threads = spec.num_threads or default_num_threads()
        params.n_threads = params.n_threads_batch = self._num_threads
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise no_context_error(spec, params.n_ctx, self._log.words)
        if self._adapter is not None:
            self._adapter.apply_to(self._context)
        self._caches = SequenceCaches(self._model, self._context)
        self._fingerprint = fingerprint_of(self._model, params)
        self._batch = llama_cpp.llama_batch_init(self._step_tokens, 0, 1)
        return context_length, llama_cpp.llama_n_ctx(self._context)

    def _has_float32_weights(self) -> bool:
        """Tell models all of whose matrices are float32. Source: llama.h, `LLAMA_FTYPE_ALL_F32 = 0`."""
        buffer = ctypes.create_string_buffer(16)
        num = llama_cpp.llama_model_meta_val_str(self._model, b"general.file_type", buffer, len(buffer))
        return num > 0 and buffer.value == str(llama_cpp.LLAMA_FTYPE_ALL_F32).encode()

    def _fill_batch(self, chunks: tuple[Chunk, ...]) -> list[int | None]:
        """Write the chunks into the batch; return per chunk the batch index of its output, None without one."""
        batch = self._batch
        assert batch is not None
        tokens, positions, slots, num_slots, logits = batch.token, batch.pos, batch.seq_id, batch.n_seq_id, batch.logits
        outputs: list[int | None] = []
        index = 0
        for chunk in chunks:
            slot = self._caches_here.slot_of(chunk.sequence.sequence_id)
            for position in range(chunk.start, chunk.end):
                tokens[index] = chunk.sequence.token_ids[position]
                positions[index] = position
                slots[index][0] = slot
                num_slots[index] = 1
                logits[index] = 0
                index += 1
            if chunk.samples:
                logits[index - 1] = 1
            outputs.append(index - 1 if chunk.samples else None)
        batch.n_tokens = index
        return outputs

    def _draw(self, chunks: tuple[Chunk, ...], outputs: list[int | None]) -> StepResult:
        result = StepResult()
        for chunk, output in zip(chunks, outputs, strict=True):
            sequence_id = chunk.sequence.sequence_id
            result.num_computed[sequence_id] = chunk.end
            if output is None:
                continue
            try:
                self._draw_one(sequence_id, output, result)
            except BackendError as exc:  # the editor's; it must not end the others' step
                result.errors[sequence_id] = exc
        return result

    def _draw_one(self, sequence_id: int, output: int, result: StepResult) -> None:
        sampler = self._samplers[sequence_id]
        editor = self._editors.get(sequence_id)
        if editor is None:
            result.tokens[sequence_id] = sampler.sample(self._context, output)
            return
        assert self._reader is not None, "load comes first"
        editor.edit(self._reader.row(self._context, output))
        token_id = sampler.sample(self._context, output)
        likelihoods = editor.accept(token_id)
        result.tokens[sequence_id] = token_id
        if likelihoods is not None:
            result.likelihoods[sequence_id] = likelihoods

    def _roll_back(self, chunks: tuple[Chunk, ...]) -> dict[int, int]:
        """Take a failed step's tokens out of the cache; return what each sequence still has there."""
        caches = self._caches_here
        return {chunk.sequence.sequence_id: caches.cut(chunk.sequence.sequence_id, chunk.start) for chunk in chunks}

    def _forget(self, sequence_id: int) -> None:
        self._token_ids.pop(sequence_id, None)
        self._editors.pop(sequence_id, None)
        sampler = self._samplers.pop(sequence_id, None)
        if sampler is not None:
            sampler.close()

    @property
    def _caches_here(self) -> SequenceCaches:
        assert self._caches is not None, "load comes first"
        return self._caches

    def _is_abort_wanted(self) -> bool:
        return self._should_abort is not None and self._should_abort()
