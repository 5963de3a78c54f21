"""The mlx engine: mlx-lm's BatchGenerator does prefill and decode; this maps sequences to it and back.

The generator batches by its own rules, so a plan says which sequences take part and how much may be prefilled: what is
reported back is what the generator really did. It draws one token ahead of what it returns; where a sequence is held,
that token is dropped and drawn again, from the same position of the sequence's own random generator.

A sequence with an editor costs the whole batch its pipelining: its logits have to be on the host before the next token
can be drawn.
"""

import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import can_trim_prompt_cache, make_prompt_cache

from backends.base import Chunk, Engine, EngineCapabilities, EngineInfo, EngineMemory, StepPlan, StepResult
from backends.embedding import Encoder, EncoderSpec
from backends.errors import EngineError, LoadError
from backends.logits import LogitsEditor
from backends.mlx.adapters import lay_adapter_over
from backends.mlx.caches import KeptCache, check_kv_type, fingerprint_of
from backends.mlx.editing import EditedDraws
from backends.mlx.embedding import MLXEncoder, closing_ids
from backends.mlx.library import mlx_errors
from backends.mlx.sampler import Sampler, SeededSampler, create_sampler
from backends.mlx.tokenizer import MLXTokenizer
from backends.sequence import Sequence
from backends.wire.messages import LoadedModel, LoadSpec

METAL_STEP_TOKENS = 512
CPU_STEP_TOKENS = 64
FIRST_STEP_TOKENS = 8
"""Prefill of a step before the machine's prefill rate is known; an unknown CPU may do ten tokens a second."""
TARGET_STEP_S = 0.4
"""A prefill chunk cannot be given up in the middle: its size is kept to about this time, and a cancel acts in 1 s."""
MIN_STEP_TOKENS = 2
_EXTRA_SLOTS = 24


class MLXEngine(Engine):
    """See the module; the thread that loads must be the one that steps (streams belong to threads)."""

    name = "mlx"

    def __init__(self) -> None:
        self._generator: BatchGenerator | None = None
        self._model: Any = None
        self._closing_ids: tuple[int, ...] = ()
        self._step_tokens = METAL_STEP_TOKENS if _has_metal() else CPU_STEP_TOKENS
        self._num_slots = 1
        self._num_retired_tokens = 0
        self._prefill_tokens = FIRST_STEP_TOKENS
        self._samplers: dict[int, Sampler] = {}
        self._editors: dict[int, LogitsEditor] = {}
        self._edited_draws: dict[int, EditedDraws] = {}
        self._uids: dict[int, int] = {}
        self._sequence_ids: dict[int, int] = {}
        self._sequences: dict[int, Sequence] = {}
        self._kept: dict[int, KeptCache] = {}
        self._token_ids: dict[int, list[int]] = {}
        self._fingerprint = ""

    @property
    def step_tokens(self) -> int:
        """Token budget of one prefill chunk; the generator's chunk adapts below it."""
        return self._step_tokens

    @property
    def num_slots(self) -> int:
        """Sequences whose cache it can hold at once."""
        return self._num_slots

    @property
    def num_retired_tokens(self) -> int:
        """Tokens that the caches of all retired sequences may hold together: as many as there are cells."""
        return self._num_retired_tokens

    def info(self) -> EngineInfo:
        """Return library versions and the device."""
        versions = {"mlx": version("mlx"), "mlx-lm": version("mlx-lm")}
        return EngineInfo(self.name, versions, _device_name())

    def load(self, spec: LoadSpec, on_progress: Callable[[float], None]) -> LoadedModel:
        """Load an MLX folder.

        Raises:
            LoadError: mlx-lm refused it or its adapter.
        """
        check_kv_type(spec.kv_type)
        started_at = time.monotonic()
        on_progress(0.0)
        with mlx_errors(LoadError, f"load {spec.model_path}"):
            if spec.cache_limit_bytes is not None:
                mx.set_cache_limit(spec.cache_limit_bytes)
            self._model, wrapper, config = mlx_lm.load(
                str(Path(spec.model_path)),
                tokenizer_config={"trust_remote_code": False},
                return_config=True,
                trust_remote_code=False,
            )
            lay_adapter_over(self._model, spec)
            if not _has_metal():
                # Half precision runs tens of times slower than float32 on MLX's CPU build.
                self._model.set_dtype(mx.float32)
                mx.eval(self._model.parameters())
            end_ids = frozenset(getattr(wrapper, "eos_token_ids", None) or ())
            self.tokenizer = MLXTokenizer(wrapper, end_ids)
            self._closing_ids = closing_ids(wrapper)
            self._step_tokens = spec.step_tokens or self._step_tokens
            extra = max(_EXTRA_SLOTS, spec.max_sequences) if spec.cache_slots is None else spec.cache_slots
            self._num_slots = spec.max_sequences + extra
            self._fingerprint = fingerprint_of(config, self._model)
            self._generator = self._create_generator(spec)
            if spec.wired_limit_bytes is not None and _has_metal():
                mx.set_wired_limit(spec.wired_limit_bytes)  # after the generator, which sets Metal's recommendation
        on_progress(1.0)
        self.capabilities = EngineCapabilities(
            can_abort_step=False,
            can_cut_cache=can_trim_prompt_cache(self._empty_cache()),
            forks_share_cells=False,
        )
        context_length = _context_length(spec, config)
        self._num_retired_tokens = max(context_length, spec.kv_cells or 0)
        return LoadedModel(
            context_length=context_length,
            max_sequences=spec.max_sequences,
            kv_cells=max(context_length, spec.kv_cells or 0),
            vocab_size=self.tokenizer.vocab_size,
            has_chat_template=self.tokenizer.chat_template is not None,
            load_ms=(time.monotonic() - started_at) * 1000,
            devices=(_device_name(),),
        )

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Create the sequence's sampler; the generator gets it with its first chunk."""
        self._samplers[sequence.sequence_id] = create_sampler(sequence.sampling)
        self._token_ids[sequence.sequence_id] = sequence.token_ids
        if editor is not None:
            self._editors[sequence.sequence_id] = editor

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Copy the source's cache, cut it and keep it until the target's first step.

        Caches that cannot be cut (recurrent, or a window that has gone round) begin others as a whole only.
        """
        if target_id in self._uids or target_id in self._kept:
            return False
        try:
            cache = self._cache_of(source_id)
            if cache is None or not cache.cut(num_tokens):
                return False
        except EngineError:  # the source is untouched, and the target can be computed from its beginning
            return False
        self._kept[target_id] = cache
        return True

    def retire(self, sequence_id: int) -> int:
        """Take the sequence out of the generator and keep its cache as it is."""
        try:
            cache = self._cache_of(sequence_id)
        except EngineError:
            cache = None
        token_ids = self._token_ids.get(sequence_id, [])
        self.remove(sequence_id)
        if cache is None or not 0 < cache.num_tokens <= len(token_ids):
            return 0
        self._kept[sequence_id] = cache
        self._token_ids[sequence_id] = token_ids[: cache.num_tokens]
        return cache.num_tokens

    def save_cache(self, sequence_id: int, path: Path) -> int:
        """Write the sequence's cache as safetensors.

        Raises:
            EngineError: It cannot be written.
        """
        cache = self._cache_of(sequence_id)
        token_ids = self._token_ids.get(sequence_id, [])
        if cache is None or not 0 < cache.num_tokens <= len(token_ids):
            return 0
        return cache.save(path, token_ids, self._fingerprint)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read a cache back, if it is this model's and undamaged."""
        cache = KeptCache.load(path, token_ids, self._fingerprint)
        if cache is None:
            return 0
        self._kept[sequence_id] = cache
        self._token_ids[sequence_id] = token_ids[: cache.num_tokens]
        return cache.num_tokens

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Let the generator do its next step for the sequences of the plan.

        Raises:
            EngineError: The model code or mlx failed.
        """
        del should_abort  # nothing to be done inside a step; chunks are kept short instead
        assert self._generator is not None
        for sequence_id in plan.evicted:
            self._drop_cache(sequence_id)
        held = self._hold_all_but({chunk.sequence.sequence_id for chunk in plan.chunks})
        if not plan.chunks:
            return StepResult(num_computed=held)
        for chunk in plan.chunks:
            if chunk.sequence.sequence_id not in self._uids:
                self._submit(chunk.sequence)
        self._set_chunk(plan.chunks)
        with mlx_errors(EngineError, "compute the step"):
            started_at = time.monotonic()
            prompts, answers = self._generator.next()
            duration_s = time.monotonic() - started_at
        result = self._collect(prompts, answers)
        result.num_computed |= held
        prefilling = {self._sequence_ids[response.uid] for response in prompts}
        starts = {chunk.sequence.sequence_id: chunk.start for chunk in plan.chunks}
        num_prefilled = sum(result.num_computed[i] - starts[i] for i in prefilling & starts.keys())
        if num_prefilled > 0:
            self._adapt_prefill(num_prefilled, duration_s)
        return result

    def remove(self, sequence_id: int) -> None:
        """Forget the sequence and its cache, live or retired."""
        self._drop_cache(sequence_id)
        self._token_ids.pop(sequence_id, None)
        self._samplers.pop(sequence_id, None)
        self._editors.pop(sequence_id, None)

    @property
    def closing_ids(self) -> tuple[int, ...]:
        """Return what the tokenizer itself puts after a text."""
        return self._closing_ids

    def create_encoder(self, spec: EncoderSpec) -> Encoder:
        """Make a cache for one request's embeddings.

        Raises:
            UnsupportedByModelError: The model's code has no part that returns hidden states.
        """
        return MLXEncoder(self._model, spec, step_tokens=self._step_tokens)

    def memory(self) -> EngineMemory:
        """Return MLX's own account."""
        return EngineMemory(mx.get_active_memory(), mx.get_cache_memory())

    def close(self) -> None:
        """Drop the generator and the model."""
        if self._generator is not None:
            self._generator.close()
            self._generator = None
        self._model = None

    def _create_generator(self, spec: LoadSpec) -> BatchGenerator:
        return BatchGenerator(
            self._model,
            completion_batch_size=spec.max_sequences,
            prefill_batch_size=spec.max_sequences,
            # The most that it evaluates at once; `_set_chunk` says how much of it a step is to do.
            prefill_step_size=self._step_tokens,
        )

    def _empty_cache(self) -> list[Any]:
        return list(make_prompt_cache(self._model))

    def _submit(self, sequence: Sequence) -> None:
        assert self._generator is not None
        sequence_id = sequence.sequence_id
        kept = self._kept.pop(sequence_id, None)
        done = kept.num_tokens if kept else 0
        sampler = self._samplers[sequence_id]
        if isinstance(sampler, SeededSampler):
            sampler.position = sequence.num_output_tokens
        processors: list[EditedDraws] = []
        editor = self._editors.get(sequence_id)
        if editor is not None:
            draws = self._edited_draws[sequence_id] = EditedDraws(editor)
            processors = [draws]
        (uid,) = self._generator.insert(
            [sequence.token_ids[done:]],
            # Ends are decided by the shared code; the generator must not end a sequence by itself.
            max_tokens=[sequence.max_output_tokens + 1],
            caches=[kept.layers] if kept else None,
            all_tokens=[sequence.token_ids[:done]],
            samplers=[sampler],
            logits_processors=[processors],
        )
        self._uids[sequence_id] = uid
        self._sequence_ids[uid] = sequence_id
        self._sequences[sequence_id] = sequence

    def _cache_of(self, sequence_id: int) -> KeptCache | None:
        """Return a copy of a sequence's cache, wherever it is; None where it has none.

        Raises:
            EngineError: There is no memory for the copy.
        """
        kept = self._kept.get(sequence_id)
        if kept is not None:
            return kept.copied()
        uid = self._uids.get(sequence_id)
        if uid is None:
            return None
        assert self._generator is not None
        with mlx_errors(EngineError, "copy a cache"):
            # Not yet begun, it is what the sequence was submitted with, and the generator's.
            cache = KeptCache.of(self._generator.extract_cache([uid])[uid]).copied()
        return cache if cache.num_tokens else None

    def _hold_all_but(self, planned_ids: set[int]) -> dict[int, int]:
        """Take everybody else out of the generator; return how many of their tokens their caches hold now."""
        return {sequence_id: self._hold(sequence_id) for sequence_id in list(self._uids.keys() - planned_ids)}

    def _hold(self, sequence_id: int) -> int:
        """Take a sequence out of the generator, keeping its cache; return how many of its tokens that holds."""
        try:
            cache = self._cache_of(sequence_id)
        except EngineError:  # it can be computed again
            cache = None
        self._drop_cache(sequence_id)
        if cache is None:
            return 0
        # The cache may cover the newest token already; it has to be computed again to draw the next one.
        if not cache.cut(min(cache.num_tokens, len(self._token_ids[sequence_id]) - 1)):
            return 0
        self._kept[sequence_id] = cache
        return cache.num_tokens

    def _drop_cache(self, sequence_id: int) -> None:
        self._kept.pop(sequence_id, None)
        self._sequences.pop(sequence_id, None)
        self._edited_draws.pop(sequence_id, None)
        uid = self._uids.pop(sequence_id, None)
        if uid is not None:
            assert self._generator is not None
            del self._sequence_ids[uid]
            self._generator.remove([uid])

    def _collect(self, prompts: list[Any], answers: list[Any]) -> StepResult:
        result = StepResult()
        for response in prompts:
            sequence_id = self._sequence_ids[response.uid]
            sequence = self._sequences[sequence_id]
            done, total = response.progress
            computed = len(sequence.token_ids) - (total - done)
            result.num_computed[sequence_id] = min(computed, len(sequence.token_ids) - 1)
        for response in answers:
            sequence_id = self._sequence_ids[response.uid]
            result.num_computed[sequence_id] = len(self._sequences[sequence_id].token_ids)
            draws = self._edited_draws.get(sequence_id)
            if draws is not None and draws.error is not None:
                result.errors[sequence_id] = draws.error
                continue
            result.tokens[sequence_id] = response.token
            if draws is not None and draws.likelihoods is not None:
                result.likelihoods[sequence_id] = draws.likelihoods
        return result

    def _set_chunk(self, chunks: tuple[Chunk, ...]) -> None:
        """Share the step's prefill tokens among the prompts that are to be evaluated; never more than were planned."""
        assert self._generator is not None
        planned = [chunk.num_tokens for chunk in chunks if not chunk.sequence.is_decoding]
        budget = min(self._prefill_tokens, sum(planned))
        self._generator.prefill_step_size = max(MIN_STEP_TOKENS, budget // max(1, len(planned)))

    def _adapt_prefill(self, num_tokens: int, duration_s: float) -> None:
        """Size the next step's prefill so that it takes about TARGET_STEP_S at the rate just seen."""
        target = int(num_tokens / duration_s * TARGET_STEP_S)
        if duration_s <= TARGET_STEP_S:  # a short one, because there was no more to do, says nothing of longer ones
            target = max(target, self._prefill_tokens)
        # At most doubled: the first steps include the compilation of kernels and tell little.
        self._prefill_tokens = max(MIN_STEP_TOKENS, min(self._step_tokens, self._prefill_tokens * 2, target))


def _has_metal() -> bool:
    return bool(mx.metal.is_available())


def _device_name() -> str:
    return "Metal GPU" if _has_metal() else "CPU"


def _context_length(spec: LoadSpec, config: dict[str, Any]) -> int:
    """Return the tokens one sequence may hold; nested text configs carry the limit in multimodal folders."""
    text_config = config.get("text_config")
    trained = config.get("max_position_embeddings")
    if trained is None and isinstance(text_config, dict):
        trained = text_config.get("max_position_embeddings")
    return min(spec.context_length, trained) if isinstance(trained, int) and trained > 0 else spec.context_length
