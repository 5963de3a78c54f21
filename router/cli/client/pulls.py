"""The client's calls about pulls, for the command line. Not here: the connection and its errors (`client.py`)."""

import contextlib
from collections.abc import Generator

from registry.pull import Wishes
from router.cli.client.base import ServerAnswerError
from router.cli.client.events import EventClient
from router.jobs.pull_events import FINAL_EVENTS, ModelPullEvent, PullInfo, PullList

PULLS_PATH = "/v1/mlxr/models/pulls"


class PullClient(EventClient):
    """Talks to one running gateway about pulls. Use it in a `with`."""

    def pull(self, reference: str, wishes: Wishes) -> Generator[ModelPullEvent, None, None]:
        """Have the server pull a model; closing the iterator does not stop the pull.

        Args:
            wishes: What of it; the server looks at the memory itself.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        body = {"reference": reference, "engine": wishes.engine, "vision": wishes.vision, "name": wishes.name}
        stream: Generator[ModelPullEvent, None, None] = self._events("/v1/mlxr/models/pull", body, ModelPullEvent)
        with contextlib.closing(stream) as events:
            for event in events:
                yield event
                if isinstance(event, FINAL_EVENTS):
                    return
        raise ServerAnswerError("The stream ended before the pull did.", status=200, code="stream_cut")

    def pulls(self) -> tuple[PullInfo, ...]:
        """Ask for all pulls, oldest first."""
        return self._decode(self._request("GET", PULLS_PATH), PullList).pulls

    def change_pull(self, pull_id: int, change: str) -> PullInfo:
        """Pause, resume or cancel a pull.

        Args:
            change: `pause`, `resume` or `cancel`.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such pull, with 409 it cannot be done.
        """
        return self._decode(self._request("POST", f"{PULLS_PATH}/{pull_id}/{change}", {}), PullInfo)
