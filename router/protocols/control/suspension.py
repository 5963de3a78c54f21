"""The routes that give the machine up for a while, and take up again."""

from typing import Final

from litestar.types import ASGIApp
from msgspec.structs import replace

from router.http.asgi import json_reply
from router.http.caller import Scope, base_name, current_caller
from router.protocols.control.api import MLXR_API
from router.protocols.parts import SuspensionPart
from router.status import ResidentModel, ResumeResponse, SuspendResponse

BY_COMMAND: Final = "suspended by command"


@MLXR_API.post("/v1/mlxr/suspend", SuspendResponse, scope=Scope.MODELS)
async def suspend(suspension: SuspensionPart) -> ASGIApp:
    """Unload what is loaded, and hold background work, until resumed or asked for a model."""
    done = await suspension.suspend(BY_COMMAND)
    return json_reply(replace(done, unloaded=_shown(done.unloaded)))


@MLXR_API.post("/v1/mlxr/resume", ResumeResponse, scope=Scope.MODELS)
async def resume(suspension: SuspensionPart) -> ASGIApp:
    """Load again in the background what was unloaded by suspending."""
    done = await suspension.resume()
    return json_reply(replace(done, loading=_shown(done.loading)))


def _shown(models: list[ResidentModel]) -> list[ResidentModel]:
    """Return those of some models that are for whoever asks."""
    may_use = current_caller().may_use
    return [each for each in models if may_use(base_name(each.model))]


SUSPENSION_ROUTES: Final = (suspend, resume)
