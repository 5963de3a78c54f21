"""Opening the catalogue for a verb. Not here: what is in it (`registry.store`)."""

import contextlib

from registry.errors import RegistryReadOnlyError
from registry.store import Registry
from router.config.paths import Paths


def open_registry(paths: Paths) -> Registry:
    """Open the catalogue for writing, making it and its folder when needed; close it.

    Raises:
        OSError: The folders cannot be made.
    """
    paths.ensure_folders()
    return Registry(paths.registry_db)


def open_registry_for_reading(paths: Paths) -> Registry:
    """Open the catalogue without changing anything if that is possible; close it.

    A new one is made when there is none, and one of an older mlxr is migrated first.

    Raises:
        OSError: The folders cannot be made.
    """
    if paths.registry_db.exists():
        with contextlib.suppress(RegistryReadOnlyError):
            return Registry(paths.registry_db, is_read_only=True)
    return open_registry(paths)
