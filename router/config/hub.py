"""Which hub models come from and with which token: the config's, else the environment's. Pure; no network.

Not here: talking to the hub (`registry.hub`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from registry.hub.addresses import is_private, origin_of
from registry.hub.web import HubSettings
from router.config import Config
from router.errors import ConfigError

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
_TOKEN: Final = re.compile(r"[!-~]{0,4096}")


def hub_settings(config: Config, environment: Mapping[str, str], *, endpoint: str | None = None) -> HubSettings:
    """Put together how the hub is reached.

    Args:
        config: In force; loaded with `user_home`.
        environment: Of this process: HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY. Empty values count as not set.
        endpoint: Of the command line; the config's token is not for it.

    Raises:
        ConfigError: Token or proxy cannot be used. The message has neither in it.
    """
    hub = config.hub
    address = endpoint or hub.endpoint or environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    token = ((hub.token if endpoint is None else None) or environment.get("HF_TOKEN") or "").strip()
    if not _TOKEN.fullmatch(token):
        raise ConfigError("hub.token, or HF_TOKEN, has characters that no token has; copy it again.", param="hub.token")
    return HubSettings(
        endpoint=address.strip(),
        token=token or None,
        proxy=_checked_proxy(hub.proxy or _proxy(address, environment)),
        ca_file=None if hub.ca_file is None else Path(hub.ca_file),
        ollama_endpoint=hub.ollama_registry,
    )


def _proxy(endpoint: str, environment: Mapping[str, str]) -> str | None:
    """Give the environment's proxy, but not for a hub on this machine or network, which a proxy may not reach."""
    proxy = environment.get("HTTPS_PROXY") or environment.get("https_proxy") or None
    origin = origin_of(endpoint) if proxy is not None else None
    return None if origin is None or is_private(origin.host) else proxy


def _checked_proxy(proxy: str | None) -> str | None:
    if proxy is None:
        return None
    import httpx  # noqa: PLC0415 - takes longer than most commands

    address = proxy if "://" in proxy else f"http://{proxy}"  # curl takes it so
    try:
        is_usable = httpx.URL(address).scheme in {"http", "https"} and bool(httpx.URL(address).host)
    except httpx.InvalidURL:
        is_usable = False
    if not is_usable:
        raise ConfigError("hub.proxy, or HTTPS_PROXY, is no address of an HTTP proxy.", param="hub.proxy")
    return address
