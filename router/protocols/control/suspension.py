"""The routes that give the machine up for a while, and take up again."""

from typing import Final

from litestar.types import ASGIApp

from router.http.asgi import json_reply
from router.http.caller import Scope
from router.protocols.control.api import MLXR_API
from router.protocols.parts import SuspensionPart
from router.status import ResumeResponse, SuspendResponse

BY_COMMAND: Final = "suspended by command"


@MLXR_API.post("/v1/mlxr/suspend", SuspendResponse, scope=Scope.MODELS)
async def suspend(suspension: SuspensionPart) -> ASGIApp:
    """Unload what is loaded, and hold background work, until resumed or asked for a model."""
    return json_reply(await suspension.suspend(BY_COMMAND))


@MLXR_API.post("/v1/mlxr/resume", ResumeResponse, scope=Scope.MODELS)
async def resume(suspension: SuspensionPart) -> ASGIApp:
    """Load again in the background what was unloaded by suspending."""
    return json_reply(await suspension.resume())


SUSPENSION_ROUTES: Final = (suspend, resume)
