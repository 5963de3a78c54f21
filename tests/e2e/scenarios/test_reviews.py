"""Workers that write scripts and review them: who did what, at the same time, and what a kill costs."""

from collections.abc import Callable, Sequence
from typing import Any

import psutil
import pytest

from tests.e2e.scenarios.conftest import RunScenario, ScenarioGateway, held

pytestmark = pytest.mark.slow
NUM_KILLS = 20


def test_one_worker_writes_and_the_other_one_reviews(run_scenario: RunScenario) -> None:
    ran = run_scenario("script-review")
    assert ran.code == 0, ran.why
    write, review = ran.document["figures"]["parallelism"]
    assert [*write["pids"], *review["pids"]] == [worker["pid"] for worker in ran.document["workers"]]
    tokens = ran.document["figures"]["tokens"]
    assert 0 < tokens["used"] == tokens["budget"] - tokens["left"]


@pytest.mark.usefixtures("all_begin_before_one_ends")
def test_two_scripts_are_written_and_reviewed_at_the_same_time(run_scenario: RunScenario) -> None:
    ran = run_scenario("script-review-parallel")
    assert ran.code == 0, ran.why
    first, second = (worker["pid"] for worker in ran.document["workers"])
    writing, reviewing = ran.document["figures"]["parallelism"]
    assert (writing["pids"], reviewing["pids"]) == ([first, second], [second, first])
    for phase in (writing, reviewing):
        one, other = phase["steps"]
        assert max(one["from_s"], other["from_s"]) < min(one["to_s"], other["to_s"])
        assert phase["overlap_s"] > 0
        assert phase["work_s"] > phase["wall_s"]


@pytest.mark.usefixtures("all_begin_before_one_ends")
def test_contracts_scripts_attacks_and_judges_run_by_a_plan_that_was_linted(run_scenario: RunScenario) -> None:
    ran = run_scenario("script-review-adversarial")
    assert ran.code == 0, ran.why
    assert ran.holds("the plan can run")
    assert [phase["phase"] for phase in ran.document["figures"]["parallelism"]] == [
        *("contracts", "writing", "attacking", "judging")
    ]
    assert all(len(set(phase["pids"])) == 2 for phase in ran.document["figures"]["parallelism"])


@pytest.mark.usefixtures("all_begin_before_one_ends")
def test_a_plan_that_cannot_run_asks_nobody(run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.script_review_adversarial.TOKEN_BUDGET", 10)
    ran = run_scenario("script-review-adversarial")
    assert (ran.code, ran.document["figures"]) == (1, {})
    assert [check["claim"] for check in ran.document["checks"]] == ["the plan can run"]


@pytest.mark.parametrize("seed", range(NUM_KILLS))
def test_a_worker_killed_in_mid_review_costs_that_review_and_nothing_else(
    seed: int, run_scenario: RunScenario, scenario_gateway: ScenarioGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_killed(calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """Let nobody come to an end before the kill: that is due before the 40th character, a token each."""
        before = scenario_gateway.process.workers()
        is_review = calls[0].args[1].phase == "reviewing"  # type: ignore[attr-defined]
        gate = scenario_gateway.gates / ("token-50" if is_review else "decode")
        if is_review:
            return held(gate, lambda: not all(_is_alive(worker) for worker in before), calls)
        return held(gate, lambda: scenario_gateway.num_decoding() == len(calls), calls)

    monkeypatch.setattr("examples.review.performing.at_once", until_killed)
    ran = run_scenario("script-review-fail", "--seed", str(seed))
    assert ran.code == 0, ran.why
    lost, pids = ran.document["figures"]["lost"], {worker["pid"] for worker in ran.document["workers"]}
    assert lost["pid"] in pids
    assert lost["code"] == "engine_crashed"
    assert 0 < len(lost["came"]) < 64
    after = set(ran.document["figures"]["pids_after"])
    assert len(after) == len(pids)
    assert after & pids == pids - {lost["pid"]}
    (reviewing,) = (each for each in ran.document["figures"]["parallelism"] if each["phase"] == "reviewing")
    assert reviewing["pids"] == list(pids - {lost["pid"]}), "the other review completes"


def _is_alive(worker: psutil.Process) -> bool:
    return worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE
