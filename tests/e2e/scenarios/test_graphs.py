"""Scenarios whose requests are lines of a batch: order, affinity, budgets, and what a failed line costs."""

from typing import Any

import pytest

from tests.e2e.scenarios.conftest import NUM_WORKERS, RunScenario

pytestmark = pytest.mark.slow


def by_name(figures: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in figures["lines"]}


def test_chains_and_diamonds_run_in_order_and_a_failure_is_isolated(run_scenario: RunScenario) -> None:
    ran = run_scenario("dag-burst")
    assert ran.code == 0, ran.why
    figures = ran.document["figures"]
    lines = by_name(figures)
    failed = {name: line["code"] for name, line in lines.items() if line["code"] is not None}
    assert failed["broken-join"] == "dependency_failed"
    assert set(failed) == {"broken-left", "broken-join"}
    for before, after in (("prefill-1", "decode-1"), ("whole-base", "whole-left"), ("whole-right", "whole-join")):
        assert lines[before]["place"] < lines[after]["place"]
    for number in (1, 2, 3):
        prefill, decode = lines[f"prefill-{number}"], lines[f"decode-{number}"]
        assert prefill["pid"] == decode["pid"]
        assert decode["cached_tokens"] >= prefill["prompt_tokens"] - 1
    assert figures["critical_path"]["seconds"] <= figures["wall_s"]
    assert figures["tokens"]["left"] == figures["tokens"]["budget"] - figures["tokens"]["used"] >= 0
    assert len(ran.document["workers"]) == NUM_WORKERS


def test_conversations_stay_with_their_workers_and_end_with_their_budget(run_scenario: RunScenario) -> None:
    ran = run_scenario("dag-multi-turn")
    assert ran.code == 0, ran.why
    figures = ran.document["figures"]
    assert all(len(pids) == 1 for pids in figures["sessions"].values())
    for cached in figures["cached_tokens"].values():
        assert cached == sorted(set(cached))
    codes = {line["code"] for line in figures["short"]["lines"]}
    assert codes == {None, "token_budget_exceeded"}
    assert figures["short"]["tokens"]["used"] >= figures["short"]["tokens"]["budget"]


def test_more_workers_than_the_model_is_set_to_have_are_refused_with_the_command(run_scenario: RunScenario) -> None:
    ran = run_scenario("dag-burst", "--workers", str(NUM_WORKERS + 1))
    assert (ran.code, ran.document) == (77, {})
    assert f"`mlxr models set tiny workers={NUM_WORKERS + 1}` sets it" in ran.said
