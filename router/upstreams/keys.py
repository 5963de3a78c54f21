"""The keys of upstreams: read where the config says, and kept out of everything that is told."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from registry.credentials import MASK
from router.config.upstreams import UpstreamConfig

MAX_KEY_CHARS: Final = 4096
_KEY: Final = re.compile(rf"[!-~]{{1,{MAX_KEY_CHARS}}}")


class KeyMissingError(Exception):
    """There is no key where the config says, or what is there is none; the message has nothing of it."""


class UpstreamKey:
    """A key that nobody sees by printing it; "" = none is needed."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def __repr__(self) -> str:
        return f"UpstreamKey({MASK if self._text else ''})"

    @property
    def headers(self) -> dict[str, str]:
        """What the upstream is sent."""
        return {"authorization": f"Bearer {self._text}"} if self._text else {}

    def masked(self, text: str) -> str:
        """Return a text that may come from the upstream without the key in it."""
        return text.replace(self._text, MASK) if self._text else text


def read_key(config: UpstreamConfig, environment: Mapping[str, str]) -> UpstreamKey:
    """Read an upstream's key. Blocking.

    Raises:
        KeyMissingError: It is not where the config says.
    """
    if config.api_key_env is not None:
        text = environment.get(config.api_key_env, "").strip()
        where = "the environment variable that api_key_env names, which the server's process has to have"
    elif config.api_key_file is not None:
        where = f"the file {config.api_key_file}"
        text = _first_line(config.api_key_file)
    else:
        return UpstreamKey()
    if not text:
        raise KeyMissingError(f"its key is not in {where}")
    if _KEY.fullmatch(text) is None:
        raise KeyMissingError(f"its key, in {where}, has characters that no key has")
    return UpstreamKey(text)


def _first_line(path: str) -> str:
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return file.readline(MAX_KEY_CHARS + 2).strip()
    except OSError as exc:
        raise KeyMissingError(f"its key cannot be read: {path}: {exc.strerror}") from exc
