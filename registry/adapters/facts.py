"""What the registry knows of an adapter from its files. Plain data; not here: how it is read."""

from typing import Literal

import msgspec

from registry.facts import ArtifactFormat


class AdapterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the files of one adapter say.

    Attributes:
        format: `gguf` or `mlx`; it decides the engine.
        method: How its matrices change the base: `lora`, or `dora` (mlx only).
        architecture: Of the base it was made for; None where its files do not say (mlx).
        rank: Inner dimension of its matrices, the largest of them.
        scale: What the product of its matrices is multiplied by: alpha / rank in a GGUF, `scale` in an MLX folder.
        weight_bytes: Bytes of tensor data.
        title: What it calls itself, cleaned for display. Untrusted.
    """

    format: ArtifactFormat
    method: Literal["lora", "dora"]
    architecture: str | None
    rank: int
    scale: float
    num_tensors: int
    num_weights: int
    weight_bytes: int
    title: str | None = None

    @property
    def alpha(self) -> float:
        """The scale in the words of most training tools: alpha = scale * rank."""
        return self.scale * self.rank
