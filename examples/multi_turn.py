"""multi-turn: a conversation whose beginning is computed once.

Each turn sends the whole conversation again, as all clients do. The router finds what it has computed of it in the
worker's cache, so that only the new turn is prefilled.
"""

from collections.abc import Sequence
from itertools import pairwise

from examples.stage.scenario import Scenario, Stage
from examples.stage.server import Answer, Message

SYSTEM = "You are the patient guide of a small museum of clocks. You answer in one or two sentences."
TURNS = (
    "Good morning! What is the oldest clock that you have here?",
    "Who made it, and for whom?",
    "How exact was it in its time?",
    "Which clock do children like best?",
    "Thank you. What should I not miss before I leave?",
)
MOST_NEW_TOKENS = 8
"""Beside the last answer, which is computed again where its text does not become the tokens that it was made of."""


def run(stage: Stage) -> None:
    """Hold the conversation, and count what each turn computed."""
    messages: list[Message] = [{"role": "system", "content": SYSTEM}]
    answers: list[Answer] = []
    for number, said in enumerate(TURNS, 1):
        messages.append({"role": "user", "content": said})
        answer = stage.server.ask(messages, session=f"museum-{stage.seed}", max_tokens=32)
        messages.append({"role": "assistant", "content": answer.text})
        answers.append(answer)
        stage.say(f"> {said}\n{answer.text}")
        stage.say(
            f"[turn {number}] prompt {answer.usage.prompt_tokens} tokens, {answer.timings.cache_n} of them cached, "
            f"{answer.timings.prompt_n} computed"
        )
    stage.say()
    head = ("TURN", "PROMPT", "CACHED", "COMPUTED", "TTFT ms", "PID")
    rows = [
        (
            n,
            each.usage.prompt_tokens,
            each.timings.cache_n,
            each.timings.prompt_n,
            round(each.ttft_ms, 1),
            each.worker.pid,
        )
        for n, each in enumerate(answers, 1)
    ]
    stage.table(head, rows)
    names = ("turn", "prompt_tokens", "cached_tokens", "computed_tokens", "ttft_ms", "pid")
    stage.figures["turns"] = [dict(zip(names, row, strict=True)) for row in rows]
    check(stage, answers)


def check(stage: Stage, answers: Sequence[Answer]) -> None:
    """Check that each turn found the turns before it."""
    cached = [answer.timings.cache_n for answer in answers]
    grows = all(earlier < later for earlier, later in pairwise(cached))
    stage.check("the cache grows with each turn", grows, " < ".join(map(str, cached)))
    again = [earlier.usage.total_tokens - later.timings.cache_n for earlier, later in pairwise(answers)]
    most = [earlier.usage.completion_tokens + MOST_NEW_TOKENS for earlier in answers]
    stage.check(
        "only the new turn is prefilled",
        all(number <= bound for number, bound in zip(again, most, strict=False)),
        f"at most {max(0, *again)} tokens of what was known were computed again",
    )
    pids = {answer.worker.pid for answer in answers}
    stage.check("one worker has the whole conversation", len(pids) == 1, f"PID {', '.join(map(str, pids))}")


SCENARIO = Scenario("multi-turn", "A conversation whose beginning is computed once: cached tokens per turn.", run)
