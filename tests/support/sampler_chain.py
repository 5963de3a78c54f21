"""llama.cpp's own filters and draw over a row of logits, without a model."""

import ctypes
from typing import Any

import llama_cpp
import numpy as np

from backends.llamacpp.sampler import samplers_of
from backends.wire.request import SamplingParams


class SamplerChain:
    """Gets its array of candidates filled anew for each draw, as `llama_sampler_sample` does."""

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        self._chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        for sampler in samplers_of(params):
            llama_cpp.llama_sampler_chain_add(self._chain, sampler)
        self._candidates = np.zeros(vocab_size, [("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        self._ids = np.arange(vocab_size, dtype=np.int32)

    def draw(self, row: np.ndarray[Any, np.dtype[np.float32]]) -> int:
        """Return a token."""
        self._candidates["id"], self._candidates["logit"], self._candidates["p"] = self._ids, row, 0
        data = self._candidates.ctypes.data_as(llama_cpp.llama_token_data_p)
        array = llama_cpp.llama_token_data_array(data=data, size=len(row), selected=-1, sorted=False)
        llama_cpp.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def close(self) -> None:
        """Free it."""
        llama_cpp.llama_sampler_free(self._chain)
