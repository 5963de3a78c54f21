"""Changes models while the server runs: settings, other names, adapters; says what a removal would do.

Blocking work in threads, on connections of their own; the gateway learns of it as of what other processes change. Not
here: making and removing models (`making.py`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.adapters.registration import register_adapter, remove_adapter
from registry.catalogue import Adapter, Model
from registry.engines import EngineKind
from registry.errors import InvalidSettingError
from registry.removing.plan import RemovalReport
from registry.removing.removal import plan_removal
from registry.settings import check_settings
from registry.store import Registry
from registry.threads import with_registry
from router.errors import InvalidRequestError
from router.http.caller import current_caller
from router.models.chat_templates import check_jinja
from router.models.permission import check_may_name


class ModelEditing:
    """One per gateway; models are named by their own names or aliases, which are for whoever asks."""

    def __init__(self, database: Path) -> None:
        self._database = database

    async def change_settings(self, name: str, changes: Mapping[str, Any]) -> Model:
        """Set settings of a model or take them away, all or none.

        Args:
            changes: Key to plain value; None takes the setting away.

        Raises:
            InvalidRequestError: A key or value cannot be; its `param` is the key.
        """
        for key, value in changes.items():
            try:
                check_settings({key: value})
            except InvalidSettingError as exc:
                raise InvalidRequestError(str(exc).removesuffix("."), key) from exc
        template = changes.get("template")
        if template is not None:
            check_jinja(template)
        try:
            return await with_registry(self._database, lambda registry: registry.models.change_settings(name, changes))
        except InvalidSettingError as exc:  # a value that this one model cannot have
            key = str(exc).partition(":")[0]
            raise InvalidRequestError(str(exc), key if key in changes else None) from exc

    async def add_alias(self, name: str, alias: str) -> Model:
        """Give a model another name.

        Raises:
            ModelNameNotAllowedError: The alias is not for whoever asks.
            RegistryError: It cannot be a name, or is one already.
        """
        caller = current_caller()

        def run(registry: Registry) -> Model:
            check_may_name(registry, caller, alias)
            return registry.aliases.set(alias, name)

        return await with_registry(self._database, run)

    async def add_adapter(self, base: str, path: Path, *, name: str | None, scale: float) -> Adapter:
        """Register an adapter where it lies; arguments and errors as of `register_adapter`."""
        return await with_registry(
            self._database, lambda registry: register_adapter(registry, base, path, name=name, scale=scale)
        )

    async def forget_adapter(self, base: str, name: str, engine: EngineKind | None) -> tuple[Adapter, ...]:
        """Forget an adapter, whose files stay; errors as of `remove_adapter`."""
        return await with_registry(self._database, lambda registry: remove_adapter(registry, base, name, engine=engine))

    async def removal_of(self, model: Model, *, is_deleting_foreign_files: bool = False) -> RemovalReport:
        """Tell what removing a model would delete and leave."""
        return await with_registry(
            self._database,
            lambda registry: plan_removal(
                registry, model.artifacts, is_deleting_foreign_files=is_deleting_foreign_files
            ),
        )
