"""The keys of a gateway that starts, and whether it may listen where it is to."""

from collections.abc import Mapping
from pathlib import Path

from router.config.server import ServerConfig, is_loopback
from router.errors import StartupError
from router.keys.fixed import KEY_VARIABLE, KeyFile, environment_key
from router.keys.key import Locked
from router.keys.ring import KeyRing
from router.keys.store import KeyStore


def open_keys(store: KeyStore, server: ServerConfig, environment: Mapping[str, str]) -> KeyRing:
    """Return all keys that count.

    Raises:
        StartupError: The environment's key or that of the file cannot be one, or there is none although other machines
            reach the server.
    """
    is_reachable = not is_loopback(server.host)
    secret = environment.get(KEY_VARIABLE)
    given = [environment_key(secret)] if secret else []
    file = None if server.api_key_file is None else KeyFile(Path(server.api_key_file))

    def fixed() -> list[Locked]:
        return given if file is None else [*given, *file.locked()]

    ring = KeyRing(store, fixed if given or file else None, is_reachable=is_reachable and not server.insecure_bind)
    if is_reachable and not server.insecure_bind and not ring.good_keys():
        raise StartupError(
            f"server.host {server.host} can be reached from other machines and there is no API key: make one with "
            "`mlxr keys create NAME`, use localhost, or let everybody in with server.insecure_bind: true."
        )
    return ring
