"""A gateway with a key of each scope, and models on the fake engine."""

from pathlib import Path
from typing import Final

import httpx

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.waiting import WITHIN_S

WRONG: Final = "sk-mlxr-" + "x" * 43


class KeyedServer:
    """A gateway with a key of each scope."""

    def __init__(self, home: Path, tiny: Path) -> None:
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny, name="tiny")
            register_path(registry, tiny_model.write_gguf(home / "other.gguf", name="other"), name="other")
        self.home = home
        self.secrets = {kind: self.make(kind, "--scope", kind) for kind in ("metrics", "inference", "models", "admin")}
        self.secrets |= {"revoked": self.make("revoked", "--scope", "admin"), "wrong": WRONG}
        run_cli(home, "keys", "revoke", "revoked")
        self.socket = home / "run" / "test.sock"
        config = {"server": {"unix_socket": str(self.socket)}, "standby": False}
        self.gateway = GatewayProcess(home, config=config, fake_options={"answer_tokens": 4, "context_length": 512})

    def make(self, name: str, *options: str) -> str:
        done = run_cli(self.home, "keys", "create", name, *options)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def client(self, way: str = "tcp", kind: str = "none") -> httpx.Client:
        headers = {} if kind == "none" else {"Authorization": f"Bearer {self.secrets[kind]}"}
        transport = httpx.HTTPTransport(uds=str(self.socket)) if way == "unix" else None
        return httpx.Client(
            base_url=self.gateway.url, headers=headers, timeout=WITHIN_S, trust_env=False, transport=transport
        )
