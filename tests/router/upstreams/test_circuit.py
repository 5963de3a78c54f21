"""The circuit of an upstream: when it is asked and when it is left alone, by a clock that is moved."""

from hypothesis import given
from hypothesis import strategies as st

from router.upstreams.circuit import FAILURES_TO_OPEN, FIRST_COOLDOWN_S, MAX_COOLDOWN_S, Circuit, CircuitState


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit()
    for _ in range(FAILURES_TO_OPEN):
        circuit.on_failure(now, "gone")
    return circuit


def test_it_opens_after_some_failures_in_a_row_and_tries_when_the_cooldown_is_over() -> None:
    circuit = Circuit()
    for _ in range(FAILURES_TO_OPEN - 1):
        circuit.on_failure(0.0, "gone")
    assert circuit.may_ask(0.0)
    circuit.on_success()
    circuit.on_failure(0.0, "gone")
    assert circuit.may_ask(0.0), "a success between them counts"
    circuit = opened()
    assert (circuit.state(1.0), circuit.may_ask(1.0), circuit.why) == (CircuitState.OPEN, False, "gone")
    assert circuit.wait_s(4.0) == FIRST_COOLDOWN_S - 4.0
    assert (circuit.state(FIRST_COOLDOWN_S), circuit.may_ask(FIRST_COOLDOWN_S)) == (CircuitState.TRYING, True)


def test_one_request_tries_and_decides_for_all() -> None:
    circuit = opened()
    now = FIRST_COOLDOWN_S
    circuit.on_asked(now)
    assert not circuit.may_ask(now), "another one is trying"
    circuit.on_failure(now, "still gone")
    assert circuit.wait_s(now) == 2 * FIRST_COOLDOWN_S
    now += 2 * FIRST_COOLDOWN_S
    circuit.on_asked(now)
    circuit.on_left()
    assert circuit.may_ask(now), "a try whose client has gone tells nothing"
    circuit.on_asked(now)
    circuit.on_success()
    assert (circuit.state(now), circuit.may_ask(now), circuit.num_failures) == (CircuitState.CLOSED, True, 0)


def test_who_is_busy_is_left_alone_for_as_long_as_it_said_and_has_not_failed() -> None:
    circuit = Circuit()
    circuit.on_busy(0.0, 7.0)
    assert (circuit.state(0.0), circuit.may_ask(6.9), circuit.busy_s(6.0)) == (CircuitState.CLOSED, False, 1.0)
    assert circuit.may_ask(7.0)
    assert circuit.num_failures == 0


def test_a_refused_key_closes_it_until_something_says_otherwise() -> None:
    circuit = Circuit()
    circuit.on_refused("no such key")
    assert (circuit.state(1e6), circuit.may_ask(1e6)) == (CircuitState.REFUSED, False)
    circuit.on_success()
    assert circuit.may_ask(1e6)


_EVENTS = st.lists(st.tuples(st.sampled_from(["asked", "success", "failure", "left", "busy"]), st.floats(0, 400)))


@given(_EVENTS)
def test_whatever_comes_it_is_asked_again_within_a_bounded_time(events: list[tuple[str, float]]) -> None:
    circuit, now = Circuit(), 0.0
    for event, later_s in events:
        now += later_s
        match event:
            case "asked" if circuit.may_ask(now):
                circuit.on_asked(now)
            case "success":
                circuit.on_success()
            case "failure":
                circuit.on_failure(now, "gone")
            case "left":
                circuit.on_left()
            case "busy":
                circuit.on_busy(now, 60.0)
    circuit.on_left()
    assert circuit.may_ask(now + MAX_COOLDOWN_S)
    assert 0 <= circuit.wait_s(now) <= MAX_COOLDOWN_S
    assert circuit.may_ask(now) == (circuit.wait_s(now) == 0)
