"""The config's section about giving the machine up for a while; part of `schema`."""

import msgspec

from router.config.background import Seconds


class LifecycleConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens when the server is suspended.

    Attributes:
        suspend_timeout_s: What running answers get to finish before they are cut.
    """

    suspend_timeout_s: Seconds = 20.0
