"""A served gateway per engine, with the models that cases are asked on."""

from pathlib import Path
from typing import Any

import pytest

from registry.errors import RegistryError
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.cases.case import Server
from tests.cases.models import ALIAS, LISTED_ORIGINS, TEMPLATES, write_models
from tests.support.gateway_process import GatewayProcess


class Servers:
    """One gateway at a time: the one of the engine that was asked for last."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._served: Server | None = None

    def on(self, engine: str) -> Server:
        """Return the gateway of an engine; that of another ends before."""
        if self._served is None or self._served.engine != engine:
            self.stop()
            self._served = self._start(engine)
        return self._served

    def stop(self) -> None:
        """End the gateway that is served."""
        served, self._served = self._served, None
        if served is not None:
            served.client.close()
            assert served.gateway.stop() == 0

    def _start(self, engine: str) -> Server:
        home = self._folders.mktemp(f"cases-{engine}") / "home"
        _register(home, write_models(self._folders.mktemp(f"models-{engine}"), engine))
        config = {"standby": True, "server": {"allowed_origins": LISTED_ORIGINS}}
        fake_options: dict[str, Any] | None = {} if engine == "fake" else None
        return Server(GatewayProcess(home, config=config, fake_options=fake_options), engine)


def _register(home: Path, models: dict[str, Path]) -> None:
    """Register what can be registered; what cannot is not found by the case that wants it."""
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        for name, path in models.items():
            try:
                register_path(registry, path, name=name)
            except RegistryError as exc:
                print(f"{name}: {exc}")
            if name in TEMPLATES:
                registry.models.change_settings(name, {"template": TEMPLATES[name]})
        registry.aliases.set(ALIAS, "tooled")
