"""The client's calls about pulls, for the command line. Not here: the connection and its errors (`client.py`)."""

from collections.abc import Generator
from typing import Any

import msgspec

from registry.pull import Wishes
from router.client import CONNECT_TIMEOUT_S, STREAM_SILENCE_S, Client, ServerAnswerError, answer_error, error_of
from router.pull_events import FINAL_EVENTS, ModelPullEvent, PullInfo, PullList

PULLS_PATH = "/v1/mlxr/models/pulls"


class PullClient(Client):
    """Talks to one running gateway about pulls. Use it in a `with`."""

    def pull(self, reference: str, wishes: Wishes) -> Generator[ModelPullEvent, None, None]:
        """Have the server pull a model; closing the iterator does not stop the pull.

        Args:
            reference: What to pull.
            wishes: What of it; the server looks at the memory itself.

        Yields:
            The events, a final one last.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        import httpx

        body = {"reference": reference, "engine": wishes.engine, "vision": wishes.vision, "name": wishes.name}
        timeout = httpx.Timeout(STREAM_SILENCE_S, connect=CONNECT_TIMEOUT_S)
        request = self._client().build_request("POST", "/v1/mlxr/models/pull", json=body, timeout=timeout)
        with self._foreign_errors():
            response = self._client().send(request, stream=True)
            try:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise answer_error(response)
                for line in response.iter_lines():
                    if not line.startswith("data:"):
                        continue
                    event = _event(line.removeprefix("data:").strip(), response.status_code)
                    yield event
                    if isinstance(event, FINAL_EVENTS):
                        return
            finally:
                response.close()
        raise ServerAnswerError("The stream ended before the pull did.", status=200, code="stream_cut")

    def pulls(self) -> tuple[PullInfo, ...]:
        """Ask for all pulls, oldest first.

        Raises:
            ClientError: Or a subclass.
        """
        return self._decode(self._request("GET", PULLS_PATH), PullList).pulls

    def change_pull(self, pull_id: int, change: str) -> PullInfo:
        """Pause, resume or cancel a pull.

        Args:
            pull_id: Its number.
            change: `pause`, `resume` or `cancel`.

        Returns:
            The pull as it is now.

        Raises:
            ClientError: Or a subclass; with status 404 there is no such pull, with 409 it cannot be done.
        """
        return self._decode(self._request("POST", f"{PULLS_PATH}/{pull_id}/{change}", {}), PullInfo)


def _event(data: str, status: int) -> ModelPullEvent:
    try:
        event: ModelPullEvent = msgspec.json.decode(data, type=ModelPullEvent)
    except msgspec.DecodeError as exc:
        value: Any = msgspec.json.decode(data) if data.startswith('{"error"') else None
        if isinstance(value, dict):
            raise error_of(value.get("error"), status) from None
        raise ServerAnswerError(
            f"The server tells something that this mlxr does not understand ({exc}); is it another version?",
            status=status,
        ) from exc
    return event
