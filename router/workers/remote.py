"""What the supervisor needs of those who serve models that no worker here has: upstreams, if there are any."""

from collections.abc import Callable, Iterable
from typing import Protocol

from router.models.model_request import ModelRequest
from router.models.targets import Choice
from router.placement.situation import WaitingRequest
from router.workers.waiting import Ticket


class RemoteServing(Protocol):
    """Hands out leases of what is not on this machine. Owned by the event loop."""

    def admit(self, ticket: Ticket) -> None:
        """Give a ticket its lease once there is a place, or an error; its choice is a remote one."""

    def resolve_again(self, resolve: Callable[[ModelRequest], Choice], submit: Callable[[Ticket], None]) -> None:
        """Follow changed settings with all that wait; those that nobody remote serves now are submitted anew."""

    @property
    def waiting(self) -> Iterable[WaitingRequest]:
        """A look at those that wait."""

    def end(self) -> None:
        """Refuse what waits, cut what runs, and take nothing new."""
