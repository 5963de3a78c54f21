"""When models were used last, and which engines serve them in another's place: what is told of their use."""

import logging
from collections.abc import Callable
from typing import Final

from registry.errors import DatabaseError
from registry.store import Registry
from router.models.targets import Choice, EngineReason

logger = logging.getLogger(__name__)

NOTE_USE_INTERVAL_S: Final = 60.0
"""The time of last use is written at most this often per model: a write may wait for another process's."""


class UsageNotes:
    """Owned by the directory of models.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._noted_at: dict[str, float] = {}
        self._fallbacks: dict[str, EngineReason] = {}

    def note_use(self, name: str) -> bool:
        """Write the time of last use, now and then; not worth an error.

        Returns:
            Whether it was to be written now.
        """
        now = self._clock()
        noted_at = self._noted_at.get(name)
        if noted_at is not None and now < noted_at + NOTE_USE_INTERVAL_S:
            return False
        self._noted_at[name] = now
        try:
            self._registry.models.touch_last_used(name)
        except DatabaseError as exc:
            logger.debug("the time of last use was not written: %s", exc)
        return True

    def tell_fallback(self, choice: Choice) -> None:
        """Write into the log that another engine than the one that is set serves a model, once as long as it does."""
        name, told = choice.target.model, self._fallbacks.get(choice.target.model)
        if not choice.reason.is_fallback:
            self._fallbacks.pop(name, None)
        elif told is not choice.reason:
            self._fallbacks[name] = choice.reason
            logger.warning("%s serves '%s'; %s", choice.target.engine, choice.target.label, choice.reason.value)
