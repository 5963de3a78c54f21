from typing import Any

import pytest

from registry.bench_record import BenchContestant, BenchSample
from router.bench.machine.watch import Stretch
from router.bench.plan.scenarios import Scenario
from router.bench.run.conditions import notices_of

CHAT = Scenario(name="chat", what="", max_tokens=8)
TALK = Scenario(name="talk", what="", max_tokens=8, num_turns=3)


def contestant(**changes: Any) -> BenchContestant:
    plain: dict[str, Any] = {
        "label": "a",
        "model": "m",
        "engine": "llamacpp",
        "artifact_path": "/m",
        "devices": ("CPU",),
    }
    return BenchContestant(**plain | changes)


def sample(index: int = 0, scenario: str = "chat", **changes: Any) -> BenchSample:
    return BenchSample(contestant=index, scenario=scenario, round=0, started_s=0.0, **changes)


def codes(
    *contestants: BenchContestant, samples: list[BenchSample] | None = None, stretches: list[Stretch] | None = None
) -> dict[str, bool]:
    found = notices_of(contestants, samples or [], [CHAT, TALK], stretches or [], num_cores=2)
    assert all(notice.message.endswith((".", "'", "quiet.")) for notice in found)
    return {notice.code: notice.is_void for notice in found}


def test_two_alike_on_a_quiet_machine_need_no_words() -> None:
    quiet = Stretch(contestant=0, duration_s=9, others_cores=0.05, num_throttled=0)
    assert codes(contestant(), contestant(label="b"), samples=[sample()], stretches=[quiet]) == {}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"artifact_path": "/n", "quantization": "Q4_0", "bits_per_weight": 4.5}, "different_weights"),
        ({"context_length": 4096}, "different_context"),
        ({"num_threads": 4}, "different_threads"),
        ({"model": "n"}, "different_models"),
        ({"url": "http://x", "engine": None, "artifact_path": None}, "foreign_server"),
    ],
)
def test_what_is_unequal_is_named(changes: dict[str, Any], code: str) -> None:
    first = contestant(context_length=8192, num_threads=2, quantization="Q8_0", bits_per_weight=8.5)
    other = contestant(**{"label": "b", "context_length": 8192, "num_threads": 2} | changes)
    assert codes(first, other) == {code: False}


def test_threads_that_moved_are_told() -> None:
    moved, held = contestant(num_threads=2, least_threads=1), contestant(label="b", num_threads=2, least_threads=2)
    assert codes(moved, held) == {"moving_threads": False}
    assert codes(held, held) == {}


def test_the_same_bytes_at_two_places_are_the_same_weights() -> None:
    assert codes(contestant(artifact_sha256="x"), contestant(artifact_path="/n", artifact_sha256="x")) == {}


def test_an_offloaded_cpu_engine_makes_it_void() -> None:
    assert codes(contestant(devices=("CPU", "Metal")), contestant()) == {"metal_offload": True}
    assert codes(contestant(engine="mlx", devices=("gpu",)), contestant(devices=("cpu",))) == {}


def test_a_cached_prompt_makes_its_scenario_void_but_not_a_conversation() -> None:
    assert codes(contestant(), samples=[sample(num_cached_tokens=500)]) == {"cached_prompts": True}
    assert codes(contestant(), samples=[sample(num_cached_tokens=30), sample(num_cached_tokens=None)]) == {}
    assert codes(contestant(), samples=[sample(scenario="talk", num_cached_tokens=500)]) == {}


def test_a_picture_that_was_not_new_makes_its_scenario_void_and_one_again_may_be_cached() -> None:
    again = sample(image="again", is_image_cached=True, num_cached_tokens=500)
    assert codes(contestant(), samples=[sample(image="new", is_image_cached=False), again]) == {}
    known = sample(image="new", is_image_cached=True)
    assert codes(contestant(), samples=[known, again]) == {"cached_pictures": True}
    kept = sample(image="new", num_cached_tokens=500)
    assert codes(contestant(), samples=[kept, again]) == {"cached_prompts": True}


def test_failures_are_told_and_no_answers_at_all_make_it_void() -> None:
    failed = sample(error="it died.")
    assert codes(contestant(), samples=[failed, sample()]) == {"failed_requests": False}
    assert codes(contestant(), samples=[failed]) == {"no_answers": True}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"others_cores": 0.5}, "busy_machine"),
        ({"swapped_bytes": 1 << 30}, "swap_use"),
        ({"num_throttled": 3}, "thermal_throttling"),
        ({"num_other_requests": 1}, "other_requests"),
    ],
)
def test_what_the_machine_did_beside_is_told(changes: dict[str, Any], code: str) -> None:
    stretch = Stretch(**{"contestant": 0, "duration_s": 10, **changes})
    assert codes(contestant(), stretches=[stretch]) == {code: False}


def test_a_short_burst_of_others_in_a_long_run_is_no_busy_machine() -> None:
    stretches = [
        Stretch(contestant=0, duration_s=99, others_cores=0.0),
        Stretch(contestant=1, duration_s=1, others_cores=1),
    ]
    assert codes(contestant(), stretches=stretches) == {}
