"""dag-multi-turn: conversations as chains of a batch, each turn with the answers of those before; then on a budget.

A turn goes to the worker that had the turns before (`prompt_cache_key`), so that its cache grows as in a conversation
that somebody holds. The second batch asks the same with fewer tokens than that takes: what has begun ends, and no
other line starts.
"""

from examples.graphs.lines import Line
from examples.graphs.running import BatchRun, check_affinity, run_batch, tell
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage

TALKS = {
    "garden": ("Which herb grows on a window sill?", "How much water does it want?", "When do I cut it?"),
    "voyage": ("Name a harbour in the north.", "What do ships bring there?", "Who waits for them?"),
}
ANSWER_TOKENS = 20
SHARE = 0.4
"""Of what the first batch used, the second one may."""
EXCEEDED = "token_budget_exceeded"


def talk(name: str, turns: tuple[str, ...]) -> list[Line]:
    """Return a conversation, a line for each turn."""
    lines: list[Line] = []
    messages: list[dict[str, str]] = []
    for said in turns:
        messages.append({"role": "user", "content": said})
        line = Line(
            name=f"{name}-{len(lines) + 1}",
            messages=tuple(messages),
            max_tokens=ANSWER_TOKENS,
            session=name,
            depends_on=tuple(each.name for each in lines),
        )
        lines.append(line)
        messages.append({"role": "assistant", "content": f"{{{{{line.name}.output}}}}"})
    return lines


def run(stage: Stage) -> None:
    """Hold the conversations, then hold them again with too few tokens."""
    lines = [line for name, turns in TALKS.items() for line in talk(name, turns)]
    whole = run_batch(stage, lines)
    stage.figures["whole"] = tell(stage, lines, whole)
    stage.figures["sessions"] = check_affinity(stage, lines, whole.ends)
    check_growth(stage, whole)
    stage.say()
    budget = max(1, round(whole.tokens * SHARE))
    stage.say(f"Again, with {budget} tokens:")
    short = run_batch(stage, lines, budget=budget)
    stage.figures["short"] = tell(stage, lines, short)
    check_budget(stage, lines, short)


def check_growth(stage: Stage, ran: BatchRun) -> None:
    """Check that each turn found the turns before it in the cache."""
    cached = {
        name: [ran.ends[f"{name}-{turn}"].cached_tokens for turn in range(1, len(turns) + 1)]
        for name, turns in TALKS.items()
    }
    stage.check("all turns were answered", all(end.code is None for end in ran.ends.values()), f"{len(ran.ends)} lines")
    stage.check(
        "the cache grows with each turn",
        all(sorted(set(own)) == own for own in cached.values()),
        "; ".join(f"{name} {' < '.join(map(str, own))}" for name, own in cached.items()),
    )
    stage.figures["cached_tokens"] = cached


def check_budget(stage: Stage, lines: list[Line], ran: BatchRun) -> None:
    """Check that lines start while there are tokens, and none afterwards."""
    assert ran.budget is not None
    refused = [end.name for end in ran.ends.values() if end.code == EXCEEDED]
    done = [end for end in ran.ends.values() if end.code is None]
    stage.check(
        "each line was answered or given up for the budget",
        len(done) + len(refused) == len(lines) and bool(done) and bool(refused),
        f"{len(done)} answered, {len(refused)} given up ({', '.join(refused)})",
    )
    before_last = ran.tokens - sum(end.prompt_tokens + end.output_tokens for end in done[-len(TALKS) :])
    stage.check(
        "only lines that ran already went over it",
        ran.tokens >= ran.budget > before_last,
        f"{ran.tokens} of {ran.budget} tokens used, {ran.left} left",
    )


SCENARIO = Scenario(
    "dag-multi-turn",
    "Conversations as chains of a batch, with worker affinity; then on a token budget that is too small.",
    run,
    Needs(as_set=True),
)
