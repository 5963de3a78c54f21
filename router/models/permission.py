"""What a key with patterns of models may make and change: only what its patterns name, also by other names."""

from registry.store import Registry
from router.http.caller import Caller


def check_may_name(registry: Registry, caller: Caller, name: str) -> None:
    """Refuse a name that is not for somebody, be it his patterns' or that of a model which he may not use.

    Raises:
        ModelNameNotAllowedError: The message names the patterns.
    """
    if caller.models is not None:
        known = registry.models.find_exactly(name)
        caller.check_may_name(name, None if known is None else known.name)
