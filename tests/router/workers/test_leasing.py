import pytest

from router.workers import leasing
from router.workers.leasing import SessionAffinity


def test_the_session_that_was_not_used_for_longest_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leasing, "MAX_SESSIONS", 2)
    affinity = SessionAffinity()
    for session_id, worker_id in (("a", 1), ("b", 2), ("a", 1), ("c", 3)):
        affinity.settle(session_id, worker_id)
    assert dict(affinity) == {"a": 1, "c": 3}


def test_a_worker_that_is_gone_is_nobodys_home() -> None:
    affinity = SessionAffinity()
    for session_id, worker_id in (("a", 1), ("b", 2), ("c", 1)):
        affinity.settle(session_id, worker_id)
    affinity.on_worker_gone(1)
    assert dict(affinity) == {"b": 2}
