"""Which variables of an environment are secrets, and which a service keeps of the environment it is installed from."""

from collections.abc import Mapping
from typing import Final

_SECRET_PARTS: Final = (
    *("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL"),
    *("API_KEY", "ACCESS_KEY", "PRIVATE_KEY"),
)

_KEPT: Final = frozenset(
    {
        "PATH",  # MLX calls the compiler
        "HUGGINGFACE_HUB_CACHE",
        "HF_TOKEN_PATH",  # where the token is, not the token
        *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
    }
)
_KEPT_PREFIXES: Final = ("MLXR_", "HF_")


def is_secret(name: str) -> bool:
    """Tell by its name whether a variable holds what must not be passed on."""
    return any(part in name.upper() for part in _SECRET_PARTS)


def service_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a service needs to find the same folders and tools as the shell that installs it; no secrets."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if value and (name in _KEPT or (name.startswith(_KEPT_PREFIXES) and not is_secret(name)))
    }


def secrets_left_out(environment: Mapping[str, str]) -> list[str]:
    """Return the names that would have been kept if they were no secrets."""
    kept = service_environment(environment)
    return sorted(
        name for name, value in environment.items() if value and name.startswith(_KEPT_PREFIXES) and name not in kept
    )
