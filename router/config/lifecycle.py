"""The config's section about giving the machine up for a while; part of `schema`."""

import msgspec

from router.config.background import Seconds


class LifecycleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when the server is suspended, and when the machine sleeps.

    Attributes:
        unload_before_sleep: Whether the model is unloaded before the machine sleeps; None = by the machine's memory.
        reload_on_wake: Whether it is loaded again when the machine wakes up.
        suspend_timeout_s: What running answers get to finish before they are cut.
    """

    unload_before_sleep: bool | None = None
    reload_on_wake: bool = True
    suspend_timeout_s: Seconds = 20.0
