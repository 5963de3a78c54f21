"""The client's call for what happens in a server, for the command line. Not here: how it is shown."""

from collections.abc import Generator

from router.cli.client.base import Client, decoded_event
from router.events.kinds import AnyEvent

EVENTS_PATH = "/v1/mlxr/events"


class EventClient(Client):
    """Talks to one running gateway. Use it in a `with`.

    Attributes:
        last_id: Of the last event that has come; None before.
    """

    last_id: str | None = None

    def follow(self) -> Generator[AnyEvent, None, None]:
        """Tell what happens, from where the last call stood, until the server ends the stream.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        headers = None if self.last_id is None else {"Last-Event-ID": self.last_id}
        for line in self._lines("GET", EVENTS_PATH, None, headers):
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "data":
                yield decoded_event(value, AnyEvent)
