"""How likely tokens are, by one call of the model that mlx-lm or llama.cpp loads: what engines are compared with."""

from pathlib import Path
from typing import Any

import llama_cpp
import mlx.core as mx
import mlx_lm
import numpy as np


def direct_logprobs(path: Path, token_ids: list[int]) -> list[float]:
    """Return the log-probability of every token but the first, in float32 weights and float64 sums."""
    model = mlx_lm.load(str(path))[0]
    model.set_dtype(mx.float32)
    logits = np.array(model(mx.array([token_ids]))[0], np.float64)
    highest = logits.max(axis=1, keepdims=True)
    logits -= highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    return [float(logits[place - 1, token_ids[place]]) for place in range(1, len(token_ids))]


def direct_next(path: Path, text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the log-probability of every token behind a text, control tokens in it read as such.

    Args:
        path: A model of float32 weights: an MLX folder for mlx-lm, a GGUF for llama.cpp.
    """
    logits = (_next_of_mlx if path.is_dir() else _next_of_llamacpp)(path, text).astype(np.float64)
    logits -= logits.max()
    logits -= np.log(np.exp(logits).sum())
    return logits


def _next_of_mlx(path: Path, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    model, tokenizer = mlx_lm.load(str(path))[:2]
    model.set_dtype(mx.float32)
    token_ids = tokenizer.encode(text, add_special_tokens=False)
    return np.array(model(mx.array([token_ids]))[0, -1])


def _next_of_llamacpp(path: Path, text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    float32 = llama_cpp.GGML_TYPE_F32
    oracle = llama_cpp.Llama(
        str(path), n_ctx=2048, n_batch=2048, n_gpu_layers=0, type_k=float32, type_v=float32, verbose=False
    )
    try:
        oracle.eval(oracle.tokenize(text.encode(), add_bos=False, special=True))
        row = llama_cpp.llama_get_logits_ith(oracle.ctx, -1)
        return np.ctypeslib.as_array(row, (oracle.n_vocab(),)).copy()
    finally:
        oracle.close()


def direct_rank(path: Path, token_ids: list[int]) -> float:
    """Return the score that llama.cpp's rank pooling gives to tokens, in float32."""
    model_params, params = llama_cpp.llama_model_default_params(), llama_cpp.llama_context_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.embeddings = True
    params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
    params.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_RANK
    context = llama_cpp.llama_init_from_model(model, params)
    try:
        tokens = (llama_cpp.llama_token * len(token_ids))(*token_ids)
        assert llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, len(token_ids))) == 0
        return float(llama_cpp.llama_get_embeddings_seq(context, 0)[0])
    finally:
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def pair_tokens(path: Path, query: str, document: str) -> list[int]:
    """Return a pair as llama-server puts it together, by the vocabulary's own marks.

    Source: llama.cpp, tools/server, `format_prompt_rerank`.
    """
    oracle = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    vocab = llama_cpp.llama_model_get_vocab(oracle.model)
    first, second = (oracle.tokenize(text.encode(), add_bos=False, special=False) for text in (query, document))
    first, second = ([each for each in part if each > 4] for part in (first, second))  # its own marks
    bos = [llama_cpp.llama_vocab_bos(vocab)] if llama_cpp.llama_vocab_get_add_bos(vocab) else []
    eos = [llama_cpp.llama_vocab_eos(vocab)] if llama_cpp.llama_vocab_get_add_eos(vocab) else []
    sep = [llama_cpp.llama_vocab_sep(vocab)] if llama_cpp.llama_vocab_get_add_sep(vocab) else []
    oracle.close()
    return [*bos, *first, *eos, *sep, *second, *eos]
