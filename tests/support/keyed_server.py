"""A gateway with a key of each scope, and models on the fake engine."""

from pathlib import Path
from typing import Any, Final

import httpx

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from router.http.caller import Scope
from router.keys.key import new_key
from router.keys.store import KeyStore
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.plain_http import NO_TLS
from tests.support.waiting import WITHIN_S

WRONG: Final = "sk-mlxr-" + "x" * 43


class KeyedServer:
    """A gateway with a key of each scope.

    Args:
        config: Beside what it needs itself.
        fake_options: Of the fake engine, likewise.
    """

    def __init__(
        self,
        home: Path,
        tiny: Path,
        *,
        config: dict[str, Any] | None = None,
        fake_options: dict[str, Any] | None = None,
    ) -> None:
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny, name="tiny")
            register_path(registry, tiny_model.write_gguf(home / "other.gguf", name="other"), name="other")
        self.home = home
        self.secrets = {kind: self.make(kind, "--scope", kind) for kind in ("metrics", "inference", "models", "admin")}
        self.secrets |= {"revoked": self.make("revoked", "--scope", "admin"), "wrong": WRONG}
        run_cli(home, "keys", "revoke", "revoked")
        self.secrets["expired"] = _expired(paths, "expired")
        self.socket = home / "run" / "test.sock"
        self._fake_options = {"answer_tokens": 4, "context_length": 512} | (fake_options or {})
        self._config = {"server": {"unix_socket": str(self.socket)}, "standby": False} | (config or {})
        self.start()

    def start(self) -> None:
        """Start the gateway, which `gateway.stop` has ended or has not begun yet."""
        self.gateway = GatewayProcess(self.home, config=self._config, fake_options=self._fake_options)

    def make(self, name: str, *options: str) -> str:
        done = run_cli(self.home, "keys", "create", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, name: str, *options: str) -> str:
        """Make a key that `client` knows by its name; return that."""
        self.secrets[name] = self.make(name, *options)
        return name

    def client(self, way: str = "tcp", kind: str = "none") -> httpx.Client:
        headers = {} if kind == "none" else {"Authorization": f"Bearer {self.secrets[kind]}"}
        transport = httpx.HTTPTransport(uds=str(self.socket), verify=NO_TLS) if way == "unix" else None
        return httpx.Client(
            base_url=self.gateway.url,
            headers=headers,
            timeout=WITHIN_S,
            trust_env=False,
            verify=NO_TLS,
            transport=transport,
        )


def _expired(paths: Paths, name: str) -> str:
    """Make a key that has expired; return its secret."""
    secret, made = new_key(name, scope=Scope.ADMIN, created_at=0.0, expires_at=1.0)
    with KeyStore.opened(paths.keys_db) as store:
        store.add(made)
    return secret
