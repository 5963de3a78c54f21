"""A native llama.cpp sampler chain for one sequence."""

import ctypes
import os
import struct

import llama_cpp

from backends.sequence import SamplingParams

_MIN_KEEP = 1
_INT32_MAX = 2**31 - 1


class SamplerChain:
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


def _samplers(params: SamplingParams) -> list[ctypes.c_void_p]:
    if params.is_greedy:
        return [llama_cpp.llama_sampler_init_greedy()]
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
