"""How a model's makers would have its tokens drawn, as its files say it. Pure.

Not here: reading the files (`gguf/`, `mlx/`), and what goes before it (a user's `settings`, a request).

Source: transformers, GenerationConfig; llama.cpp, gguf-py/gguf/constants.py, Keys.General.SAMPLING_*, which its
converter takes from the former.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import msgspec

from registry.settings import MinP, RepetitionPenalty, Temperature, TopK, TopP

GENERATION_CONFIG_NAME: Final = "generation_config.json"

_GGUF_PREFIX: Final = "general.sampling."
_GGUF_KEYS: Final = {
    "temperature": "temp",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "penalty_repeat",
}
SAMPLING_NAMES: Final = tuple(_GGUF_KEYS)
"""What makers may recommend, under the names of `ModelSettings`."""

_DIGITS: Final = 6
"""A GGUF has float32, whose 0.6 is 0.60000002384."""


class RecommendedSampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the makers say; None = nothing. A value that no request could ask for counts as not said.

    Attributes:
        source: Where they say it.
    """

    source: str = ""
    temperature: Temperature | None = None
    top_p: TopP | None = None
    top_k: TopK | None = None
    min_p: MinP | None = None
    repetition_penalty: RepetitionPenalty | None = None

    @property
    def values(self) -> dict[str, float]:
        """What is said, under the names of `ModelSettings`."""
        return {name: value for name in SAMPLING_NAMES if (value := getattr(self, name)) is not None}

    @classmethod
    def of_generation_config(cls, values: Mapping[str, Any]) -> Self:
        """Read what generation_config.json says. `do_sample: false`, where it stands there, is greedy."""
        if values.get("do_sample") is False:
            return cls(source=GENERATION_CONFIG_NAME, temperature=0.0)
        return cls._checked(GENERATION_CONFIG_NAME, values.get)

    @classmethod
    def of_gguf(cls, metadata: Mapping[str, Any]) -> Self:
        """Read what the `general.sampling.*` keys of a GGUF say."""
        return cls._checked(f"{_GGUF_PREFIX}*", lambda name: metadata.get(_GGUF_PREFIX + _GGUF_KEYS[name]))

    @classmethod
    def _checked(cls, source: str, get: Callable[[str], Any]) -> Self:
        said: dict[str, Any] = {}
        for name in SAMPLING_NAMES:
            value = get(name)
            if isinstance(value, float):
                value = round(value, _DIGITS) if math.isfinite(value) else None
            with contextlib.suppress(msgspec.ValidationError):
                said[name] = getattr(msgspec.convert({name: value}, cls), name)
        return cls(source=source, **said)


NOTHING_RECOMMENDED: Final = RecommendedSampling()
