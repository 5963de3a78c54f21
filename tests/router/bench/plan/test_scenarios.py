import pytest

from router.bench.plan.options import BenchOptions
from router.bench.plan.prompts_file import UserPrompt
from router.bench.plan.scenarios import (
    ANSWER_ROOM,
    Scenario,
    ScenarioRequest,
    chosen_scenarios,
    next_turn,
    requests_of,
    standard_scenarios,
    why_skipped,
)
from router.errors import BenchError

STANDARD = {scenario.name: scenario for scenario in standard_scenarios(4)}
OF_TEXT = [name for name, scenario in STANDARD.items() if not scenario.has_image]


def options(*scenarios: str) -> BenchOptions:
    return BenchOptions(model="m", scenarios=scenarios)


def asked(name: str, *, seed: int = 0, round_number: int = 0, contestant: int = 0) -> tuple[ScenarioRequest, ...]:
    return requests_of(
        STANDARD[name], seed=seed, round_number=round_number, contestant=contestant, chars_per_token=lambda n: 4 * n
    )


def text_of(request: ScenarioRequest) -> str:
    text: str = request.messages[-1]["content"]
    return text


def test_long_talks_run_where_they_are_named() -> None:
    assert all(scenario.num_talk_turns is None for scenario in chosen_scenarios(options()))
    names = ["long-talk-40", "long-talk-120", "long-talk-400"]
    assert [scenario.name for scenario in chosen_scenarios(options("long-talk"))] == names
    (one,) = chosen_scenarios(options("long-talk-120"))
    assert (one.num_talk_turns, one.has_cached_prompts) == (120, True)
    with pytest.raises(BenchError, match="long-talk-40"):
        chosen_scenarios(options("long-talks"))


def test_decisions_are_taken_where_they_are_named() -> None:
    assert not any(scenario.has_decisions for scenario in chosen_scenarios(options()))
    (one,) = chosen_scenarios(options("decisions"))
    assert (one.has_decisions, one.has_cached_prompts) == (True, True)


@pytest.mark.parametrize("name", OF_TEXT)
def test_requests_follow_from_seed_round_and_contestant(name: str) -> None:
    assert asked(name) == asked(name)
    texts = [
        text_of(request)
        for seed in (0, 1)
        for n in (0, 1)
        for who in (0, 1)
        for request in requests(name, seed, n, who)
    ]
    assert len({text.split()[0] for text in texts}) == len(texts)  # nothing begins as anything else does


def requests(name: str, seed: int, round_number: int, contestant: int) -> tuple[ScenarioRequest, ...]:
    return asked(name, seed=seed, round_number=round_number, contestant=contestant)


@pytest.mark.parametrize("name", OF_TEXT)
def test_contestants_differ_in_the_first_word_alone(name: str) -> None:
    first, second = (text_of(asked(name, contestant=index)[0]) for index in (0, 1))
    assert first.split()[1:] == second.split()[1:]
    assert len(first) == len(second)


def test_a_long_prompt_has_the_wanted_length() -> None:
    assert 8100 <= len(text_of(asked("long-prompt-2k")[0])) <= 8192


def test_parallel_streams_ask_different_things() -> None:
    assert len({text_of(request) for request in asked("parallel-4")}) == 4


def test_a_scenario_is_skipped_when_the_smallest_context_does_not_hold_it() -> None:
    long = STANDARD["long-prompt-8k"]
    assert why_skipped(long, 8192 + ANSWER_ROOM) is None
    assert why_skipped(long, 8192) == "needs a context of 8,288 tokens, there are 8,192"
    assert why_skipped(STANDARD["short-chat"], 16) is None
    assert why_skipped(STANDARD["long-prompt-2k"], None) is None
    assert why_skipped(long, None) == "the length of the context is not known"


def test_a_body_asks_for_answers_of_one_length_unless_a_schema_ends_them() -> None:
    free, bound = asked("short-chat")[0].body("m"), asked("json-schema")[0].body("m")
    assert free["ignore_eos"] is True
    assert (free["model"], free["max_tokens"], free["stream"]) == ("m", 48, True)
    assert "ignore_eos" not in bound
    assert bound["response_format"]["json_schema"]["schema"]["required"] == ["name", "age", "tools"]


def test_a_conversation_goes_on_with_the_models_own_answer() -> None:
    first = asked("multi-turn")[0]
    second = next_turn(first, "The answer.", seed=0, turn=1)
    assert second.messages[:1] == first.messages
    assert second.messages[1] == {"role": "assistant", "content": "The answer."}
    assert second.messages[2]["role"] == "user"


def test_own_prompts_begin_with_a_word_of_their_own_in_each_round() -> None:
    prompts = (UserPrompt(messages=({"role": "user", "content": "Why?"},), max_tokens=7),)
    (scenario,) = chosen_scenarios(BenchOptions(model="m", prompts=prompts, max_tokens=99))
    texts = {
        text_of(request)
        for number in range(3)
        for request in requests_of(scenario, seed=0, round_number=number, contestant=0, chars_per_token=lambda n: n)
    }
    assert len(texts) == 3
    assert all(text.endswith(": Why?") for text in texts)


def test_scenarios_are_chosen_by_name_and_unknown_ones_named() -> None:
    chosen = chosen_scenarios(BenchOptions(model="m", scenarios=("long-answer", "short-chat")))
    assert [scenario.name for scenario in chosen] == ["short-chat", "long-answer"]
    with pytest.raises(BenchError, match="no scenario 'short'; there are: short-chat, "):
        chosen_scenarios(BenchOptions(model="m", scenarios=("short",)))


def test_a_skipped_scenario_says_why_in_the_record() -> None:
    scenario = Scenario(name="x", what="y", max_tokens=3)
    assert scenario.described("too long").skipped == "too long"
    assert scenario.described().skipped is None
