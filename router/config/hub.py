"""Which hub models come from and with which token: the config's, else that of Hugging Face's own tools. No network.

Not here: talking to the hub (`registry.hub`).

Source: huggingface_hub, `constants.py` and `utils/_auth.py`, get_token: HF_TOKEN, else HUGGING_FACE_HUB_TOKEN, else the
file that `hf auth login` writes: HF_TOKEN_PATH, else HF_HOME/token. HF_HUB_OFFLINE, else TRANSFORMERS_OFFLINE.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from registry.hub.addresses import is_private, origin_of
from registry.hub.web import HubSettings
from router.config import Config
from router.config.paths import expanded, hf_home
from router.errors import ConfigError

DEFAULT_ENDPOINT: Final = "https://huggingface.co"
MAX_TOKEN_CHARS: Final = 4096
_TOKEN: Final = re.compile(f"[!-~]{{0,{MAX_TOKEN_CHARS}}}")
_TRUE: Final = frozenset({"1", "ON", "YES", "TRUE"})


def hub_settings(config: Config, environment: Mapping[str, str], *, endpoint: str | None = None) -> HubSettings:
    """Put together how the hub is reached.

    Args:
        config: In force; loaded with `user_home`.
        environment: Of this process: HF_ENDPOINT, HTTPS_PROXY and those of the module. Empty values count as not set.
        endpoint: Of the command line; the config's token is not for it.

    Raises:
        ConfigError: Token or proxy cannot be used. The message has neither in it.
    """
    hub = config.hub
    address = endpoint or hub.endpoint or environment.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    token, origin = _token((hub.token or "") if endpoint is None else "", environment)
    if not _TOKEN.fullmatch(token):
        raise ConfigError(f"{origin} has characters that no token has; copy it again.", param="hub.token")
    return HubSettings(
        endpoint=address.strip(),
        token=token or None,
        proxy=_checked_proxy(hub.proxy or _proxy(address, environment)),
        ca_file=None if hub.ca_file is None else Path(hub.ca_file),
        ollama_endpoint=hub.ollama_registry,
        is_offline=is_offline(environment),
    )


def is_offline(environment: Mapping[str, str]) -> bool:
    """Tell whether Hugging Face's tools were told to leave the network alone."""
    said = environment.get("HF_HUB_OFFLINE") or environment.get("TRANSFORMERS_OFFLINE") or ""
    return said.upper() in _TRUE


def _token(configured: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Give the first token that there is, empty for none, and where it stands."""
    names = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
    said = {"hub.token": configured} | {name: environment.get(name, "") for name in names}
    for origin, text in said.items():
        if token := text.strip():
            return token, origin
    path = _token_path(environment)
    is_wanted = environment.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in _TRUE
    return (_read_token(path) if is_wanted else "", str(path))


def _token_path(environment: Mapping[str, str]) -> Path:
    """Give where `hf auth login` writes the token."""
    if own := environment.get("HF_TOKEN_PATH"):
        return expanded(own, environment)
    return hf_home(environment) / "token"


def _read_token(path: Path) -> str:
    """Read a login's token; a file that is not there, or that this user may not read, is no login."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_TOKEN_CHARS + 1).strip()
    except OSError:
        return ""


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
