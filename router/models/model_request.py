"""What a request asks for of the models: which one, on which engine, loaded how. Not what it means (`targets`)."""

import msgspec

from registry.engines import EngineSetting
from registry.settings import LoadSettings
from router.models.load_settings import AS_CONFIGURED
from router.models.size import RequestSize
from router.models.targets import Purpose


class ModelRequest(msgspec.Struct, frozen=True):
    """What a request asks for: a model, and perhaps an engine.

    Attributes:
        engine: The request's own engine setting, or None.
        load: What it wants of the load; it goes before the model's settings and the config.
        keep_alive_s: How long the model is to stay loaded after it, seconds from 0, infinite = until it must go; None
            leaves that to the model's settings and the config.
        adapter: What is to be laid over the model, or None.
        size: How much work it is, about; None = it does not say.
        min_context: Tokens that the context is to hold at least; None = it does not say. `load` has what it is to be.
        worker_id: The one of several workers that is to serve it; None = whichever.
        selector: By which the model was chosen, such as `auto:small`; None = it was named.
        hops: Through how many other servers of mlxr it has come.
        session_id: The conversation that it belongs to; it decides which of several upstreams is asked. None = none.
        image_param: Its field that has a picture, for errors; None = it has none.
    """

    model: str
    engine: EngineSetting | None = None
    purpose: Purpose = Purpose.GENERATE
    load: LoadSettings = AS_CONFIGURED
    keep_alive_s: float | None = None
    adapter: str | None = None
    size: RequestSize | None = None
    image_param: str | None = None
    min_context: int | None = None
    worker_id: int | None = None
    selector: str | None = None
    session_id: str | None = None
    hops: int = 0

    @property
    def has_images(self) -> bool:
        """Whether only an engine that can see the model's pictures may serve it."""
        return self.image_param is not None

    @property
    def label(self) -> str:
        """What the request called it by, without the engine: the model's name, with the adapter's."""
        return self.model if self.adapter is None else f"{self.model}+{self.adapter}"

    def named_as(self, reference: str) -> str:
        """Return what answers call the model: as the request did, unless it left the choice to a selector."""
        return reference if self.selector is None else self.label
