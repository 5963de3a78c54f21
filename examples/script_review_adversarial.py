"""script-review-adversarial: contracts first, then scripts under them, attacks on these, and a judge.

1. Both workers write a contract for the task, as JSON by a schema: which clauses a script is to be held to.
2. What both contracts demand is the contract. The linter can check each of its clauses.
3. Both write a script under it, and each reviews the other's script, looking for what breaks it.
4. Both judge, with the scripts in opposite order, so that who stands first wins nothing by it.

The plan itself is linted before anything runs: missing inputs, circles, budgets, two workers that are two processes.
"""

from collections.abc import Iterable, Mapping

import msgspec

from examples.review.performing import Ends, check_parallelism, perform_plan
from examples.review.plan import Step, Texts
from examples.review.scripts import ALWAYS, CLAUSES, code_in, lint
from examples.review.texts import REVIEW_TOKENS, SCRIPT_TOKENS, TASKS, review_prompt, shown_script, write_prompt
from examples.script_review_parallel import LEAST_TOKENS
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage

TOKEN_BUDGET = 700
CONTRACT_TOKENS = 160
JUDGE_TOKENS = 8
AUTHORS = ("a", "b")
CONTRACTS = tuple(f"contract-{author}" for author in AUTHORS)
WRITES = tuple(f"write-{author}" for author in AUTHORS)
REVIEWS = tuple(f"review-{author}" for author in AUTHORS)
OPEN_CLAUSES = tuple(name for name in CLAUSES if name not in ALWAYS)
CONTRACT_SCHEMA = {
    "type": "object",
    "properties": {
        "rules": {"type": "array", "items": {"enum": list(OPEN_CLAUSES)}, "minItems": 3, "maxItems": 4},
    },
    "required": ["rules"],
    "additionalProperties": False,
}


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a worker demands of a script, by the schema; a rule may be there twice."""

    rules: tuple[str, ...]


def intersection(contracts: Mapping[str, str]) -> frozenset[str]:
    """Return the clauses that all contracts demand; one that is no contract demands nothing."""
    demanded = [_demanded(text) for text in contracts.values()]
    return frozenset.intersection(*demanded) if demanded else frozenset()


def _demanded(text: str) -> frozenset[str]:
    contract = _contract(text)
    return frozenset() if contract is None else frozenset(contract.rules).intersection(OPEN_CLAUSES)


def _contract(text: str) -> Contract | None:
    try:
        return msgspec.json.decode(text, type=Contract)
    except msgspec.DecodeError:
        return None


def plan() -> list[Step]:
    """Return it, four phases of two steps each."""
    return [step for place in range(len(AUTHORS)) for step in _steps_of(place)]


def _steps_of(place: int) -> list[Step]:
    """Return the steps of one worker, and the review of what it wrote, which the other one does."""
    other = 1 - place
    return [
        Step(
            name=CONTRACTS[place],
            phase="contracts",
            worker=place,
            max_tokens=CONTRACT_TOKENS,
            prompt=lambda _: _contract_prompt(place),
            fields={"response_format": {"type": "json_schema", "json_schema": {"schema": CONTRACT_SCHEMA}}},
        ),
        Step(
            name=WRITES[place],
            phase="writing",
            worker=place,
            max_tokens=SCRIPT_TOKENS,
            needs=CONTRACTS,
            prompt=lambda texts: write_prompt(TASKS[0], intersection(texts)),
            fields={"min_tokens": LEAST_TOKENS, "temperature": 0.7, "seed": place},
        ),
        Step(
            name=REVIEWS[place],
            phase="attacking",
            worker=other,
            max_tokens=REVIEW_TOKENS,
            needs=(*CONTRACTS, WRITES[place]),
            prompt=lambda texts: review_prompt(texts[WRITES[place]], _agreed(texts)),
            fields={"min_tokens": LEAST_TOKENS},
        ),
        Step(
            name=f"judge-{place}",
            phase="judging",
            worker=place,
            max_tokens=JUDGE_TOKENS,
            needs=(*CONTRACTS, *WRITES, *REVIEWS),
            prompt=lambda texts: _judge_prompt(texts, is_swapped=place == 1),
            fields={"structured_outputs": {"choice": ["first", "second"]}},
        ),
    ]


def _agreed(texts: Texts) -> frozenset[str]:
    return intersection({name: texts[name] for name in CONTRACTS})


def _contract_prompt(place: int) -> str:
    clauses = "\n".join(f"- {name}: {CLAUSES[name].words}" for name in OPEN_CLAUSES)
    role = ("You are strict.", "You want no rule that is not needed.")[place]
    return f"{role} Which of these rules should a Python function that {TASKS[0]} keep?\n{clauses}\nAnswer with JSON."


def _judge_prompt(texts: Texts, *, is_swapped: bool) -> str:
    clauses = _agreed(texts)
    order = (1, 0) if is_swapped else (0, 1)
    parts = []
    for title, place in zip(("first", "second"), order, strict=True):
        source = code_in(texts[WRITES[place]])
        found = len(lint(source, clauses))
        parts.append(f"The {title} script:\n```python\n{source}\n```\nA linter found {found} problems in it.")
    return "\n".join([*parts, "Which one is better, the first or the second?"])


def run(stage: Stage) -> None:
    """Do all four phases, and tell what came of each."""
    steps = plan()
    ends = perform_plan(stage, steps, TOKEN_BUDGET)
    if ends is None:
        return
    texts = {name: end.text for name, end in ends.items()}
    clauses = _agreed(texts)
    for name in CONTRACTS:
        stage.say(f"[Contract] {name} demands {_listed(_demanded(texts[name]))}")
    stage.say(f"[Contract] both demand {_listed(clauses)}; always {_listed(ALWAYS)}")
    num_findings = {}
    for place, author in enumerate(AUTHORS):
        findings = lint(code_in(texts[WRITES[place]]), clauses)
        num_findings[author] = len(findings)
        stage.say(shown_script(WRITES[place], texts[WRITES[place]], findings))
        stage.say(f"--- {REVIEWS[place]}\n{texts[REVIEWS[place]]}")
    winner = _verdict(texts, num_findings)
    stage.say(f"[Judge] {texts['judge-0']} of a and b, {texts['judge-1']} of b and a: {winner}")
    stage.figures |= {"contract": sorted(clauses), "findings": num_findings, "verdict": winner, "texts": texts}
    _check(stage, steps, ends)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _verdict(texts: Texts, num_findings: Mapping[str, int]) -> str:
    """Return who won: by the judges where they agree, else by the linter."""
    chosen = {texts["judge-0"] == "first", texts["judge-1"] == "second"}
    if len(chosen) == 1:
        return f"the judges agree on {'a' if chosen == {True} else 'b'}"
    if num_findings["a"] == num_findings["b"]:
        return "the judges disagree, and the linter found as much in both: a draw"
    return f"the judges disagree, and the linter found less in {min(num_findings, key=num_findings.__getitem__)}"


def _check(stage: Stage, steps: list[Step], ends: Ends) -> None:
    answered = [end for end in ends.values() if end.answer is not None]
    stage.check("all steps were answered", len(answered) == len(steps), f"{len(answered)} of {len(steps)}")
    whole = [name for name in CONTRACTS if _contract(ends[name].text) is not None]
    stage.check("both contracts keep to the schema", len(whole) == len(CONTRACTS), ", ".join(whole))
    told = {ends[f"judge-{place}"].text for place in range(len(AUTHORS))}
    stage.check("each judge chose one of the two", told <= {"first", "second"}, ", ".join(sorted(told)))
    check_parallelism(stage, ("contracts", "writing", "attacking"))
    left = stage.figures["tokens"]
    stage.check("the budget held", left["left"] >= 0, f"{left['used']} of {left['budget']} tokens, {left['left']} left")


SCENARIO = Scenario(
    "script-review-adversarial",
    "Contracts, their intersection, two scripts, attacks and a judge, by a plan that is linted first.",
    run,
    Needs(num_workers=2),
)
