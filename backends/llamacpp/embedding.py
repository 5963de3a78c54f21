"""Embeddings with llama.cpp: a context of its own for each request, freed with it, so that generation keeps its cache.

Models that attend to the past only are evaluated in pieces and pooled here. Encoders (BERT and its kin) see a text as a
whole: their graph needs all its tokens in one micro-batch, and the library pools. So it does where a model ranks, whose
last layer judges what was pooled.
"""

import ctypes
from collections.abc import Callable

import llama_cpp
import numpy as np

from backends.embedding import Encoder, Floats, PairForm, normalised, score_of
from backends.errors import EngineError
from backends.llamacpp.adapters import LoraAdapter
from backends.llamacpp.library import DECODE_ABORTED, DECODE_OK
from backends.wire.request import Pooling

_POOLING_OF: dict[int, Pooling] = {
    llama_cpp.LLAMA_POOLING_TYPE_MEAN: Pooling.MEAN,
    llama_cpp.LLAMA_POOLING_TYPE_CLS: Pooling.CLS,
    llama_cpp.LLAMA_POOLING_TYPE_LAST: Pooling.LAST,
    llama_cpp.LLAMA_POOLING_TYPE_RANK: Pooling.RANK,
}
_LIBRARY_POOLING = {pooling: number for number, pooling in _POOLING_OF.items()}


def pooling_of(context: object) -> Pooling | None:
    """Return the pooling that a model's file asks for; None when it does not say.

    Args:
        context: Any context of it that was made without a wish of its own.
    """
    return _POOLING_OF.get(llama_cpp.llama_pooling_type(context))


def closing_ids(model: object) -> tuple[int, ...]:
    """Return the tokens that the model wants after a text: EOS, or BERT's separator.

    Args:
        model: A loaded `llama_model_p`.
    """
    vocab = llama_cpp.llama_model_get_vocab(model)
    token_ids = []
    if llama_cpp.llama_vocab_get_add_eos(vocab):
        token_ids.append(llama_cpp.llama_vocab_eos(vocab))
    if llama_cpp.llama_vocab_get_add_sep(vocab):
        token_ids.append(llama_cpp.llama_vocab_sep(vocab))
    return tuple(token_id for token_id in token_ids if token_id >= 0)


def pair_form(model: object, context: object) -> PairForm | None:
    """Return what a model that ranks wants around a pair; None of others. Arguments as of `closing_ids`, `pooling_of`.

    Source: llama.cpp, tools/server, `format_prompt_rerank`, where the separator stands in for a missing EOS.
    """
    if pooling_of(context) is not Pooling.RANK:
        return None
    vocab = llama_cpp.llama_model_get_vocab(model)
    template = llama_cpp.llama_model_chat_template(model, b"rerank")
    sep, eos = llama_cpp.llama_vocab_sep(vocab), llama_cpp.llama_vocab_eos(vocab)
    end = [sep if eos < 0 else eos] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
    marks = [*end, sep] if llama_cpp.llama_vocab_get_add_sep(vocab) else end
    return PairForm(
        None if template is None else template.decode(errors="replace"),
        tuple(each for each in marks if each >= 0),
        tuple(each for each in end if each >= 0),
    )


def sees_whole_texts(context: object) -> bool:
    """Tell whether a model attends to a text as a whole, also to what comes after a token."""
    has_cache = bool(llama_cpp.llama_get_memory(context))
    return not has_cache or not llama_cpp.llama_get_causal_attn(context)


class LlamaCppEncoder(Encoder):
    """See the module.

    Args:
        model: A loaded `llama_model_p`, which must outlive this object.
        is_whole: What `sees_whole_texts` says of the model.
        is_exact: Whether attention is to be computed in float32 throughout.
        step_tokens: Most tokens of one `llama_decode`.
        adapter: What is laid over the model, or None.

    Raises:
        EngineError: There is no memory for the context.
    """

    def __init__(
        self,
        model: object,
        pooling: Pooling,
        max_tokens: int,
        *,
        is_whole: bool,
        is_exact: bool,
        step_tokens: int,
        num_threads: int,
        adapter: LoraAdapter | None = None,
    ) -> None:
        super().__init__(pooling)
        ranks = pooling is Pooling.RANK
        self._is_whole = is_whole = is_whole or ranks
        self._step_tokens = max_tokens if is_whole else min(step_tokens, max_tokens)
        self._width = (llama_cpp.llama_model_n_cls_out if ranks else llama_cpp.llama_model_n_embd_out)(model)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = max_tokens
        params.n_batch = params.n_ubatch = self._step_tokens
        params.n_seq_max = 1
        params.embeddings = True
        params.pooling_type = _LIBRARY_POOLING[pooling] if is_whole else llama_cpp.LLAMA_POOLING_TYPE_NONE
        params.offload_kqv = False
        params.op_offload = False
        params.no_perf = True
        params.n_threads = params.n_threads_batch = num_threads
        if is_exact:
            params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
            params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context: object = llama_cpp.llama_init_from_model(model, params)
        if not self._context:
            raise EngineError(f"llama.cpp could not make a context of {max_tokens} tokens for embeddings")
        if adapter is not None:
            adapter.apply_to(self._context)
        self._batch: llama_cpp.llama_batch | None = llama_cpp.llama_batch_init(self._step_tokens, 0, 1)
        self._should_abort: Callable[[], bool] | None = None
        # Kept here, because the library keeps no reference of its own.
        self._on_abort = llama_cpp.ggml_abort_callback(lambda _data: self._is_abort_wanted())
        llama_cpp.llama_set_abort_callback(self._context, self._on_abort, ctypes.c_void_p(0))

    def start(self, token_ids: list[int]) -> None:
        """Begin with an input."""
        super().start(token_ids)
        memory = llama_cpp.llama_get_memory(self._context)
        if memory:
            llama_cpp.llama_memory_clear(memory, False)

    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Evaluate the next piece, or the whole input where the model sees it as a whole."""
        limit = self._step_tokens if self._is_whole else min(max_tokens, self._step_tokens)
        piece = self._next_piece(limit)
        self._fill_batch(piece)
        self._should_abort = should_abort
        status = llama_cpp.llama_decode(self._context, self._batch)
        self._should_abort = None
        if status == DECODE_ABORTED:
            return None  # its cancel has arrived, or the worker is about to end
        if status != DECODE_OK:
            raise EngineError(f"llama.cpp could not embed the input: status {status}")
        if self._pooling is Pooling.RANK:
            return score_of(self._pooled_by_library())
        if self._is_whole:
            return normalised(self._pooled_by_library())
        return self._take(self._states(len(piece)))

    def close(self) -> None:
        """Free batch and context."""
        if self._batch is not None:
            llama_cpp.llama_batch_free(self._batch)
            self._batch = None
        if self._context is not None:
            llama_cpp.llama_free(self._context)
            self._context = None

    def _fill_batch(self, piece: list[int]) -> None:
        batch = self._batch
        assert batch is not None
        for index, token_id in enumerate(piece):
            batch.token[index] = token_id
            batch.pos[index] = self._num_done + index
            batch.seq_id[index][0] = 0
            batch.n_seq_id[index] = 1
            batch.logits[index] = 1
        batch.n_tokens = len(piece)

    def _states(self, num_tokens: int) -> Floats:
        """Return the hidden states of the last piece, shape (num_tokens, width).

        Source: llama.h, "llama_get_embeddings": "the embeddings for which llama_batch.logits[i] != 0 are stored
        contiguously in the order they have appeared in the batch. shape: [n_outputs*n_embd]".
        """
        pointer = llama_cpp.llama_get_embeddings(self._context)
        if not pointer:
            raise EngineError("llama.cpp gave no hidden states for the input")
        return np.ctypeslib.as_array(pointer, (num_tokens, self._width))

    def _pooled_by_library(self) -> Floats:
        pointer = llama_cpp.llama_get_embeddings_seq(self._context, 0)
        if not pointer:
            raise EngineError("llama.cpp gave no embedding for the input")
        return np.ctypeslib.as_array(pointer, (self._width,))

    def _is_abort_wanted(self) -> bool:
        return self._should_abort is not None and self._should_abort()
