"""script-review-parallel: two workers write a script each, then each reviews the other's, at the same time.

The `[Parallelism]` lines prove it: two PIDs, and intervals in which both were computed.
"""

from examples.review.performing import Ends, check_parallelism, perform_plan
from examples.review.plan import Step
from examples.review.scripts import code_in, lint
from examples.review.texts import REVIEW_TOKENS, SCRIPT_TOKENS, TASKS, review_prompt, shown_script, write_prompt
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage

TOKEN_BUDGET = 400
AUTHORS = ("a", "b")
LEAST_TOKENS = 16
"""Of each answer: whoever says nothing proves nothing."""


def plan() -> list[Step]:
    """Return it: the author's worker writes, the other one reviews."""
    return [step for place in range(len(AUTHORS)) for step in _steps_of(place)]


def _steps_of(place: int) -> list[Step]:
    """Return what one worker writes, and the review of that, which the other one does."""
    write, review = f"write-{AUTHORS[place]}", f"review-{AUTHORS[place]}"
    return [
        Step(
            name=write,
            phase="writing",
            worker=place,
            max_tokens=SCRIPT_TOKENS,
            prompt=lambda _: write_prompt(TASKS[place]),
            fields={"min_tokens": LEAST_TOKENS},
        ),
        Step(
            name=review,
            phase="reviewing",
            worker=1 - place,
            max_tokens=REVIEW_TOKENS,
            needs=(write,),
            prompt=lambda texts: review_prompt(texts[write]),
            fields={"min_tokens": LEAST_TOKENS},
        ),
    ]


def tell(stage: Stage, ends: Ends) -> None:
    """Show the scripts, what the linter found in them, and what the other worker thinks of them."""
    scripts = {}
    for author in AUTHORS:
        text, review = ends[f"write-{author}"].text, ends[f"review-{author}"].text
        findings = lint(code_in(text))
        stage.say(shown_script(f"write-{author}", text, findings))
        stage.say(f"--- review-{author}\n{review}")
        scripts[author] = {"script": code_in(text), "findings": findings, "review": review}
    stage.figures["scripts"] = scripts


def run(stage: Stage) -> None:
    """Write both, then review both."""
    steps = plan()
    ends = perform_plan(stage, steps, TOKEN_BUDGET)
    if ends is None:
        return
    tell(stage, ends)
    answered = [end for end in ends.values() if end.answer is not None]
    stage.check("all steps were answered", len(answered) == len(steps), f"{len(answered)} of {len(steps)}")
    check_parallelism(stage, ("writing", "reviewing"))
    left = stage.figures["tokens"]
    stage.check("the budget held", left["left"] >= 0, f"{left['used']} of {left['budget']} tokens, {left['left']} left")


SCENARIO = Scenario(
    "script-review-parallel", "Two scripts at the same time, then cross-reviewed.", run, Needs(num_workers=2)
)
