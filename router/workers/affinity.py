"""Which worker served which conversation last: its cache may still be there."""

from collections import OrderedDict

MAX_SESSIONS = 4096
"""Sessions that are remembered; the one that was not used for longest goes first."""


class SessionHomes(OrderedDict[str, int]):
    """Session id to worker id, the last used at the end."""

    def settle(self, session_id: str, worker_id: int) -> None:
        """Note that `worker_id` serves the session."""
        self[session_id] = worker_id
        self.move_to_end(session_id)
        if len(self) > MAX_SESSIONS:
            self.popitem(last=False)

    def on_worker_gone(self, worker_id: int) -> None:
        """Forget the sessions of a worker."""
        for session_id in [session_id for session_id, home in self.items() if home == worker_id]:
            del self[session_id]
