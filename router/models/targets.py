"""What serves a request: one form of one model as it is to be loaded, and why on that engine.

Not how it is chosen (`engine_choice`). Pure.
"""

import enum
import math
from typing import Literal

import msgspec

from registry.catalogue import Adapter
from registry.engines import Engine
from registry.settings import LoadSettings
from router.models.draft import DraftSource
from router.models.load_settings import AS_CONFIGURED
from router.models.vision import VisionSource

FOREVER_S = math.inf
"""A model that is kept loaded for this long stays until it must go for another one."""


class Purpose(enum.Enum):
    """What a request wants of a model; it decides which artifacts can serve it."""

    GENERATE = "generate"
    EMBED = "embed"
    DESCRIBE = "describe"


class EngineReason(enum.StrEnum):
    """Why an engine was picked."""

    REQUEST = "request"
    MODEL_SETTING = "model setting"
    GLOBAL_SETTING = "global setting"
    AUTO_MEASURED = "auto: expected to answer sooner, by what was measured here"
    AUTO_APPLE_SILICON = "auto: mlx on Apple Silicon"
    AUTO_GGUF = "auto: llamacpp has an artifact"
    AUTO_ONLY = "auto: the only engine with an artifact"
    FALLBACK_NO_ARTIFACT = "fallback: the engine that is set has no usable artifact"
    FALLBACK_LOAD_FAILED = "fallback: the other engine failed to load the model"
    FALLBACK_UPSTREAM = "fallback: the upstream that is set cannot be asked now"
    AUTO_UPSTREAM = "auto: an upstream is expected to answer sooner, by what was measured of it"
    UPSTREAM_ONLY = "only an upstream has the model"

    @property
    def is_fallback(self) -> bool:
        """Whether it is not the engine that is set, or that `auto` would pick."""
        return self.value.startswith("fallback")


class LocalArtifact(msgspec.Struct, frozen=True):
    """What a worker opens: an artifact of the catalogue, on this machine.

    Attributes:
        version: Another one when the files have changed, although the path is the same.
        vision: What it sees with; None = it is a text model.
    """

    artifact_id: int
    path: str
    version: str = ""
    vision: VisionSource | None = None


class RemoteModel(msgspec.Struct, frozen=True):
    """What an upstream is asked for.

    Attributes:
        upstream: Its name.
        model_id: What it calls the model.
    """

    upstream: str
    model_id: str


TargetSource = LocalArtifact | RemoteModel
"""Where a target's weights are: on this machine, where a worker loads them, or behind an upstream."""


class Target(msgspec.Struct, frozen=True):
    """One form of one model, and how it is loaded: what serves is told to load it.

    Attributes:
        load: What of the load is not as the config has it, by the model's settings and the request's own.
        adapter: What is laid over the model, or None.
        draft: What drafts for it, or None.
    """

    model: str
    engine: Engine
    source: TargetSource
    load: LoadSettings = AS_CONFIGURED
    adapter: Adapter | None = None
    draft: DraftSource | None = None

    @property
    def local(self) -> LocalArtifact:
        """Its artifact, of a target that a worker loads."""
        assert isinstance(self.source, LocalArtifact), "no worker is asked for a remote model"
        return self.source

    @property
    def is_remote(self) -> bool:
        """Whether an upstream serves it, and no worker."""
        return isinstance(self.source, RemoteModel)

    @property
    def label(self) -> str:
        """What requests call it by: the model's name, with the adapter's."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter.name}"


class Choice(msgspec.Struct, frozen=True):
    """A target and the reason for its engine.

    Attributes:
        keep_alive_s: How long it stays loaded after the request, by that or the model; infinite = until it must go;
            None = as the config has it.
    """

    target: Target
    reason: EngineReason
    keep_alive_s: float | None = None


def keep_alive_seconds(setting: float | Literal["forever"] | None) -> float | None:
    """Return a model's setting as seconds, FOREVER_S for `forever`, None where it is not set."""
    return FOREVER_S if setting == "forever" else setting
