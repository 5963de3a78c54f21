"""A model on mlx: mlx-lm's BatchGenerator does prefill and decode; this maps sequences to it and back.

The generator batches by its own rules, so a plan says which sequences take part and how much may be prefilled: what is
reported back is what the generator really did. It draws one token ahead of what it returns; where a sequence is held,
that token is dropped and drawn again, from the same position of the sequence's own random generator.

A sequence with an editor costs the whole batch its pipelining: its logits have to be on the host before the next token
can be drawn.
"""

import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm.generate import BatchGenerator
from mlx_lm.models.cache import make_prompt_cache

from backends.base import LoadedEngine
from backends.cache_files import ExportedCache
from backends.checkpoint_store import CheckpointStore
from backends.embedding import Encoder
from backends.errors import EngineError
from backends.logits import LogitsEditor
from backends.mlx.caches import KeptCache, fingerprint_of
from backends.mlx.checkpoints import LayerCopies, copy_of, cutting_of
from backends.mlx.device import device_name, has_metal
from backends.mlx.embedding import MLXEncoder, closing_ids
from backends.mlx.inputs import SequenceInputs, cut_at
from backends.mlx.library import mlx_errors
from backends.mlx.live import Live, why_no_drafts
from backends.mlx.loading import LIBRARIES, VISION_LIBRARIES, LoadedWeights, context_length
from backends.mlx.prefill_size import CPU_STEP_TOKENS, METAL_STEP_TOKENS, MIN_STEP_TOKENS, PrefillSize
from backends.mlx.retired import Retired, RetiredCaches
from backends.mlx.sampler import EditedDraws, SeededSampler, create_sampler
from backends.mlx.scoring import PromptScorer
from backends.mlx.single import STEPS_WITHOUT, SingleDecoder
from backends.mlx.tokenizer import MLXTokenizer
from backends.sequence import Sequence, Tile
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.request import Pooling


class LoadedMLX(LoadedEngine):
    """A model in mlx-lm's hands."""

    def __init__(self, spec: LoadSpec, weights: LoadedWeights) -> None:
        model, wrapper, config, self._vision, self.why_text_only, self._group = weights
        self._model = model
        tokenizer = MLXTokenizer(
            wrapper, frozenset(getattr(wrapper, "eos_token_ids", None) or ()), Path(spec.model_path)
        )
        num_tokens = context_length(spec, config)
        step_tokens = spec.step_tokens or (METAL_STEP_TOKENS if has_metal() else CPU_STEP_TOKENS)
        if self._vision is not None:
            step_tokens = max(step_tokens, self._vision.whole_rows)
        cutting = cutting_of(make_prompt_cache(model))
        super().__init__(
            spec,
            LoadedModel(
                context_length=num_tokens,
                max_sequences=spec.max_sequences,
                kv_cells=max(num_tokens, spec.kv_cells or 0),
                vocab_size=tokenizer.vocab_size,
                devices=(device_name(),),
                why_no_drafts=why_no_drafts(cutting, sees=self._vision is not None, is_shared=self._group is not None),
                why_no_draft_model=None if spec.draft is None else "a second model drafts on llamacpp only",
            ),
            tokenizer,
            step_tokens=step_tokens,
            num_slots=spec.max_sequences + spec.num_spare_slots,
            can_cut_cache=cutting.is_free,
            num_cuttable_tokens=cutting.num_tokens,
            makes_checkpoints=True,
            max_drafted=1,
            forks_share_cells=False,
            closing_ids=closing_ids(wrapper),
        )
        self.computes_on_cpu = not has_metal()
        self._single = SingleDecoder(model)
        self._generator = BatchGenerator(
            model,
            completion_batch_size=spec.max_sequences,
            prefill_batch_size=spec.max_sequences,
            # The most that it evaluates at once; `_set_chunk` says how much of it a step is to do.
            prefill_step_size=step_tokens,
            stream=None if self._group is None else self._group.stream,
        )
        libraries = LIBRARIES if self._vision is None else VISION_LIBRARIES
        self.cache_fingerprint = fingerprint_of(config, model, libraries, spec.kept_bits)
        self._prefill = PrefillSize(step_tokens)
        self._scorer = PromptScorer(model, step_tokens)
        self._inputs = SequenceInputs() if self._vision is None else self._vision.inputs
        self._live: dict[int, Live] = {}
        self._by_uid: dict[int, Live] = {}
        self._retired = RetiredCaches(spec.kept_bits)
        self._checkpoints = CheckpointStore[LayerCopies]()

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Create the sequence's sampler; the generator gets it with its first chunk."""
        self._live[sequence.sequence_id] = Live(sequence, create_sampler(sequence.sampling), editor)

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Copy the source's cache, cut it and keep it until the target's first step.

        Caches that cannot be cut (recurrent, or a window that has gone round) begin others as a whole, or at a
        checkpoint.
        """
        target = self._live.get(target_id)
        if target is None or target.uid is not None or target.kept is not None:
            return False
        cache = self._cache_of(source_id)
        if cache is None or not cache.cut(num_tokens, self._checkpoints.get(source_id, num_tokens)):
            return False
        target.kept = cache
        self._checkpoints.share(source_id, target_id, num_tokens)
        return True

    def retire(self, sequence_id: int) -> int:
        """Take the sequence out of the generator and keep its cache as it is."""
        kept = self._retirable(sequence_id)
        if kept is None:
            LoadedMLX.remove(self, sequence_id)  # a part of this call, also where each is told to other ranks
            return 0
        self._drop_cache(sequence_id)
        self._live.pop(sequence_id, None)
        self._checkpoints.truncate(sequence_id, len(kept.token_ids))
        self._retired.put(sequence_id, kept)
        return len(kept.token_ids)

    def add_checkpoint(self, sequence_id: int) -> int:
        """Copy the layers that cannot be cut, if the cache covers what is computed, and no more."""
        live = self._live.get(sequence_id)
        if live is None:
            return 0
        try:
            with mlx_errors(EngineError, "copy a state"):
                cache = live.kept if live.uid is None else self._extracted(live.uid)
                if cache is None or cache.num_tokens != live.sequence.num_computed:
                    return 0
                state = copy_of(cache.layers, cache.num_tokens)
        except EngineError:  # nothing is lost, as in `_cache_of`
            return 0
        self._checkpoints.add(sequence_id, state.num_tokens, state)
        return state.num_bytes

    def drop_checkpoint(self, sequence_id: int, num_tokens: int) -> None:
        """Drop a copy."""
        self._checkpoints.drop(sequence_id, num_tokens)

    def checkpoints_of(self, sequence_id: int) -> dict[int, int]:
        """Return what each copy takes."""
        return {place: state.num_bytes for place, state in self._checkpoints.of(sequence_id).items()}

    def export_cache(self, sequence_id: int, places: Collection[int] | None = None) -> ExportedCache | None:
        """Return the sequence's cache as safetensors, one per layer and one per checkpoint."""
        kept = self._retired.get(sequence_id) or self._retirable(sequence_id)
        held = self._checkpoints.of(sequence_id)
        states = [state for place, state in held.items() if places is None or place in places]
        return None if kept is None else kept.kept.exported(kept.token_ids, states)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read a cache back, if it is this model's and undamaged."""
        read = KeptCache.load(path, token_ids, self.cache_fingerprint)
        if read is None:
            return 0
        cache, states = read
        for state in states:
            self._checkpoints.add(sequence_id, state.num_tokens, state)
        self._retired.put(sequence_id, Retired(cache, token_ids[: cache.num_tokens]))
        return cache.num_tokens

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Let the generator do its next step for the sequences of the plan."""
        del should_abort  # nothing to be done inside a step; chunks are kept short instead
        for sequence_id in plan.evicted:
            self._drop_cache(sequence_id)
            self._checkpoints.remove(sequence_id)
        planned_ids = {chunk.sequence.sequence_id for chunk in plan.chunks}
        submitted = {live.sequence.sequence_id: live for live in self._by_uid.values()}
        held = {sequence_id: self._hold(submitted[sequence_id]) for sequence_id in submitted.keys() - planned_ids}
        if not plan.chunks:
            return StepResult(num_computed=held)
        result = StepResult(num_computed=held)
        if self._decode_alone(plan.chunks, result):
            return result
        scored: list[Chunk] = []
        generated: list[Chunk] = []
        for chunk in plan.chunks:
            (scored if self._is_to_be_scored(chunk) else generated).append(chunk)
        if generated:
            self._generate(generated, result)
        if scored:
            self._score(scored, result)
        return result

    @property
    def sizes(self) -> tuple[PrefillSize, PrefillSize]:
        """How much a step may evaluate of prompts, and of those whose likelihoods are told."""
        return self._prefill, self._scorer.size

    def clear_pool(self) -> None:
        """Empty MLX's buffer cache."""
        mx.clear_cache()

    def remove(self, sequence_id: int) -> None:
        """Forget the sequence and its cache, live or retired."""
        self._drop_cache(sequence_id)
        self._checkpoints.remove(sequence_id)
        self._live.pop(sequence_id, None)

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> bool:
        """Have mlx-vlm's code make the rows; given up between two layers of the tower."""
        assert self._vision is not None, "it evaluates rows"
        with mlx_errors(EngineError, "look at a picture"):
            rows = self._vision.tower.encode(tile, should_abort)
        if rows is None:
            return False
        tile.rows = rows
        return True

    def create_encoder(self, pooling: Pooling, max_tokens: int) -> Encoder:
        """Make a cache for one request's embeddings."""
        return MLXEncoder(self._model, pooling, min(max_tokens, self.limits.step_tokens))

    def close(self) -> None:
        """Drop the generator and the model."""
        self._generator.close()
        self._model = None

    def _decode_alone(self, chunks: tuple[Chunk, ...], result: StepResult) -> bool:
        """Decode outside the generator where a sequence is alone and has a draft, or had one; tell whether it was."""
        first, *others = chunks
        live = self._live[first.sequence.sequence_id]
        if first.draft:
            live.num_single = STEPS_WITHOUT
        if others or not first.sequence.is_decoding or not live.num_single:
            live.num_single = 0
            return False
        live.num_single -= not first.draft
        if live.uid is not None:
            self._hold(live)
        if live.kept is None:  # there was no memory for a copy
            live.num_single = 0
            return False
        # In the generator's stream, in which the cache has been computed and will be again.
        with mlx_errors(EngineError, "compute the step"), mx.stream(self._generator.stream):
            self._single.step(first, live.kept, live.sampler, live.editor, result)
        return True

    def _generate(self, chunks: list[Chunk], result: StepResult) -> None:
        """Let the generator do its next step."""
        for chunk in chunks:
            live = self._live[chunk.sequence.sequence_id]
            if live.uid is None:
                self._submit(live)
        with mlx_errors(EngineError, "compute the step"):
            self._set_chunk(chunks, self._inputs.before_step(chunks))
            started_at = time.monotonic()
            prompts, answers = self._generator.next()
            duration_s = time.monotonic() - started_at
        self._collect(prompts, answers, result)
        prefilling = {self._by_uid[response.uid].sequence.sequence_id for response in prompts}
        starts = {chunk.sequence.sequence_id: chunk.start for chunk in chunks}
        num_prefilled = sum(result.num_computed[i] - starts[i] for i in prefilling & starts.keys())
        if num_prefilled > 0:
            self._prefill.adapt(num_prefilled, duration_s)

    def _is_to_be_scored(self, chunk: Chunk) -> bool:
        """Tell whether a chunk is not the generator's, which keeps no logits of prompts."""
        live = self._live[chunk.sequence.sequence_id]
        return live.uid is None and bool(chunk.scored)

    def _score(self, chunks: list[Chunk], result: StepResult) -> None:
        """Evaluate prompts up to their last token, with which the generator begins."""
        self._scorer.begin_step()
        for chunk in chunks:
            live, sequence_id = self._live[chunk.sequence.sequence_id], chunk.sequence.sequence_id
            scored = self._scorer.score(chunk, live.kept)
            if scored is not None:
                live.kept, result.prompt_scores[sequence_id] = scored
                result.num_computed[sequence_id] = live.kept.num_tokens

    def _submit(self, live: Live) -> None:
        sequence, kept = live.sequence, live.kept
        live.kept = None
        num_done = 0 if kept is None else kept.num_tokens
        if isinstance(live.sampler, SeededSampler):
            live.sampler.position = sequence.num_output_tokens
        if live.editor is not None:
            live.draws = EditedDraws(live.editor)
        given = self._inputs.begin(sequence, num_done)
        layers = None if kept is None else kept.layers
        if given.positions is not None:
            layers = [*(layers or make_prompt_cache(self._model)), given.positions]
        (uid,) = self._generator.insert_segments(
            [cut_at(given.segments, num_done, sequence.checkpoint_places)],
            # Ends are decided by the shared code; the generator must not end a sequence by itself.
            max_tokens=[sequence.max_output_tokens + 1],
            caches=None if layers is None else [layers],
            all_tokens=[given.done_ids],
            samplers=[live.sampler if self._group is None else self._group.shared(live.sampler)],
            logits_processors=[[] if live.draws is None else [live.draws]],
        )
        live.uid = uid
        self._by_uid[uid] = live

    def _cache_of(self, sequence_id: int) -> KeptCache | None:
        """Return a copy of a sequence's cache, wherever it is; None where it has none, or there is no memory for it."""
        retired = self._retired.get(sequence_id)
        if retired is not None:
            return retired.kept.copied()
        live = self._live.get(sequence_id)
        if live is None or live.uid is None:
            return None if live is None or live.kept is None else live.kept.copied()
        try:
            with mlx_errors(EngineError, "copy a cache"):
                # Not yet begun, it is what the sequence was submitted with, and the generator's.
                cache = self._extracted(live.uid).computed().copied()
        except EngineError:  # nothing is lost: whoever wants it can be computed from its beginning
            return None
        return cache if cache.num_tokens else None

    def _extracted(self, uid: int) -> KeptCache:
        """Return the cache of a sequence in the generator, not computed yet where that copies it."""
        return KeptCache.of(self._generator.extract_cache([uid])[uid])

    def _retirable(self, sequence_id: int) -> Retired | None:
        """Return what could be kept of a live sequence."""
        live = self._live.get(sequence_id)
        cache = self._cache_of(sequence_id)
        if live is None or cache is None:
            return None
        if cache.num_tokens > len(live.sequence.token_ids):  # of a draft whose end nobody wants any more
            cache.cut(len(live.sequence.token_ids))
        if not 0 < cache.num_tokens <= len(live.sequence.token_ids):
            return None
        return Retired(cache, live.sequence.token_ids[: cache.num_tokens])

    def _hold(self, live: Live) -> int:
        """Take a sequence out of the generator, keeping its cache; return how many of its tokens that holds."""
        sequence = live.sequence
        cache = self._cache_of(sequence.sequence_id)
        self._drop_cache(sequence.sequence_id)
        # The cache may cover the newest token already; it has to be computed again to draw the next one.
        num_tokens = 0 if cache is None else min(cache.num_tokens, len(sequence.token_ids) - 1)
        if cache is not None and not cache.cut(num_tokens):
            num_tokens = self._checkpoints.last(sequence.sequence_id, num_tokens)
            if not cache.cut(num_tokens, self._checkpoints.get(sequence.sequence_id, num_tokens)):
                num_tokens = 0
        self._checkpoints.truncate(sequence.sequence_id, num_tokens)
        live.kept = cache if num_tokens else None
        return num_tokens

    def _drop_cache(self, sequence_id: int) -> None:
        self._retired.drop(sequence_id)
        live = self._live.get(sequence_id)
        if live is None:
            return
        live.kept = live.draws = None
        if live.uid is not None:
            del self._by_uid[live.uid]
            self._generator.remove([live.uid])
            live.uid = None
            self._inputs.end(live.sequence)

    def _collect(self, prompts: list[Any], answers: list[Any], result: StepResult) -> None:
        for response in prompts:
            sequence = self._by_uid[response.uid].sequence
            done, total = response.progress
            computed = min(len(sequence.token_ids) - (total - done), len(sequence.token_ids) - 1)
            result.num_computed[sequence.sequence_id] = computed
            self._inputs.on_computed(sequence, computed)
        for response in answers:
            live = self._by_uid[response.uid]
            sequence_id = live.sequence.sequence_id
            result.num_computed[sequence_id] = len(live.sequence.token_ids)
            if live.draws is None:
                result.add(sequence_id, response.token, None)
            elif live.draws.error is not None:
                result.errors[sequence_id] = live.draws.error
            else:
                result.add(sequence_id, response.token, live.draws.likelihoods)

    def _set_chunk(self, chunks: list[Chunk], least: int) -> None:
        """Share the step's prefill tokens among the prompts that are to be evaluated; never more than were planned.

        Args:
            least: Tokens of each that have to be evaluated at once.
        """
        planned = [chunk.num_tokens for chunk in chunks if not chunk.sequence.is_decoding]
        budget = min(self._prefill.num_tokens, sum(planned))
        self._generator.prefill_step_size = max(MIN_STEP_TOKENS, budget // max(1, len(planned)), least)
