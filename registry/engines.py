"""The engines that run models, by name: the one declaration of them, and of the setting that chooses one.

Not here: what an engine does (`backends`), and which one a request gets (`router.models.targets`).
"""

import enum
import re
from typing import Final, Self

import msgspec


class EngineKind(enum.StrEnum):
    """What runs a model: an engine here, which has a format of its own (`catalogue.ENGINE_OF_FORMAT`), or others do."""

    MLX = "mlx"
    LLAMACPP = "llamacpp"
    UPSTREAM = "upstream"


LOCAL_ENGINES: Final = (EngineKind.MLX, EngineKind.LLAMACPP)
"""Those that run in processes of this machine."""

_UPSTREAM_SETTING: Final = re.compile(rf"{EngineKind.UPSTREAM}:[a-z0-9](?:[a-z0-9_-]{{0,38}}[a-z0-9])?", re.ASCII)


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
    """What the config, a model or a request says of the engine: one of them, or that mlxr chooses.

    Beside the members there is `upstream:NAME` for each name that an upstream may have, made when it is asked for:
    which upstreams there are the config says. Two of one name are equal, not identical.
    """

    AUTO = "auto"
    MLX = EngineKind.MLX.value
    LLAMACPP = EngineKind.LLAMACPP.value

    @classmethod
    def _missing_(cls, value: object) -> "EngineSetting | None":
        if not isinstance(value, str) or _UPSTREAM_SETTING.fullmatch(value) is None:
            return None
        setting = str.__new__(cls, value)
        setting._name_ = setting._value_ = value
        return setting

    @property
    def engine(self) -> Engine | None:
        """The engine that is set; None = mlxr chooses."""
        return None if self is EngineSetting.AUTO else Engine.parse(self.value)


class PullEngines(enum.StrEnum):
    """For which engines a pull is to bring a model."""

    MLX = EngineKind.MLX.value
    LLAMACPP = EngineKind.LLAMACPP.value
    BOTH = "both"


ENGINE_SETTINGS = ", ".join((*EngineSetting, f"{EngineKind.UPSTREAM}:NAME"))
"""For messages."""
