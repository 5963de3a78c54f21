"""What goes wrong with other servers whose models are served here."""

from router.errors.base import RouterError
from router.errors.invalid import EngineNotAvailableError, InvalidRequestError
from router.errors.serving import EngineCrashedError


class UpstreamNotAvailableError(EngineNotAvailableError, code="upstream_not_available"):
    """The upstream that was asked for does not have this model, or there is no such upstream.

    Args:
        available: Who has it: engines and upstreams.
    """

    def __init__(self, model: str, upstream: str, available: list[str]) -> None:
        has = " or ".join(f"'{model}@{each}'" for each in available) or "another model"
        message = f"The upstream '{upstream}' is not in the config or does not have the model '{model}'; ask {has}."
        InvalidRequestError.__init__(self, message, "model")


class UpstreamRefusedError(InvalidRequestError, code="upstream_refused"):
    """An upstream has refused the request as it is; the message has its words."""


class TooManyHopsError(InvalidRequestError, code="too_many_hops"):
    """Servers pass the request on to each other."""

    def __init__(self, num_hops: int) -> None:
        super().__init__(
            f"The request has passed through {num_hops} servers of mlxr: two of them may be upstreams of each other. "
            "Take one out of the other's `upstreams`, or ask a model's engine by name."
        )


class UpstreamUnreachableError(EngineCrashedError, code="upstream_unreachable"):
    """An upstream could not be reached, or was lost before anything of the answer came: it may be tried once more."""


class UpstreamBusyError(EngineCrashedError, code="upstream_busy"):
    """An upstream takes no request now, and says when it does; another one may."""


class UpstreamError(RouterError, code="upstream_failed"):
    """An upstream has failed at the answer, or has sent what is none; it may have cost, so it is not tried again."""


class UpstreamKeyError(UpstreamError, code="upstream_key_refused"):
    """An upstream does not take the key that the config has for it: nothing that its client could do about."""


class UpstreamTimeoutError(UpstreamError, code="upstream_timeout"):
    """An upstream was silent for longer than the config allows."""


class UpstreamCeilingError(UpstreamError, code="upstream_ceiling_reached"):
    """An upstream was given what the config allows it on one day."""
