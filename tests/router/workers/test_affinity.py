import pytest

from router.workers import affinity
from router.workers.affinity import SessionHomes


def test_the_session_that_was_not_used_for_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "MAX_SESSIONS", 2)
    homes = SessionHomes()
    for session_id, worker_id in (("a", 1), ("b", 2), ("a", 1), ("c", 3)):
        homes.settle(session_id, worker_id)
    assert dict(homes) == {"a": 1, "c": 3}


def test_a_worker_that_is_gone_is_nobodys_home() -> None:
    homes = SessionHomes()
    for session_id, worker_id in (("a", 1), ("b", 2), ("c", 1)):
        homes.settle(session_id, worker_id)
    homes.on_worker_gone(1)
    assert dict(homes) == {"b": 2}
