"""What a gateway tells of memory: how short of it the machine is, and which defaults hold for that."""

from collections.abc import Iterator
from typing import Final

from registry.errors import RegistryError
from router.http.caller import base_name, current_caller
from router.memory.levels import MemoryReading
from router.memory.monitor import MemoryMonitor
from router.models.directory import ModelDirectory
from router.protocols.serving import RequestService
from router.status.memory import MemorySetting, MemoryStatus

_OWN: Final = {"generation.max_tokens": "max_tokens", "limits.keep_alive_s": "keep_alive_s"}
"""Of what hangs on the memory: the config's key -> the setting that a model may have for itself."""


def memory_status(serving: RequestService, monitor: MemoryMonitor) -> MemoryStatus:
    """Return what is known now."""
    reading, may_use = monitor.reading or MemoryReading(), current_caller().may_use
    loaded = {worker.target.model for worker in serving.supervisor.workers if worker.target is not None}
    own = [setting for name in sorted(loaded) for setting in _own_settings(serving.models, name)]
    return MemoryStatus(
        tier=monitor.tier.value,
        pressure=monitor.state.level.value,
        reason=monitor.state.reason,
        used_share=_rounded(reading.used_share),
        stall_share=_rounded(reading.stall_share),
        system_level=None if reading.system is None else reading.system.value,
        own_bytes=reading.own_bytes,
        budget_bytes=reading.budget_bytes,
        settings=[*monitor.settings, *own],
        reliefs=[relief for relief in serving.supervisor.reliefs if may_use(base_name(relief.model))],
    )


def _own_settings(models: ModelDirectory, name: str) -> Iterator[MemorySetting]:
    try:
        settings = models.get(name).settings
    except RegistryError:  # removed while it is loaded
        return
    for key, field in _OWN.items():
        value = getattr(settings, field)
        if value is not None:
            yield MemorySetting(name=key, value=value, origin="model", model=name)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
