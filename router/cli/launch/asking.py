"""Asks the running server what it has for a client. Not here: what clients do with it."""

import contextlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx

from registry.catalogue import Model
from registry.errors import DatabaseError, InvalidModelNameError, ModelNotFoundError
from router.cli.client.base import CONNECT_TIMEOUT_S, Client
from router.cli.client.errors import ServerAnswerError
from router.cli.launch.offer import Offer
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError
from router.config.instance import RunningInstance, reachable_url
from router.config.paths import Paths
from router.protocols.openai.answer_schemas import ModelObject
from router.tls.trust import only_trusting

PROBE_TIMEOUT_S: Final = 10.0
_SHOWN_NAMES: Final = 8


def model_meant(client: Client, given: str | None, last: str | None) -> str:
    """Return the model to launch with: the one that was named, the one of last time, the loaded one, or the only one.

    Raises:
        CommandError: There is none, or several that it could be.
        ClientError: The server cannot be asked.
    """
    if given is not None:
        return given
    found = [model["id"] for model in client.get("/v1/models", dict)["data"] if "tools" in model["capabilities"]]
    resident = [each["model"] for each in client.get("/health", dict)["resident"]]
    loaded = [name for name in found if name in resident]
    if last is not None and _is_there(client, last):
        return last
    if len(loaded) == 1 or len(found) == 1:
        return str((loaded if len(loaded) == 1 else found)[0])
    if not found:
        raise CommandError("There is no model that can be talked to; `mlxr models pull REFERENCE` gets one.")
    shown = ", ".join(found[:_SHOWN_NAMES]) + (", ..." if len(found) > _SHOWN_NAMES else "")
    raise CommandError(f"Say which model with --model: {shown}.", exit_code=2)


def offer_of(client: Client, instance: RunningInstance, model: str, paths: Paths, key: str | None) -> Offer:
    """Ask for all that a client may have to be told of a model.

    Args:
        key: That the client will send; None = the server needs none.

    Raises:
        CommandError: There is no such model.
        ClientError: The server cannot be asked.
    """
    try:
        shown = client.get(f"/v1/models/{quote(model, safe='')}", ModelObject)
    except ServerAnswerError as exc:
        if exc.status == httpx.codes.NOT_FOUND:
            raise CommandError(
                f"{str(exc).rstrip('.')}; `mlxr models list` has all, `mlxr models pull` gets one."
            ) from exc
        raise
    catalogue: Sequence[dict[str, Any]] = client.get("/v1/models", dict)["models"]
    found = [each for each in catalogue if each["slug"] in {model, shown.id}]
    return Offer(
        url=reachable_url(instance.url),
        model=model,
        context_length=shown.context_length,
        max_context_length=shown.max_context_length,
        capabilities=tuple(shown.capabilities),
        explains_tools=_explains_tools(paths, shown.id.partition("+")[0]),
        aliases=tuple(name for name in (shown.id, *shown.aliases) if name != model),
        catalogue=found[0] | {"slug": model, "display_name": model} if found else None,
        key=key,
        cert_file=instance.cert_file,
    )


def is_let_in(instance: RunningInstance, key: str | None) -> bool:
    """Tell whether a client gets in by the address that it will be told, with this key or without one.

    Raises:
        CommandError: Nobody answers there.
    """
    url = reachable_url(instance.url)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    verify: ssl.SSLContext | bool = True
    if url.startswith("http:"):
        verify = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # the system's list takes 20 ms to read
    elif instance.cert_file is not None:
        verify = only_trusting(Path(instance.cert_file))
    try:
        with httpx.Client(verify=verify, trust_env=False) as probe:
            timeout = httpx.Timeout(PROBE_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
            answer = probe.get(f"{url}/v1/models", headers=headers, timeout=timeout)
    except httpx.HTTPError as exc:
        raise CommandError(f"The server does not answer at {url}, where clients would look for it ({exc}).") from exc
    return answer.status_code == httpx.codes.OK


def _is_there(client: Client, model: str) -> bool:
    with contextlib.suppress(ServerAnswerError):
        client.get(f"/v1/models/{quote(model, safe='')}", ModelObject)
        return True
    return False


def _explains_tools(paths: Paths, name: str) -> bool:
    """Tell whether a model's template has no place for tools; a template of the user's own is trusted to have one."""
    model: Model | None = None
    unknown = (DatabaseError, OSError, ModelNotFoundError, InvalidModelNameError)
    with contextlib.suppress(*unknown), open_registry_for_reading(paths) as registry:
        model = registry.models.get(name)
    if model is None or model.settings.template is not None:
        return False
    templates = [item.facts.chat_template for item in model.artifacts if item.status == "ok"]
    return not any(template is not None and template.has_tools for template in templates)
