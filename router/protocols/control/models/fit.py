"""The route that tells which models this machine has memory for, as `mlxr models fit` does."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta
from msgspec.structs import replace

from registry.catalogue import Model
from registry.engines import EngineKind
from registry.errors import ModelNotFoundError
from registry.settings import KVType
from registry.threads import in_thread
from router.config import Config
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.models.targets import Purpose
from router.placement.fit_report import FitWishes, ModelFit, artifacts_for, fit_of
from router.placement.memory import MemoryBudget, this_machine
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.queries import engine_in, known_parameters, model_in_query, number_of
from router.protocols.serving import RequestService
from router.workers.memory_check import reclaimable_bytes

MAX_CONTEXT: Final = 10_000_000
MAX_PARALLEL: Final = 256
_QUERY: Final = (
    Parameter(name="model", type=str, what="Its name, perhaps with `+ADAPTER`; without it, all models."),
    Parameter(name="context_length", type=Annotated[int, Meta(ge=1, le=MAX_CONTEXT)], what="Tokens of one request."),
    Parameter(name="parallel", type=Annotated[int, Meta(ge=1, le=MAX_PARALLEL)], what="Requests at a time."),
    Parameter(name="kv_type", type=KVType, what="Of the cache, on llamacpp."),
    Parameter(name="engine", type=EngineKind, what="Only this one."),
)


class ModelFits(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/models/fit.

    Attributes:
        total_bytes: The machine's memory.
        available_bytes: What a load could take now, what is loaded given back.
        reclaimable_bytes: Of that, what is loaded.
        wired_limit_bytes: Most that Metal may keep wired; null = there is no Metal.
        models: Those of the key that asks; `engines` is empty where no artifact is usable.
    """

    total_bytes: int
    available_bytes: int
    reclaimable_bytes: int
    wired_limit_bytes: int | None
    models: tuple[ModelFit, ...]


@MLXR_API.get("/v1/mlxr/models/fit", ModelFits, query=_QUERY, scope=Scope.MODELS, is_private=True)
async def get_fit(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Tell how much memory models take on each engine, and whether that is there once what is loaded has gone."""
    given = known_parameters(request, *(each.name for each in _QUERY))
    wishes = FitWishes(
        context_length=number_of(given, "context_length", most=MAX_CONTEXT, default=None),
        parallel=number_of(given, "parallel", most=MAX_PARALLEL, default=None),
        kv_type=given.get("kv_type"),
    )
    reference, engine, adapter = model_in_query(given), engine_in(given), None
    models: tuple[Model, ...]
    if reference is None:
        models = serving.models.list()
    else:
        asked = serving.models.model_request(reference, None, purpose=Purpose.DESCRIBE)
        models, adapter = (serving.models.get(asked.model),), asked.adapter
        named = None if asked.engine is None else asked.engine.engine
        engine = engine or (None if named is None else named.kind)
    drafts = {model.name: draft for model in models if (draft := _draft_of(serving, model)) is not None}
    look = partial(_look, models, drafts, adapter, engine, wishes, serving.config, partial(_measured, serving))
    return json_reply(await in_thread(look))


def _draft_of(serving: RequestService, model: Model) -> Model | None:
    """Return the model that is set to draft for another, if there is one that is for whoever asks."""
    try:
        return None if model.settings.draft is None else serving.models.get(model.settings.draft)
    except ModelNotFoundError:
        return None


def _measured(serving: RequestService) -> tuple[MemoryBudget, int]:
    """Return what the machine has once what is loaded has gone, and how much of it that is; blocking."""
    reclaimable = reclaimable_bytes(serving.supervisor.pids)
    budget = serving.read_budget()
    return replace(budget, available_bytes=budget.available_bytes + reclaimable), reclaimable


def _look(
    models: tuple[Model, ...],
    drafts: Mapping[str, Model],
    adapter: str | None,
    engine: EngineKind | None,
    wishes: FitWishes,
    config: Config,
    measured: Callable[[], tuple[MemoryBudget, int]],
) -> ModelFits:
    budget, reclaimable = measured()
    machine = this_machine()
    return ModelFits(
        total_bytes=budget.total_bytes,
        available_bytes=budget.available_bytes,
        reclaimable_bytes=reclaimable,
        wired_limit_bytes=budget.wired_limit_bytes,
        models=tuple(
            fit_of(
                model,
                artifacts_for(model, adapter, engine),
                wishes,
                config=config,
                machine=machine,
                budget=budget,
                adapter=adapter,
                draft=drafts.get(model.name),
            )
            for model in models
        ),
    )
