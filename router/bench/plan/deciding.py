"""Decisions for benchmarks: a state and typed questions about it, made from a seed, the same for all contestants. Pure.

What is right does not matter: it is held against each other what contestants think. Not here: asking them
(`run/decisions.py`).
"""

from typing import Any, Final

from router.bench.plan.texts import generator, item, prose, subject

DECISIONS: Final = "decisions"
NUM_DECISIONS: Final = 6
"""Questions of a round."""
_STATE_CHARS: Final = 500
_TEAMS: Final = {
    "repairs": "Something is broken and has to be mended",
    "archive": "A paper, a map or a book is wanted or missing",
    "stores": "Goods are wanted, delivered or counted",
    "complaints": "Somebody is not content",
}
_LEVELS: Final = ("not at all", "a little", "clearly", "very much")


def decision_body(*, seed: int, round_number: int) -> dict[str, Any]:
    """Return the body of `POST /v1/systemone`, but for the model."""
    draw = generator(seed, DECISIONS, round_number)
    what, who = item(draw), subject(draw)
    noul, choice, score = ({"type": kind} for kind in ("noul", "choice", "score"))
    names = {item(draw): None for _ in range(4)} | {what: None}
    questions = {
        "team": {**choice, "instructions": "Which team should read this report?", "criteria": _TEAMS},
        "thing": {**choice, "instructions": f"What does {who} most likely want?", "criteria": names},
        "urgent": {**score, "instructions": "How urgent is it?", "criteria": _LEVELS},
        "care": {**score, "instructions": "How carefully was the work done?", "criteria": _LEVELS},
        "named": {**noul, "instructions": f"Does the report speak of {what}?"},
        "done": {**noul, "instructions": "Is everything done that was to be done?"},
    }
    state = f"{prose(draw, _STATE_CHARS)} Then {who} asked for {what}."
    return {"state": state, "questions": questions}
