"""Who sent a request, as all parts of the gateway see it."""

import pytest

from router.http.caller import NOBODY, OWNER, Scope, caller_of, set_caller


def test_a_request_that_no_guard_has_let_in_is_nobodys() -> None:
    assert caller_of({"type": "http"}) is NOBODY


def test_a_caller_is_known_to_copies_of_the_scope_and_to_the_layers_outside() -> None:
    outside = {"type": "http", "state": {}}
    set_caller({**outside, "path": "/x"}, OWNER)
    assert caller_of(outside) is OWNER


@pytest.mark.parametrize(
    ("has", "needs", "may"),
    [
        (Scope.PUBLIC, Scope.PUBLIC, True),
        (Scope.PUBLIC, Scope.INFERENCE, False),
        (Scope.INFERENCE, Scope.INFERENCE, True),
        (Scope.INFERENCE, Scope.MODELS, False),
        (Scope.MODELS, Scope.INFERENCE, True),
        (Scope.MODELS, Scope.ADMIN, False),
        (Scope.ADMIN, Scope.MODELS, True),
    ],
)
def test_a_scope_has_what_those_before_it_have(has: Scope, needs: Scope, may: bool) -> None:  # noqa: FBT001
    assert has.covers(needs) is may
