"""The request headers of mlxr's own, the same in every protocol: where and when a request is served. Pure."""

import math
import typing
from collections.abc import Mapping
from typing import Final

import msgspec

from backends.wire.request import Priority, SpeculationMode
from registry.engines import ENGINE_SETTINGS, EngineSetting
from registry.errors import InvalidSettingError
from registry.settings import LOAD_SETTINGS, ContextMode, LoadSettings, settings_from_text
from router.config.background import MAX_SECONDS
from router.config.images import Side
from router.errors import InvalidRequestError
from router.http.headers import (
    CONTEXT_HEADER,
    ENGINE_HEADER,
    HOPS_HEADER,
    IMAGE_SIDE_HEADER,
    LOAD_HEADER,
    PRIORITY_HEADER,
    SESSION_HEADER,
    SPECULATION_HEADER,
    TIMEOUT_HEADER,
    WORKER_HEADER,
)
from router.models.load_settings import AS_CONFIGURED

MAX_SESSION_CHARS: Final = 512
MAX_WORKER_DIGITS: Final = 9
MANY_HOPS: Final = 99
_MAX_HOPS_DIGITS: Final = 2

LOAD_KEYS: Final = sorted(
    (name for name, setting in LOAD_SETTINGS.items() if setting.is_in_header),
    key=lambda name: LOAD_SETTINGS[name].engine is not None,
)
"""Those of all engines first."""


class RequestHeaders(msgspec.Struct, frozen=True, kw_only=True):
    """What the headers ask for; None = they do not say.

    Attributes:
        engine: Comes before the model's setting.
        timeout_s: For the whole request, above 0.
        load: How the model is to be loaded; comes before the model's settings.
        image_side_px: What the longer side of pictures is to be shrunk to, pixels.
        speculation: Whether tokens are drafted; comes before what the model was loaded with.
        context: What becomes of the conversation where it fills the context; comes before the model's setting.
        worker_id: The one of several workers that is to serve it.
        hops: Through how many other servers of mlxr it has come.
    """

    engine: EngineSetting | None = None
    priority: Priority | None = None
    session_id: str | None = None
    timeout_s: float | None = None
    load: LoadSettings = AS_CONFIGURED
    image_side_px: int | None = None
    speculation: SpeculationMode | None = None
    context: ContextMode | None = None
    worker_id: int | None = None
    hops: int = 0


NO_HEADERS: Final = RequestHeaders()


def read_headers(headers: Mapping[str, str]) -> RequestHeaders:
    """Read the headers, which are found by names in any case.

    Raises:
        InvalidRequestError: One has a value that it cannot have; `param` is its name.
    """
    return RequestHeaders(
        engine=read_engine_header(headers.get(ENGINE_HEADER)),
        priority=_priority(headers.get(PRIORITY_HEADER)),
        session_id=_session_id(headers.get(SESSION_HEADER)),
        timeout_s=_timeout_s(headers.get(TIMEOUT_HEADER)),
        load=read_load_header(headers.get(LOAD_HEADER)),
        image_side_px=_image_side(headers.get(IMAGE_SIDE_HEADER)),
        speculation=_speculation(headers.get(SPECULATION_HEADER)),
        context=_context(headers.get(CONTEXT_HEADER)),
        worker_id=_worker_id(headers.get(WORKER_HEADER)),
        hops=_hops(headers.get(HOPS_HEADER)),
    )


def read_engine_header(text: str | None) -> EngineSetting | None:
    """Read which engine a request wants; None where the header is absent.

    Raises:
        InvalidRequestError: There is no such engine.
    """
    if text is None:
        return None
    try:
        return EngineSetting(text.strip())
    except ValueError as exc:
        message = f"{ENGINE_HEADER}: unknown engine {text.strip()!r:.40}; use {ENGINE_SETTINGS}"
        raise InvalidRequestError(message, ENGINE_HEADER) from exc


def read_load_header(text: str | None) -> LoadSettings:
    """Read how a request wants its model loaded: `context_length=4096, kv_type=q8_0`.

    Args:
        text: Of the header; None = it is absent.

    Raises:
        InvalidRequestError: A key is unknown or twice there, or a value is out of its range.
    """
    if text is None:
        return AS_CONFIGURED
    pairs: dict[str, str] = {}
    for part in text.replace(",", " ").split():
        key, sign, value = part.partition("=")
        if key not in LOAD_KEYS or key in pairs or not sign or not value:
            known = ", ".join(LOAD_KEYS)
            message = f"{LOAD_HEADER}: {part!r:.60} is not understood; send KEY=VALUE, each KEY once, of {known}"
            raise InvalidRequestError(message, LOAD_HEADER)
        pairs[key] = value
    try:
        return LoadSettings(**settings_from_text(pairs))
    except InvalidSettingError as exc:
        raise InvalidRequestError(f"{LOAD_HEADER}: {exc}", LOAD_HEADER) from exc


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    try:
        return Priority(text.strip().lower())
    except ValueError:
        message = f"{PRIORITY_HEADER}: {text!r:.40} is not known; send interactive or background"
        raise InvalidRequestError(message, PRIORITY_HEADER) from None


def _session_id(text: str | None) -> str | None:
    if text is None:
        return None
    name = text.strip()
    if not name or len(name) > MAX_SESSION_CHARS:
        message = f"{SESSION_HEADER}: send 1 to {MAX_SESSION_CHARS} characters, got {len(name)}"
        raise InvalidRequestError(message, SESSION_HEADER)
    return name


def _image_side(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return msgspec.convert(text.strip(), Side, strict=False)
    except msgspec.ValidationError as exc:
        message = f"{IMAGE_SIDE_HEADER}: {text!r:.40} is no whole number of pixels: {exc}"
        raise InvalidRequestError(message, IMAGE_SIDE_HEADER) from exc


def _speculation(text: str | None) -> SpeculationMode | None:
    if text is None:
        return None
    try:
        return SpeculationMode(text.strip().lower())
    except ValueError:
        message = f"{SPECULATION_HEADER}: {text!r:.40} is not known; send {', '.join(SpeculationMode)}"
        raise InvalidRequestError(message, SPECULATION_HEADER) from None


def _context(text: str | None) -> ContextMode | None:
    if text is None:
        return None
    try:
        mode: ContextMode = msgspec.convert(text.strip().lower(), ContextMode)
    except msgspec.ValidationError:
        message = f"{CONTEXT_HEADER}: {text!r:.40} is not known; send {' or '.join(typing.get_args(ContextMode))}"
        raise InvalidRequestError(message, CONTEXT_HEADER) from None
    return mode


def _worker_id(text: str | None) -> int | None:
    if text is None:
        return None
    number = text.strip()
    if not number.isascii() or not number.isdecimal() or len(number) > MAX_WORKER_DIGITS:
        message = f"{WORKER_HEADER}: {text!r:.40} is no worker's number; `mlxr ps` and `timings.worker` have them"
        raise InvalidRequestError(message, WORKER_HEADER)
    return int(number)


def _hops(text: str | None) -> int:
    """Read what another mlxr has written; what nobody of ours writes counts as one that came from far."""
    if text is None:
        return 0
    number = text.strip()
    return int(number) if number.isascii() and number.isdecimal() and len(number) <= _MAX_HOPS_DIGITS else MANY_HOPS


def _timeout_s(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= MAX_SECONDS:
        message = f"{TIMEOUT_HEADER}: {text!r:.40} is no number of seconds above 0, up to {MAX_SECONDS:g}"
        raise InvalidRequestError(message, TIMEOUT_HEADER)
    return seconds
