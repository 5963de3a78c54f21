"""A model on llama.cpp: one context with a unified KV cache, all sequences' tokens in one `llama_decode`."""

import ctypes
import functools
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import llama_cpp
import msgspec

from backends.base import WHY_NO_DRAFTS, LoadedEngine
from backends.cache_files import ExportedCache
from backends.embedding import Encoder
from backends.errors import BackendError, EngineError
from backends.llamacpp.adapters import LoraAdapter
from backends.llamacpp.caches import SequenceCaches, fingerprint_of, num_kept_slots
from backends.llamacpp.context import Context
from backends.llamacpp.drafting.loading import LoadedDraft
from backends.llamacpp.embedding import LlamaCppEncoder, closing_ids, pair_form, pooling_of, sees_whole_texts
from backends.llamacpp.library import DECODE_ABORTED, DECODE_NO_SLOT, DECODE_OK, LibraryLog
from backends.llamacpp.loading import context_length, has_float32_weights
from backends.llamacpp.positions import Positions
from backends.llamacpp.sampler import LogitsReader, Sampler
from backends.llamacpp.spinning import Spinning
from backends.llamacpp.step_growth import StepGrower, StepGrowth
from backends.llamacpp.step_watch import StepWatch
from backends.llamacpp.threads import ThreadCount
from backends.llamacpp.token_batch import TokenBatch
from backends.llamacpp.tokenizer import LlamaCppTokenizer
from backends.logits import LogitsEditor, TokenScore, score
from backends.machine.current import current_platform
from backends.sequence import Sequence, Tile
from backends.step import Chunk, PromptScores, StepPlan, StepResult
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.request import Pooling
from backends.wire.stats import CellsMade

if TYPE_CHECKING:
    from backends.llamacpp.vision.vision import Vision

_ABORTABLE_TOKENS = 32
"""Steps with fewer prefill tokens end in milliseconds; asking Python at every graph node slows decode by some 2 %."""


class _Live(NamedTuple):
    """A sequence that was inserted and has not ended."""

    sequence: Sequence
    sampler: Sampler
    editor: LogitsEditor | None


class LoadedLlamaCpp(LoadedEngine):
    """A model on the CPU, whose tower computes on whatever thread asks it to.

    Args:
        model: A `llama_model_p`; owned from now on, like its context.
        context: Owned likewise.
        params: The `llama_context_params` that it was made with.
        tokenizer: Of the model.
        vision: How it sees; owned from now on.
        drafting: What drafts for it; owned from now on.
    """

    encodes_beside = True

    def __init__(
        self,
        spec: LoadSpec,
        log: LibraryLog,
        model: object,
        context: Context,
        params: Any,
        tokenizer: LlamaCppTokenizer,
        adapter: LoraAdapter | None,
        vision: "Vision | None",
        drafting: LoadedDraft,
    ) -> None:
        self._log = log
        self._model = model
        self._context = context
        self._params = params
        self._adapter = adapter
        self._sees_whole_texts = sees_whole_texts(context.pointer)
        self._vision = vision
        self._positions = Positions() if vision is None else vision.positions
        self._caches = SequenceCaches(model, context, self._positions)
        self._growing = StepGrower(context, self._caches)
        super().__init__(
            spec if vision is not None else msgspec.structs.replace(spec, vision=None),
            self._described(spec, tokenizer.vocab_size, drafting),
            tokenizer,
            step_tokens=params.n_ubatch,
            num_slots=num_kept_slots(spec, params.n_seq_max),
            num_live=params.n_seq_max,
            can_cut_cache=self._caches.can_cut,
            num_cuttable_tokens=self._caches.num_cuttable_tokens,
            makes_checkpoints=True,
            forks_share_cells=True,
            closing_ids=closing_ids(model),
        )
        self.pair_form = pair_form(model, context.pointer)
        self._live: dict[int, _Live] = {}
        self.cache_fingerprint = fingerprint_of(model, params)
        self._reader = LogitsReader(tokenizer.vocab_size)
        self._batch = TokenBatch(self.limits.step_tokens, self._positions, self._caches.slot_of)
        self._spinning = Spinning()
        self._threads = ThreadCount(
            params.n_threads,
            follows=spec.num_threads is None and not spec.holds_threads,
            can_sleep=self._spinning.can_change,
        )
        self._begun = 0.0, 0.0
        self._can_give_way = self._gives_way = self._is_watched = False
        self.drafter = self._draft_model = drafting.model
        if drafting.model is not None:
            drafting.model.num_threads = lambda: self._threads.num
        self._watch = StepWatch(self._is_crowded)
        self._should_abort: Callable[[], bool] | None = None
        self._on_abort = llama_cpp.ggml_abort_callback(lambda _data: self._is_abort_wanted())
        self._no_abort = llama_cpp.ggml_abort_callback()

    def _described(self, spec: LoadSpec, vocab_size: int, drafting: LoadedDraft) -> LoadedModel:
        return LoadedModel(
            context_length=context_length(self._model, spec),
            max_sequences=spec.max_sequences,
            kv_cells=self._context.num_promised,
            vocab_size=vocab_size,
            devices=tuple(sorted(self._log.devices)),
            can_generate=not self._sees_whole_texts,
            pooling=pooling_of(self._context.pointer),
            why_no_drafts=None if self._caches.can_cut else WHY_NO_DRAFTS,
            draft=drafting.described(spec),
            why_no_draft_model=drafting.why_not,
        )

    def note_cores(self, now: float, idle_s: float, own_s: float) -> None:
        """Take over a look at the cores from before the load; see `ThreadCount.look`."""
        self._threads.look(now, idle_s, own_s)

    @property
    def cells_made(self) -> CellsMade:
        """How far the context has grown."""
        context = self._context
        return CellsMade(context.num_cells, context.num_growths, context.growth_s)

    def insert(self, sequence: Sequence, editor: LogitsEditor | None = None) -> None:
        """Create the sequence's sampler; it gets a slot with its first chunk."""
        self._live[sequence.sequence_id] = _Live(sequence, Sampler(sequence.sampling, self._reader), editor)

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let both sequences hold the same cells; a retired one's state is put back into cells of the target's own.

        Not done where memory has only the state after the last token and more or less than that is wanted, nor where a
        sliding window has dropped what would be seen.
        """
        live = self._live.get(target_id)
        return live is not None and self._caches.fork(source_id, live.sequence, num_tokens)

    def retire(self, sequence_id: int) -> int:
        """Copy the sequence's state out of the cells and free them."""
        live = self._live.get(sequence_id)
        num_tokens = 0 if live is None else self._caches.retire(live.sequence)
        self._forget(sequence_id)
        return num_tokens

    def add_checkpoint(self, sequence_id: int) -> int:
        """Copy what cannot be cut of the sequence's state."""
        live = self._live.get(sequence_id)
        return 0 if live is None else self._caches.add_checkpoint(live.sequence)

    def drop_checkpoint(self, sequence_id: int, num_tokens: int) -> None:
        """Drop a copy."""
        self._caches.checkpoints.drop(sequence_id, num_tokens)

    def checkpoints_of(self, sequence_id: int) -> dict[int, int]:
        """Return what each copy takes."""
        return {place: len(data) for place, data in self._caches.checkpoints.of(sequence_id).items()}

    def export_cache(self, sequence_id: int, places: Collection[int] | None = None) -> ExportedCache | None:
        """Return the sequence's state in the library's own form."""
        live = self._live.get(sequence_id)
        return self._caches.export(sequence_id, None if live is None else live.sequence, places)

    def load_cache(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read a state back, if it is this model's and undamaged."""
        return self._caches.load(path, sequence_id, token_ids, self.cache_fingerprint)

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Decode all chunks, those of tokens in one call, after those of rows; then draw."""
        for sequence_id in plan.evicted:
            self._caches.remove(sequence_id)
        if not plan.chunks:
            return StepResult()
        longest = max(len(chunk.sequence.token_ids) for chunk in plan.chunks)
        if longest > self._context.num_cells:  # a long prompt, with as little in the cells as there ever will be
            grown = self._growing.grow(plan, should_abort, longest)
            if grown is not None:
                return self._go_on(grown, should_abort)
        return self._evaluated(plan, should_abort)

    def _go_on(self, grown: StepGrowth, should_abort: Callable[[], bool]) -> StepResult:
        """Do what is left of a step for which there are not more cells."""
        result = self._evaluated(grown.plan, should_abort) if grown.plan.chunks else StepResult()
        result.num_computed |= grown.num_computed
        result.errors |= grown.errors
        result.was_aborted |= grown.is_over
        return result

    def _evaluated(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Do a plan that evicts nobody, with more cells where it needs them."""
        self._listen_for_abort(plan, should_abort)
        rows = [chunk for chunk in plan.chunks if chunk.span is not None]
        texts = plan.chunks if not rows else tuple(chunk for chunk in plan.chunks if chunk.span is None)
        firsts, pending = self._batch.fill(texts), list(rows)
        status = self._evaluate(pending)
        while status in {DECODE_ABORTED, DECODE_NO_SLOT}:
            if status == DECODE_ABORTED and self._gives_way:
                self._roll_back(plan.chunks)
            elif status == DECODE_NO_SLOT and self._context.can_grow:
                grown = self._growing.grow(plan, should_abort)
                if grown is not None:
                    return self._go_on(grown, should_abort)
                self._listen_for_abort(plan, should_abort)
            else:
                break
            status = self._evaluate(pending)
        if status == DECODE_ABORTED:
            return StepResult(num_computed=self._roll_back(plan.chunks), was_aborted=True)
        if status != DECODE_OK:
            self._roll_back(plan.chunks)
            reason = "no free KV cells" if status == DECODE_NO_SLOT else f"status {status}"
            raise EngineError(f"llama.cpp could not decode the batch: {reason}; {self._log.words}".rstrip("; "))
        result = self._draw(texts, firsts)
        result.num_computed |= {chunk.sequence.sequence_id: chunk.end for chunk in rows}
        return result

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> bool:
        """Have the projector make a tile's rows; on any thread, beside the other calls."""
        assert self._vision is not None, "the load's spec says how it sees"
        return self._vision.encode(tile, should_abort)

    def clear_pool(self) -> None:
        """Do nothing: it keeps no memory that nobody uses."""

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
            is_exact=has_float32_weights(self._model),
            step_tokens=self.limits.step_tokens,
            num_threads=self._threads.num,
            adapter=self._adapter,
        )

    def close(self) -> None:
        """Free samplers, batch, contexts and models."""
        for sequence_id in list(self._live):
            self._forget(sequence_id)
        if self._draft_model is not None:
            self._draft_model.close()
        if self._vision is not None:
            self._vision.close()
        self._watch.close()
        self._spinning.set(is_short=False)
        self._batch.close()
        self._context.close()
        llama_cpp.llama_model_free(self._model)

    def _listen_for_abort(self, plan: StepPlan, should_abort: Callable[[], bool]) -> None:
        """Let a step that prefills much be given up, also to begin it again with fewer threads."""
        num_prefill = sum(chunk.num_tokens for chunk in plan.chunks)
        is_abortable = num_prefill - len(plan.chunks) >= _ABORTABLE_TOKENS
        self._should_abort = should_abort if is_abortable else None
        self._can_give_way = self._caches.can_cut and all(chunk.span is None for chunk in plan.chunks)
        self._is_watched = self._can_give_way and not is_abortable and self._threads.follows
        if self._is_watched:
            llama_cpp.llama_set_abort_callback(self._context.pointer, self._watch.callback, self._watch.data)
        else:
            callback = self._on_abort if is_abortable else self._no_abort
            llama_cpp.llama_set_abort_callback(self._context.pointer, callback, ctypes.c_void_p(0))

    def _evaluate(self, rows: list[Chunk]) -> int:
        """Evaluate rows, then the tokens in the batch, with as many threads as have cores; return the last status."""
        now = time.monotonic()
        if self._threads.wants_look(now):
            self._threads.look(now, current_platform().idle_s(), time.process_time())
        self.threads = self._threads.used
        self._spinning.set(is_short=self._threads.sleeps)
        llama_cpp.llama_set_n_threads(self._context.pointer, self.threads.num, self.threads.num)
        self._gives_way = False
        self._begun = wall_s, cpu_s = now, time.process_time()
        if self._is_watched:
            self._watch.begin(wall_s, cpu_s)
        status = self._evaluate_rows(rows)
        if status == DECODE_OK and self._batch.num_rows:
            status = self._batch.decode(self._context.pointer)
        if self._is_watched:
            self._gives_way = self._watch.end() and status == DECODE_ABORTED
        now = time.monotonic()
        self._threads.on_step(now, now - wall_s, time.process_time() - cpu_s, was_given_up=self._gives_way)
        self.num_thread_changes = self._threads.num_changes
        return status

    def _evaluate_rows(self, chunks: list[Chunk]) -> int:
        """Evaluate chunks of rows; return the library's status."""
        if self._vision is None or not chunks:
            return DECODE_OK
        return self._vision.evaluate(self._context.pointer, chunks, self._caches.slot_of)

    def _draw(self, chunks: tuple[Chunk, ...], firsts: list[int]) -> StepResult:
        """Tell what the library's logits say of prompts, and draw after the chunks that end their sequence."""
        result = StepResult()
        for chunk, first in zip(chunks, firsts, strict=True):
            sequence, scored = chunk.sequence, chunk.scored
            result.num_computed[sequence.sequence_id] = chunk.end
            if scored:
                result.prompt_scores[sequence.sequence_id] = PromptScores(scored.start, self._scores(chunk, first))
            if chunk.samples:
                self._draw_after(chunk, first + chunk.num_tokens - 1, result)
        return result

    def _draw_after(self, chunk: Chunk, output: int, result: StepResult) -> None:
        """Draw from a chunk's last row and, as long as its draft is right, from those after it; forget the others.

        Args:
            output: Batch index of the last row.
        """
        sequence_id = chunk.sequence.sequence_id
        num_right = result.draw_along(
            chunk, self._live[sequence_id].editor, lambda num: self._draw_one(sequence_id, output + num, result)
        )
        if num_right < len(chunk.draft):
            result.num_computed[sequence_id] = self._caches.cut(chunk.sequence, chunk.end + num_right)
        else:
            result.num_computed[sequence_id] = chunk.end + num_right

    def _scores(self, chunk: Chunk, first: int) -> list[TokenScore]:
        token_ids, num_top = chunk.sequence.token_ids, chunk.sequence.sampling.num_prompt_logprobs or 0
        return [
            score(self._reader.row(self._context.pointer, index), token_ids[place], num_top)
            for index, place in enumerate(chunk.scored, first)
        ]

    def _draw_one(self, sequence_id: int, output: int, result: StepResult) -> bool:
        """Draw from a row; return whether it could be."""
        _, sampler, editor = self._live[sequence_id]
        sample = functools.partial(sampler.sample, self._context.pointer, output)
        if editor is None:
            result.add(sequence_id, sample(), None)
            return True
        try:
            result.add(sequence_id, *editor.draw(self._reader.row(self._context.pointer, output), sample))
        except BackendError as exc:  # the editor's; it must not end the others' step
            result.errors[sequence_id] = exc
            return False
        return True

    def _roll_back(self, chunks: tuple[Chunk, ...]) -> dict[int, int]:
        """Take a failed step's tokens out of the cache; return what each sequence still has there."""
        return self._caches.roll_back(chunks)

    def _forget(self, sequence_id: int) -> None:
        live = self._live.pop(sequence_id, None)
        if live is not None:
            live.sampler.close()

    def _is_crowded(self, wall_s: float, cpu_s: float) -> bool:
        return self._threads.is_crowded(wall_s, cpu_s)

    def _is_abort_wanted(self) -> bool:
        if self._can_give_way:
            wall_s, cpu_s = self._begun
            self._gives_way = self._is_crowded(time.monotonic() - wall_s, time.process_time() - cpu_s)
        return self._gives_way or (self._should_abort is not None and self._should_abort())
