"""How the tokens of one sequence are drawn from llama.cpp's logits: the maximum, a draw of ours, or its own chain."""

import ctypes
import secrets

import llama_cpp
import numpy as np

from backends.draw import Draw, is_drawn_here
from backends.logits import Logits
from backends.wire.request import SamplingParams

_MIN_KEEP = 1
_LEAST_PROBABILITY = 1e-30
"""Tokens less likely than this times the most likely go before typical_p.

It takes the logarithm of every probability; of a masked token's, which is 0, comes no number, and all order is lost.
"""
_INT32_MAX = 2**31 - 1


class LogitsReader:
    """Shows the library's own buffer of logits."""

    def __init__(self, vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._logits_type = ctypes.c_float * vocab_size

    def row(self, context: object, index: int) -> Logits:
        """Return the logits of the batch's `index`-th token; float32, shape (vocab_size,), valid until the next decode.

        Whoever changes it changes what a sampler chain draws from. Source: llama.h, `llama_sampler_sample`: "Shorthand
        for: const auto * logits = llama_get_logits_ith(ctx, idx); ...".
        """
        pointer = llama_cpp.llama_get_logits_ith(context, index)
        return np.ctypeslib.as_array(self._logits_type.from_address(ctypes.addressof(pointer.contents)))


class Sampler:
    """Draws the tokens of one sequence; its random generator is its own, so a batch does not change the draws.

    Greedy ones do without a chain: the library's greedy sampler copies the whole vocabulary into an array of candidates
    for every token, 0.1 ms of the 6 ms that a token of a small model takes. The chain is for filters that leave few
    tokens (`backends.draw`).

    Args:
        params: The order of the filters is the one documented there.
    """

    def __init__(self, params: SamplingParams, reader: LogitsReader) -> None:
        self._reader = reader
        self._chain: object = None
        self._draw = Draw(params, reader.vocab_size) if is_drawn_here(params) else None
        if params.is_greedy or self._draw is not None:
            return
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for sampler in samplers_of(params):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: object, index: int) -> int:
        """Return the token drawn from the logits of the batch's `index`-th token; greedily, of equal ones the first."""
        if self._draw is not None:
            return self._draw.draw(self._reader.row(context, index))
        if self._chain is None:
            return int(self._reader.row(context, index).argmax())
        return int(llama_cpp.llama_sampler_sample(self._chain, context, index))

    def close(self) -> None:
        """Free what the library holds; idempotent."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None


def samplers_of(params: SamplingParams) -> list[ctypes.c_void_p]:
    """Return the library's filters in their order, and its draw; owned by the chain that they are added to."""
    samplers = []
    if params.top_k is not None:
        samplers.append(llama_cpp.llama_sampler_init_top_k(min(params.top_k, _INT32_MAX)))
    if params.typical_p < 1:
        samplers.append(llama_cpp.llama_sampler_init_min_p(_LEAST_PROBABILITY, _MIN_KEEP))
        samplers.append(llama_cpp.llama_sampler_init_typical(params.typical_p, _MIN_KEEP))
    if params.top_p < 1:
        samplers.append(llama_cpp.llama_sampler_init_top_p(params.top_p, _MIN_KEEP))
    if params.min_p > 0:
        samplers.append(llama_cpp.llama_sampler_init_min_p(params.min_p, _MIN_KEEP))
    samplers.append(llama_cpp.llama_sampler_init_temp(params.temperature))
    samplers.append(llama_cpp.llama_sampler_init_dist(_seed(params.seed)))
    return samplers


def _seed(seed: int | None) -> int:
    """Return the library's seed; the highest number means "a random one" to it, so that one becomes its neighbour."""
    return min(secrets.randbits(32) if seed is None else seed, int(llama_cpp.LLAMA_DEFAULT_SEED) - 1)
