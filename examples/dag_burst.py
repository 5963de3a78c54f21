"""dag-burst: chains and diamonds as one batch, all at once.

Chains: a line that only reads a prompt in (`max_tokens: 0`), then one that answers it, on the worker that has it now.
Diamonds: a line, two that go on from its answer, one that joins theirs. One of them has a line that cannot be answered:
what depends on it is given up, and nothing else is.
"""

from examples.graphs.lines import Line
from examples.graphs.running import check_affinity, run_batch, tell
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage
from router.bench.plan.texts import generator, prose

NUM_CHAINS = 3
PROMPT_CHARS = 600
ANSWER_TOKENS = 16
TOKEN_BUDGET = 6000
MOST_NEW_TOKENS = 8
"""Of a prompt that was read in before are computed again, at most: an engine begins with the last one of it."""


def user(text: str) -> tuple[dict[str, str], ...]:
    """Return a conversation of one message."""
    return ({"role": "user", "content": text},)


def chain(number: int, text: str) -> list[Line]:
    """Return a prefill and the decode behind it."""
    session = f"chain-{number}"
    asked = user(f"{text} What is this about?")
    prefill, decode = f"prefill-{number}", f"decode-{number}"
    return [
        Line(name=prefill, messages=asked, max_tokens=0, session=session),
        Line(name=decode, messages=asked, max_tokens=ANSWER_TOKENS, session=session, depends_on=(prefill,)),
    ]


def diamond(name: str, topic: str, *, is_broken: bool = False) -> list[Line]:
    """Return a line, two that depend on it, and one that depends on both."""
    base, left, right, join = (f"{name}-{part}" for part in ("base", "left", "right", "join"))
    broken = {"temperature": "hot"} if is_broken else {}  # refused by the endpoint: the line's own failure
    sides = f"{{{{{left}.output}}}} And: {{{{{right}.output}}}}"
    begun = f"{{{{{base}.output}}}}"
    return [
        Line(name=base, messages=user(f"Name one thing about {topic}."), max_tokens=ANSWER_TOKENS),
        Line(
            name=left,
            messages=user(f"Praise this: {begun}"),
            max_tokens=ANSWER_TOKENS,
            depends_on=(base,),
            fields=broken,
        ),
        Line(name=right, messages=user(f"Doubt this: {begun}"), max_tokens=ANSWER_TOKENS, depends_on=(base,)),
        Line(name=join, messages=user(f"Sum up: {sides}"), max_tokens=ANSWER_TOKENS, depends_on=(left, right)),
    ]


def run(stage: Stage) -> None:
    """Run all of it as one batch."""
    draw = generator(stage.seed, "dag-burst")
    lines = [line for number in range(1, NUM_CHAINS + 1) for line in chain(number, prose(draw, PROMPT_CHARS))]
    lines += [*diamond("whole", "rivers"), *diamond("broken", "bridges", is_broken=True)]
    ran = run_batch(stage, lines, budget=TOKEN_BUDGET)
    stage.figures |= tell(stage, lines, ran)
    stage.figures["sessions"] = check_affinity(stage, lines, ran.ends)
    codes = {end.name: end.code for end in ran.ends.values() if end.code is not None}
    stage.check(
        "a failed line costs those that depend on it, and no other",
        set(codes) == {"broken-left", "broken-join"} and codes["broken-join"] == "dependency_failed",
        ", ".join(f"{name}: {code}" for name, code in codes.items()) or "none failed",
    )
    computed = []
    for number in range(1, NUM_CHAINS + 1):
        decode = ran.ends[f"decode-{number}"]
        computed.append(decode.prompt_tokens - decode.cached_tokens)
    stage.check(
        "what was prefilled is not computed again", max(computed) <= MOST_NEW_TOKENS, f"at most {max(computed)} tokens"
    )
    stage.check("the budget held", (ran.left or 0) >= 0, f"{ran.left} of {ran.budget} tokens left")


SCENARIO = Scenario(
    "dag-burst",
    "Prefill-then-decode chains and diamonds as one batch, one of them with a line that fails.",
    run,
    Needs(as_set=True),
)
