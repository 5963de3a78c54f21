import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.prompts import ChatPrompt, PromptMessage
from router.context.narrative import wound
from router.context.plan import MAX_NARRATIVE_TOKENS, Budget, NoPlan, WindPlan, plan_wind
from router.context.turns import units_of
from tests.support.random_talks import pinned_in, random_prompt, random_sizes

FRAME_TOKENS = 40


def _budget(rng: random.Random, prompt: ChatPrompt, sizes: list[int]) -> Budget:
    context_length = rng.choice((512, 2048, 4096, 8192, 32_768))
    pinned = sum(sizes[at] for at in pinned_in(prompt.messages))
    return Budget(
        context_length=context_length,
        system_tokens=pinned + rng.randrange(5, 200),
        frame_tokens=FRAME_TOKENS,
        answer_room=rng.randrange(1, context_length // 2),
    )


def _talk(seed: int) -> tuple[ChatPrompt, list[int], Budget]:
    rng = random.Random(f"plan {seed}")
    prompt = random_prompt(rng, rng.choice((4, 40, 150)))
    sizes = random_sizes(rng, prompt)
    return prompt, sizes, _budget(rng, prompt, sizes)


def _kept_tokens(plan: WindPlan, sizes: list[int]) -> int:
    return sum(sizes[at] for at in plan.kept)


def _least_tokens(prompt: ChatPrompt, sizes: list[int]) -> int:
    """What has to stay whatever happens: the round that is open and all behind it, or the last unit."""
    units = units_of(prompt.messages)
    first = units.num_read if units.units[units.num_read].is_open else -1
    return sum(sizes[at] for unit in units.units[first:] for at in unit.indexes)


def _seeds() -> pytest.MarkDecorator:
    """A thousand, a hundred to a test."""
    return pytest.mark.parametrize("seeds", [range(at, at + 100) for at in range(0, 1000, 100)], ids=str)


@_seeds()
def test_every_plan_fits_or_says_why_it_cannot(seeds: range) -> None:
    for seed in seeds:
        _check_fits(*_talk(seed))


def _check_fits(prompt: ChatPrompt, sizes: list[int], budget: Budget) -> None:
    units = units_of(prompt.messages)
    plan = plan_wind(units, sizes, budget)
    everything = budget.system_tokens + sum(sizes[at] for unit in units.units for at in unit.indexes)
    if isinstance(plan, NoPlan):
        match plan:
            case NoPlan.FITS:
                assert everything <= budget.target
            case NoPlan.NOTHING_OLDER:
                assert everything <= budget.ceiling
            case NoPlan.TOO_LARGE:
                least = _least_tokens(prompt, sizes) if units.units else 0
                assert not units.units or budget.system_tokens + FRAME_TOKENS + least > budget.ceiling
        return
    assert plan.prompt_tokens == (
        budget.system_tokens + FRAME_TOKENS + plan.narrative_tokens + _kept_tokens(plan, sizes)
    )
    assert plan.prompt_tokens <= budget.ceiling, "the answer has its room"
    assert plan.narrative_tokens <= MAX_NARRATIVE_TOKENS
    if plan.prompt_tokens > budget.target:
        unread = {at for unit in units.units[units.num_read :] for at in unit.indexes}
        assert set(plan.kept) - {plan.task} <= unread, "nothing stays that does not have to"


@_seeds()
def test_order_pairs_and_the_systems_words_are_kept(seeds: range) -> None:
    for seed in seeds:
        _check_order(*_talk(seed))


def _check_order(prompt: ChatPrompt, sizes: list[int], budget: Budget) -> None:
    messages, units, pinned = prompt.messages, units_of(prompt.messages), pinned_in(prompt.messages)
    plan = plan_wind(units, sizes, budget)
    if isinstance(plan, NoPlan):
        return
    assert sorted([*plan.told, *plan.kept, *pinned]) == list(range(len(messages)))
    assert plan.told == tuple(sorted(plan.told))
    assert all(at < plan.told_end for at in plan.told)
    assert [at for at in plan.kept if at < plan.told_end] == ([] if plan.task is None else [plan.task])
    for unit in units.units:
        assert set(unit.indexes) <= set(plan.told) or set(unit.indexes) <= set(plan.kept)
        assert not unit.is_open or set(unit.indexes) <= set(plan.kept)
    before = [msgspec.msgpack.encode(message) for message in messages]
    after = [msgspec.msgpack.encode(message) for message in wound(prompt, plan.told_end, plan.task, "Told.").messages]
    # What stays is found in the wound prompt to the byte and in order: the system's words of the told part first.
    stays = [*(at for at in pinned if at < plan.told_end), *([] if plan.task is None else [plan.task])]
    stays += range(plan.told_end, len(messages))
    remaining = iter(after)
    assert all(before[at] in remaining for at in stays)
    assert len(stays) < len(after) <= len(stays) + 2


@_seeds()
def test_what_was_wound_is_not_wound_again(seeds: range) -> None:
    for seed in seeds:
        _check_idempotence(*_talk(seed))


def _check_idempotence(prompt: ChatPrompt, sizes: list[int], budget: Budget) -> None:
    plan = plan_wind(units_of(prompt.messages), sizes, budget)
    if isinstance(plan, NoPlan):
        return
    again = msgspec.structs.replace(budget, earlier_tokens=plan.narrative_tokens)
    rest = units_of(prompt.messages, plan.told_end, plan.task)
    assert plan_wind(rest, sizes, again) in {NoPlan.FITS, NoPlan.NOTHING_OLDER}


@pytest.mark.parametrize("seed", range(30))
def test_a_conversation_that_goes_on_is_wound_again_and_again(seed: int) -> None:
    """Each wind begins where the last one ended, and nothing is told twice or never."""
    rng = random.Random(f"on {seed}")
    prompt = random_prompt(rng, 400)
    sizes = [rng.randrange(5, 120) for _ in prompt.messages]
    budget = Budget(context_length=4096, system_tokens=50, frame_tokens=FRAME_TOKENS, answer_room=1024)
    begin, task, earlier = 0, None, 0
    told: list[int] = []
    for end in range(1, len(prompt.messages) + 1):
        units = units_of(prompt.messages[:end], begin, task)
        used = budget.system_tokens + earlier + sum(sizes[at] for unit in units.units for at in unit.indexes)
        if used < 0.7 * budget.context_length:
            continue
        plan = plan_wind(units, sizes, msgspec.structs.replace(budget, earlier_tokens=earlier))
        if isinstance(plan, NoPlan):
            continue
        told += plan.told
        begin, task, earlier = plan.told_end, plan.task, plan.narrative_tokens
    pinned = pinned_in(prompt.messages)
    assert len(told) == len(set(told))
    assert set(told) | set(pinned) | {task} >= set(range(begin))


def _chat(num_turns: int) -> ChatPrompt:
    return ChatPrompt([{"role": "user" if at % 2 == 0 else "assistant", "content": "x"} for at in range(num_turns)])


BUDGET = Budget(context_length=1000, system_tokens=50, frame_tokens=10, answer_room=250)


def test_a_chat_keeps_its_newest_turns_and_a_third_of_the_rest_for_the_narrative() -> None:
    plan = plan_wind(units_of(_chat(41).messages), [20] * 41, BUDGET)
    assert isinstance(plan, WindPlan)
    assert plan.narrative_tokens == (350 - 50 - 10 - 20) // 3
    assert plan.kept == tuple(range(32, 41)), "not the answer before it alone, for which the question has no room"
    assert plan.prompt_tokens <= 350


def _agent(num_rounds: int) -> list[PromptMessage]:
    calls = [{"id": "a", "function": {"name": "read", "arguments": {}}}]
    messages = _chat(1).messages
    for _ in range(num_rounds):
        messages += [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "ok", "tool_call_id": "a"},
        ]
    return messages


def test_an_agents_task_stays_beside_its_newest_rounds() -> None:
    messages = _agent(100)
    plan = plan_wind(units_of(messages), [30] + [10] * 200, BUDGET)
    assert isinstance(plan, WindPlan)
    assert plan.task == 0
    assert plan.told[0] == 1
    assert plan.told_end % 2 == 1, "a round is never parted"
    large = plan_wind(units_of(messages), [300] + [10] * 200, BUDGET)
    assert isinstance(large, WindPlan)
    assert large.task is None, "a task that leaves too little is told"


def test_a_question_that_does_not_fit_is_no_plan() -> None:
    assert plan_wind(units_of(_chat(3).messages), [10, 10, 700], BUDGET) is NoPlan.TOO_LARGE


def test_a_question_that_just_fits_leaves_the_rest_out() -> None:
    plan = plan_wind(units_of(_chat(3).messages), [500, 500, 660], BUDGET)
    assert isinstance(plan, WindPlan)
    assert (plan.kept, plan.narrative_tokens, plan.prompt_tokens) == ((2,), 0, 720)


def test_an_earlier_narrative_gives_way_to_a_question_that_needs_its_room() -> None:
    budget = msgspec.structs.replace(BUDGET, earlier_tokens=100)
    plan = plan_wind(units_of(_chat(3).messages, 2), [0, 0, 600], budget)
    assert isinstance(plan, WindPlan)
    assert (plan.told, plan.kept, plan.told_end, plan.narrative_tokens) == ((), (2,), 2, 48)
    budget = msgspec.structs.replace(BUDGET, earlier_tokens=500)
    plan = plan_wind(units_of(_chat(3).messages, 2), [0, 0, 400], budget)
    assert isinstance(plan, WindPlan)
    assert plan.narrative_tokens == (750 - 460) // 3


def test_a_task_that_stayed_stays_where_only_its_narrative_has_to_be_shorter() -> None:
    plan = plan_wind(units_of(_agent(3), 3, 0), [30] + [10] * 6, msgspec.structs.replace(BUDGET, earlier_tokens=700))
    assert isinstance(plan, WindPlan)
    assert (plan.told, plan.kept, plan.told_end, plan.task) == ((), (0, 3, 4, 5, 6), 3, 0)


@_seeds()
def test_a_told_beginning_ends_no_sooner_than_it_has_to(seeds: range) -> None:
    for seed in seeds:
        prompt, sizes, budget = _talk(seed)
        units = units_of(prompt.messages)
        for least_end in units.told_ends:
            plan = plan_wind(units, sizes, budget, least_end=least_end)
            assert isinstance(plan, NoPlan) or plan.told_end >= least_end
            assert isinstance(plan, NoPlan) or plan.prompt_tokens <= budget.ceiling


def test_users_words_that_nobody_answered_are_told_where_they_do_not_fit() -> None:
    messages = [_chat(1).messages[0]] * 10
    plan = plan_wind(units_of(messages), [100] * 10, BUDGET)
    assert isinstance(plan, WindPlan)
    assert plan.kept == (8, 9)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=60), st.integers(64, 20_000), st.floats(0.0, 0.5))
def test_chats_of_any_sizes_fit(sizes: list[int], context_length: int, share: float) -> None:
    budget = Budget(
        context_length=context_length, system_tokens=20, frame_tokens=10, answer_room=int(context_length * share)
    )
    plan = plan_wind(units_of(_chat(len(sizes)).messages), sizes, budget)
    if isinstance(plan, WindPlan):
        assert plan.prompt_tokens <= budget.ceiling
        assert len(sizes) - 1 in plan.kept
    elif plan is NoPlan.TOO_LARGE:
        assert sizes[-1] + 30 > budget.ceiling
