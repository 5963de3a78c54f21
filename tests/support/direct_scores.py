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
