"""Which model a request means. It need not name one where only one can be meant, as clients of llama-server do."""

import msgspec

from registry.engines import EngineKind, EngineSetting
from registry.settings import LoadSettings
from router.errors import MissingFieldError
from router.http.caller import current_caller
from router.models.defaults import RequestDefaults
from router.models.load_settings import AS_CONFIGURED
from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.serving import RequestService
from router.workers.residency import ManagedWorker


class ChosenModel(msgspec.Struct, frozen=True):
    """The model of a request.

    Attributes:
        engine: That would serve it now.
        defaults: What the request gets that does not say otherwise.
    """

    model_request: ModelRequest
    engine: EngineKind
    defaults: RequestDefaults


def chosen_model(serving: RequestService, model_request: ModelRequest) -> ChosenModel:
    """Return what a request has to know of its model.

    Raises:
        RouterError: It cannot be served.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    engine = serving.models.resolve(model_request).target.engine.kind
    return ChosenModel(model_request, engine, serving.models.defaults_for(model_request.model))


def resident_workers(serving: RequestService) -> list[ManagedWorker]:
    """Return the workers whose model is loaded, of the models that are for whoever asks."""
    may_use = current_caller().may_use
    loaded = (worker for worker in serving.supervisor.workers if worker.state.is_resident)
    return [worker for worker in loaded if worker.target is not None and may_use(worker.target.model)]


def model_request_or_default(
    serving: RequestService,
    model: str | None,
    engine: EngineSetting | None,
    purpose: Purpose = Purpose.DESCRIBE,
    load: LoadSettings = AS_CONFIGURED,
) -> ModelRequest:
    """Return the request for a named model, or for the only one that can be meant.

    Args:
        model: As the client named it; None = the one that is loaded, or else the only one there is.
        engine: By the header X-Mlxr-Engine, or None.
        load: What is wanted of the load of a model that was named.

    Raises:
        MissingFieldError: No model was named, and none is the only one.
        RouterError: The reference is not valid.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    if model is not None:
        return serving.models.model_request(model, engine, purpose, load)
    resident = resident_workers(serving)
    if len(resident) == 1 and resident[0].target is not None:
        target = resident[0].target
        # On the engine where it is, lest a look at a model moves it.
        reference = target.label if engine is not None else f"{target.label}@{target.engine}"
        return serving.models.model_request(reference, engine, purpose)
    known = serving.models.list()
    if len(known) == 1:
        return serving.models.model_request(known[0].name, engine, purpose)
    raise MissingFieldError("The field 'model' is required: more than one model could be meant.", "model")
