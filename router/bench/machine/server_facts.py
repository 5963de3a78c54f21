"""What servers say of themselves: ours by its status, a foreign one by what llama-server's interface has, if anything.

Nothing here raises: what is not said is None. Not here: requests that are measured (`client`).
"""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import httpx
import msgspec

from router.bench.machine.watch import pids_listening_on
from router.status import Status, StopResponse, WorkerStatus
from router.status.requests import RequestList

STOP_TIMEOUT_S: Final = 180.0
_QUICK_TIMEOUT_S: Final = 10.0
LONG_TIMEOUT_S: Final = 600.0
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_T = TypeVar("_T")


class TextToken(msgspec.Struct, frozen=True):
    """One token of a text.

    Attributes:
        piece: Its text, or its bytes where they are no text by themselves.
    """

    id: int
    piece: str | tuple[int, ...]


class _TextTokens(msgspec.Struct, frozen=True):
    tokens: tuple[TextToken, ...]


class _Props(msgspec.Struct, frozen=True):
    default_generation_settings: dict[str, Any] = {}
    modalities: dict[str, Any] = {}


class _Shown(msgspec.Struct, frozen=True):
    capabilities: tuple[str, ...] | None = None


async def server_status(http: httpx.AsyncClient) -> Status | None:
    """Return our server's status; None = it does not answer."""
    return await asked(http, "GET", "/v1/mlxr/status", Status)


def workers_of(status: Status, engine: str | None) -> list[WorkerStatus]:
    """Return the workers of an engine that have a model."""
    return [worker for worker in status.workers if worker.engine == engine and worker.model is not None]


async def stop_model(http: httpx.AsyncClient, model: str) -> bool:
    """Unload a model of our server; tell whether it was loaded."""
    done = await asked(
        http, "POST", "/v1/mlxr/models/stop", StopResponse, body={"model": model}, timeout_s=STOP_TIMEOUT_S
    )
    return done is not None and done.stopped


async def num_requests(http: httpx.AsyncClient) -> int:
    """Return how many requests our server has."""
    found = await asked(http, "GET", "/v1/mlxr/requests", RequestList)
    return 0 if found is None else len(found.requests)


async def tokens_of(
    http: httpx.AsyncClient, text: str, *, model: str, headers: Mapping[str, str]
) -> tuple[TextToken, ...] | None:
    """Return a text's tokens, one that begins texts among them; None = the server does not tokenize.

    Args:
        headers: Those that its other requests have, so that nothing is loaded for this.
    """
    body = {"model": model, "content": text, "add_special": True, "with_pieces": True}
    found = await asked(http, "POST", "/tokenize", _TextTokens, body=body, headers=headers, timeout_s=LONG_TIMEOUT_S)
    return None if found is None else found.tokens


async def foreign_context_length(http: httpx.AsyncClient, model: str) -> int | None:
    """Return the context of a foreign server's sequences, if it has llama-server's properties."""
    found = await asked(http, "GET", "/props", _Props, params={"model": model})
    context = None if found is None else found.default_generation_settings.get("n_ctx")
    return context if isinstance(context, int) and context > 0 else None


async def foreign_sees(http: httpx.AsyncClient, model: str) -> bool | None:
    """Tell whether a foreign server's model sees, by llama-server's properties or Ollama's list of what it can.

    Returns:
        None = the server says nothing of it.
    """
    props = await asked(http, "GET", "/props", _Props, params={"model": model})
    sees = None if props is None else props.modalities.get("vision")
    if isinstance(sees, bool):
        return sees
    shown = await asked(http, "POST", "/api/show", _Shown, body={"model": model})
    return None if shown is None or shown.capabilities is None else "vision" in shown.capabilities


def foreign_pids(http: httpx.AsyncClient) -> tuple[int, ...] | None:
    """Return the processes of a foreign server on this machine; () = it is on another one, None = not known."""
    url = http.base_url
    if url.host not in _LOOPBACK:
        return ()
    return pids_listening_on(url.port or {"http": 80, "https": 443}[url.scheme])


async def asked(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    kind: type[_T],
    *,
    body: dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    params: dict[str, str] | None = None,
    timeout_s: float = _QUICK_TIMEOUT_S,
) -> _T | None:
    """Ask a server for something; None = it does not answer, or with something else."""
    try:
        response = await http.request(method, path, json=body, headers=headers, params=params, timeout=timeout_s)
    except httpx.HTTPError:
        return None
    if response.status_code != httpx.codes.OK:
        return None
    try:
        return msgspec.json.decode(response.content, type=kind)
    except msgspec.DecodeError:
        return None
