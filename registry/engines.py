"""The engines that run models, by name: the one declaration of them, and of the setting that chooses one.

Not here: what an engine does (`backends`), and which one a request gets (`router.models.targets`).
"""

import enum
from typing import Self

import msgspec


class EngineKind(enum.StrEnum):
    """What runs a model; each kind has one format of its own (`catalogue.ENGINE_OF_FORMAT`)."""

    MLX = "mlx"
    LLAMACPP = "llamacpp"


class Engine(msgspec.Struct, frozen=True):
    """What one target is loaded on, written `kind` or `kind:name`.

    Attributes:
        name: Which one, of a kind of which there can be several; None for the kinds that are one per machine.
    """

    kind: EngineKind
    name: str | None = None

    def __str__(self) -> str:
        return self.kind.value if self.name is None else f"{self.kind}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ValueError: There is no such kind.
        """
        kind, _, name = text.partition(":")
        return cls(EngineKind(kind), name or None)


class EngineSetting(enum.StrEnum):
    """What the config, a model or a request says of the engine: one of them, or that mlxr chooses."""

    AUTO = "auto"
    MLX = EngineKind.MLX.value
    LLAMACPP = EngineKind.LLAMACPP.value

    @property
    def engine(self) -> Engine | None:
        """The engine that is set; None = mlxr chooses."""
        return None if self is EngineSetting.AUTO else Engine.parse(self.value)


class PullEngines(enum.StrEnum):
    """For which engines a pull is to bring a model."""

    MLX = EngineKind.MLX.value
    LLAMACPP = EngineKind.LLAMACPP.value
    BOTH = "both"


ENGINE_SETTINGS = ", ".join(EngineSetting)
"""For messages."""
