"""What benchmarks ask to be decided: the same for the same seed, and what the endpoint takes."""

import msgspec

from router.bench.plan.deciding import NUM_DECISIONS, decision_body
from router.protocols.decisions.reading import systemone_asked
from router.protocols.decisions.schemas import SystemOneRequest


def test_the_same_seed_asks_the_same_and_another_round_something_else() -> None:
    assert decision_body(seed=1, round_number=0) == decision_body(seed=1, round_number=0)
    states = {decision_body(seed=seed, round_number=number)["state"] for seed in (1, 2) for number in (0, 1)}
    assert len(states) == 4


def test_the_endpoint_takes_it() -> None:
    for number in range(-1, 20):
        body = msgspec.json.encode({"model": "m", **decision_body(seed=7, round_number=number)})
        asked = systemone_asked(msgspec.json.decode(body, type=SystemOneRequest))
        assert len(asked.questions) == NUM_DECISIONS
