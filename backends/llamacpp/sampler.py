"""How the tokens of one sequence are drawn from llama.cpp's logits: its own sampler chain, or the maximum."""

import abc
import ctypes
import os
import struct

import llama_cpp
import numpy as np

from backends.sequence import SamplingParams

_MIN_KEEP = 1
_INT32_MAX = 2**31 - 1


class Sampler(abc.ABC):
    """Draws the tokens of one sequence."""

    @abc.abstractmethod
    def sample(self, context: object, index: int) -> int:
        """Return the token drawn from the logits of the batch's `index`-th token."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free what the library holds; idempotent."""


class GreedySampler(Sampler):
    """The most likely token, of equal ones the first.

    Not the library's greedy sampler: that one copies the whole vocabulary into an array of candidates for every token,
    0.1 ms of the 6 ms that a token of a small model takes.

    Args:
        vocab_size: Number of logits.
    """

    def __init__(self, vocab_size: int) -> None:
        self._logits_type = ctypes.c_float * vocab_size

    def sample(self, context: object, index: int) -> int:
        """Return the index of the highest logit; float32, shape (vocab_size,)."""
        pointer = llama_cpp.llama_get_logits_ith(context, index)
        logits = self._logits_type.from_address(ctypes.addressof(pointer.contents))
        return int(np.ctypeslib.as_array(logits).argmax())

    def close(self) -> None:
        """Nothing is held."""


class SamplerChain(Sampler):
    """Draws the tokens of one sequence; its random generator is its own, so a batch does not change the draws.

    Args:
        params: The order of the filters is the one documented there.
    """

    def __init__(self, params: SamplingParams) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for sampler in _samplers(params):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: object, index: int) -> int:
        """Draw from the logits of the batch's `index`-th token and tell the chain what was drawn."""
        return int(llama_cpp.llama_sampler_sample(self._chain, context, index))

    def close(self) -> None:
        """Free the chain; idempotent."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None


def create_sampler(params: SamplingParams, vocab_size: int) -> Sampler:
    """Return the sampler for one sequence.

    Args:
        params: How tokens are drawn.
        vocab_size: Number of logits.
    """
    return GreedySampler(vocab_size) if params.is_greedy else SamplerChain(params)


def _samplers(params: SamplingParams) -> list[ctypes.c_void_p]:
    samplers = []
    if params.top_k is not None:
        samplers.append(llama_cpp.llama_sampler_init_top_k(min(params.top_k, _INT32_MAX)))
    if params.top_p < 1:
        samplers.append(llama_cpp.llama_sampler_init_top_p(params.top_p, _MIN_KEEP))
    if params.min_p > 0:
        samplers.append(llama_cpp.llama_sampler_init_min_p(params.min_p, _MIN_KEEP))
    samplers.append(llama_cpp.llama_sampler_init_temp(params.temperature))
    samplers.append(llama_cpp.llama_sampler_init_dist(_seed(params.seed)))
    return samplers


def _seed(seed: int | None) -> int:
    """Return the library's seed; the highest number means "a random one" to it, so that one becomes its neighbour."""
    if seed is None:
        seed = struct.unpack("<I", os.urandom(4))[0]
    return min(seed, int(llama_cpp.LLAMA_DEFAULT_SEED) - 1)
