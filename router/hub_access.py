"""Which hub models come from and with which token: the config's, else the environment's. Pure; no network.

Not here: talking to the hub (`registry.hub`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from registry.hub.web import HubSettings, is_private, origin_of
from router.config import Config

DEFAULT_ENDPOINT: Final = "https://huggingface.co"


def hub_settings(config: Config, environment: Mapping[str, str], *, endpoint: str | None = None) -> HubSettings:
    """Put together how the hub is reached.

    Args:
        config: In force; loaded with `user_home`.
        environment: Of this process: HF_ENDPOINT, HF_TOKEN, HTTPS_PROXY. Empty values count as not set.
        endpoint: Of the command line; the config's token is not for it.

    Returns:
        The settings.
    """
    hub = config.hub
    address = endpoint or hub.endpoint or environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    token = (hub.token if endpoint is None else None) or environment.get("HF_TOKEN") or None
    return HubSettings(
        endpoint=address,
        token=token.strip() if token else None,
        proxy=hub.proxy or _proxy(address, environment),
        ca_file=None if hub.ca_file is None else Path(hub.ca_file),
    )


def _proxy(endpoint: str, environment: Mapping[str, str]) -> str | None:
    """Give the environment's proxy, but not for a hub on this machine or network, which a proxy may not reach."""
    origin = origin_of(endpoint)
    if origin is None or is_private(origin.host):
        return None
    return environment.get("HTTPS_PROXY") or environment.get("https_proxy") or None
