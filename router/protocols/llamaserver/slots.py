"""Places in a model's batch: what is in them, and their caches in files, saved, restored and erased.

A place is a number that a request has while it runs, and that its cache is found by until the next one has it. A
restored cache serves every prompt that begins as it does, in whatever place.

Source: llama.cpp, tools/server/README.md, "GET /slots", "POST /slots/{id_slot}?action=save".
"""

import time
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp

from backends.wire.questions import CacheFile, EraseCache, Question, RestoreCache, SaveCache
from registry.engines import EngineSetting
from router.errors import InvalidRequestError, MissingFieldError, UnavailableError
from router.http.asgi import json_reply
from router.http.caller import Scope, current_caller
from router.http.headers import ENGINE_HEADER
from router.models.model_request import ModelRequest
from router.protocols.choice import model_request_or_default, resident_workers
from router.protocols.endpoint import Parameter
from router.protocols.fields.support import decode_body
from router.protocols.llamaserver import answer_schemas as answers
from router.protocols.llamaserver.api import LLAMASERVER_API
from router.protocols.llamaserver.props import slots_of
from router.protocols.llamaserver.schemas import SlotFile
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.queries import MODEL, model_in_query
from router.protocols.serving import RequestService
from router.requests.headers import read_engine_header
from router.workers.base import WorkerLink
from router.workers.residency import ManagedWorker

_FAIL: Final = Parameter(name="fail_on_no_slot", type=bool, what="Answer 503 when no place is free.")
_ACTION: Final = Parameter(
    name="action", type=Literal["save", "restore", "erase"], what="What to do with the place's cache.", is_required=True
)
_MAX_SLOT: Final = 1_000_000


@LLAMASERVER_API.get("/slots", list[answers.Slot], query=(MODEL, _FAIL), use="generate", scope=Scope.INFERENCE)
async def get_slots(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """List the places in a loaded model's batch."""
    model = model_in_query(request.query_params)
    if model is None and not resident_workers(serving):
        holder = None
    else:
        holder = holder_of(serving, model_request_or_default(serving, model, engine_of(request)))
    slots: list[answers.Slot] = []
    if holder is not None and holder.client is not None and holder.client.loaded is not None:
        slots = slots_of(holder.client.loaded, list(holder.client.progress.values()))
    if request.query_params.get("fail_on_no_slot") and all(slot.is_processing for slot in slots):
        raise UnavailableError("no slot available")
    return json_reply(slots)


@LLAMASERVER_API.post(
    "/slots/{id_slot:int}",
    answers.SlotSaved,
    answers.SlotRestored,
    answers.SlotErased,
    body=SlotFile,
    query=(MODEL, _ACTION),
    use="generate",
    scope=Scope.MODELS,  # places in the batch are everybody's, and files take room
)
async def change_slot(request: AnyRequest, id_slot: FromPath[int], serving: ServingPart) -> ASGIApp:
    """Save, restore or erase the cache of a place in a model's batch."""
    if not 0 <= id_slot <= _MAX_SLOT:
        raise InvalidRequestError(f"id_slot: expected a number from 0 to {_MAX_SLOT}, got {id_slot}", "id_slot")
    action = request.query_params.get("action", "")
    act = _ACTIONS.get(action)
    if act is None:
        raise InvalidRequestError(f"action: {action!r:.40} is none of save, restore and erase", "action")
    raw = await serving.read_raw(request)
    body = decode_body(raw, SlotFile) if raw.strip() else SlotFile()
    model = body.model or model_in_query(request.query_params)
    model_request = model_request_or_default(serving, model, engine_of(request))

    async def ask(question: Callable[[WorkerLink], Question]) -> tuple[WorkerLink, CacheFile]:
        reply = await serving.ask_model(request, model_request, question, prompt_param="filename")
        assert isinstance(reply.answer, CacheFile)
        return reply.client, reply.answer

    return json_reply(await act(ask, id_slot, body.filename))


_Ask = Callable[[Callable[[WorkerLink], Question]], Any]


async def _save(ask: _Ask, id_slot: int, name: str | None) -> msgspec.Struct:
    file_name, started_at = _needed(name), time.monotonic()
    _, saved = await ask(lambda link: SaveCache(link.last_in_slot.get(id_slot, 0), file_name, current_caller().key_id))
    return answers.SlotSaved(
        id_slot=id_slot,
        filename=file_name,
        n_saved=saved.num_tokens,
        n_written=saved.num_bytes,
        timings=answers.SaveTimings(_ms_since(started_at)),
    )


async def _restore(ask: _Ask, id_slot: int, name: str | None) -> msgspec.Struct:
    file_name, started_at = _needed(name), time.monotonic()
    link, restored = await ask(lambda _: RestoreCache(file_name, current_caller().key_id))
    link.last_in_slot[id_slot] = restored.sequence_id
    return answers.SlotRestored(
        id_slot=id_slot,
        filename=file_name,
        n_restored=restored.num_tokens,
        n_read=restored.num_bytes,
        timings=answers.RestoreTimings(_ms_since(started_at)),
    )


async def _erase(ask: _Ask, id_slot: int, _name: str | None) -> msgspec.Struct:
    _, erased = await ask(lambda link: EraseCache(link.last_in_slot.get(id_slot, 0), current_caller().key_id))
    return answers.SlotErased(id_slot=id_slot, n_erased=erased.num_tokens)


_ACTIONS: Final = {"save": _save, "restore": _restore, "erase": _erase}


def _needed(name: str | None) -> str:
    if name is None:
        raise MissingFieldError("The field 'filename' is required.", "filename")
    return name


def _ms_since(started_at: float) -> float:
    return round((time.monotonic() - started_at) * 1000, 3)


def engine_of(request: AnyRequest) -> EngineSetting | None:
    """Return the engine that a request names by its header, or None."""
    return read_engine_header(request.headers.get(ENGINE_HEADER))


def holder_of(serving: RequestService, model_request: ModelRequest) -> ManagedWorker | None:
    """Return a worker that has the model of a request loaded."""
    for worker in resident_workers(serving):
        target = worker.target
        if target is None or target.label != model_request.label:
            continue
        if model_request.engine is None or model_request.engine.engine in {None, target.engine}:
            return worker
    return None


ROUTES: Final = (get_slots, change_slot)
