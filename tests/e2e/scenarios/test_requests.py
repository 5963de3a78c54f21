"""Scenarios that ask one model: alone, in turns, many at once, one after the other."""

from itertools import pairwise
from pathlib import Path

import pytest

from examples.catalogue import module_file
from tests.e2e.scenarios.conftest import NUM_WORKERS, RunScenario, ScenarioGateway

pytestmark = pytest.mark.slow


def test_single_shot_tells_which_process_answered(run_scenario: RunScenario, scenario_gateway: ScenarioGateway) -> None:
    ran = run_scenario("single-shot")
    assert ran.code == 0, ran.why
    assert ran.document["holds"] is True
    assert ran.document["figures"]["pid"] in [worker.pid for worker in scenario_gateway.process.workers()]


def test_what_a_scenario_says_is_for_people_where_no_json_is_wanted(run_scenario: RunScenario) -> None:
    said = run_scenario("single-shot", is_json=False).said
    assert said.startswith("single-shot on tiny")
    assert "ok   an answer came: 48 tokens" in said
    assert "All 2 checks hold" in said


def test_multi_turn_computes_only_what_is_new(run_scenario: RunScenario) -> None:
    ran = run_scenario("multi-turn")
    assert ran.code == 0, ran.why
    turns = ran.document["figures"]["turns"]
    assert len({turn["pid"] for turn in turns}) == 1
    for before, turn in pairwise(turns):
        assert turn["cached_tokens"] >= before["prompt_tokens"]
        assert turn["cached_tokens"] + turn["computed_tokens"] == turn["prompt_tokens"]


@pytest.mark.usefixtures("all_begin_before_one_ends")
def test_burst_is_served_by_all_workers_at_the_same_time(
    run_scenario: RunScenario, scenario_gateway: ScenarioGateway
) -> None:
    ran = run_scenario("burst")
    assert ran.code == 0, ran.why
    pids = {worker["pid"] for worker in ran.document["workers"]}
    assert pids <= {worker.pid for worker in scenario_gateway.process.workers()}
    assert {int(pid) for pid in ran.document["figures"]["by_pid"]} == pids
    assert sum(ran.document["figures"]["by_pid"].values()) == len(ran.document["figures"]["requests"])
    assert len(pids) == NUM_WORKERS


def test_latency_has_prefill_and_decode_apart_with_intervals(run_scenario: RunScenario) -> None:
    ran = run_scenario("latency")
    assert ran.code == 0, ran.why
    for name in ("ttft_ms", "prefill_tokens_per_s", "decode_tokens_per_s"):
        interval = ran.document["figures"]["intervals"][name]
        assert 0 < interval["low"] <= interval["mid"] <= interval["high"]


def test_a_changed_copy_runs_as_the_scenario_does(run_scenario: RunScenario, tmp_path: Path) -> None:
    copy = tmp_path / "mine.py"
    text = module_file("single-shot").read_text()
    copy.write_text(text.replace('Scenario("single-shot"', 'Scenario("mine"').replace("max_tokens=48", "max_tokens=3"))
    ran = run_scenario(str(copy))
    assert ran.code == 0, ran.why
    assert (ran.document["scenario"], ran.document["figures"]["output_tokens"]) == ("mine", 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing",), 2, "There is no scenario 'nothing'; there are single-shot, "),
        (("no-such.py",), 2, "no-such.py: there is no such file."),
        ((str(module_file("nothing").parent / "catalogue.py"),), 2, "has no SCENARIO; "),
        (("burst", "--workers", "1"), 77, "it is about 2 workers, and --workers says 1."),
        (("single-shot", "--model", "nobody"), 1, "nobody"),  # the last one counts
        (("single-shot", "--input", "."), 2, "--input: single-shot takes none."),
    ],
)
def test_what_cannot_be_run_is_said_in_one_sentence(
    run_scenario: RunScenario, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = run_scenario(*arguments)
    assert (ran.code, ran.document) == (code, {})
    assert words in ran.said
    assert ran.said.startswith("mlxr: ")
    assert ran.said.count("\n") == 1


def test_without_a_server_a_scenario_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_scenario: RunScenario
) -> None:
    monkeypatch.setenv("MLXR_HOME", str(tmp_path))
    assert run_scenario("single-shot").said.strip() == (
        "mlxr: No mlxr server is running; start one with `mlxr serve` in another terminal."
    )
