"""script-review: one worker writes a Python script, another one reviews it.

`X-Mlxr-Worker` sends each request to its own process. The script is parsed and linted, never executed.
"""

from examples.review.performing import perform_plan
from examples.review.plan import Step
from examples.review.scripts import code_in, lint
from examples.review.texts import REVIEW_TOKENS, SCRIPT_TOKENS, TASKS, review_prompt, shown_script, write_prompt
from examples.stage.needs import Needs
from examples.stage.scenario import Scenario, Stage

TOKEN_BUDGET = 200
PLAN = (
    Step(
        name="write",
        phase="writing",
        worker=0,
        max_tokens=SCRIPT_TOKENS,
        prompt=lambda _: write_prompt(TASKS[0]),
    ),
    Step(
        name="review",
        phase="reviewing",
        worker=1,
        max_tokens=REVIEW_TOKENS,
        needs=("write",),
        prompt=lambda texts: review_prompt(texts["write"]),
    ),
)


def run(stage: Stage) -> None:
    """Write on worker 0, review on worker 1."""
    ends = perform_plan(stage, PLAN, TOKEN_BUDGET)
    if ends is None:
        return
    write, review = ends["write"], ends["review"]
    findings = lint(code_in(write.text))
    stage.say(shown_script("write", write.text, findings))
    stage.say(f"--- review\n{review.text}")
    stage.figures |= {"script": code_in(write.text), "findings": findings, "review": review.text}
    pids = [end.answer.worker.pid for end in (write, review) if end.answer is not None]
    stage.check("both steps were answered", len(pids) == len(PLAN), f"{len(pids)} of {len(PLAN)}")
    stage.check(
        "each by the process that it was meant for",
        pids == [stage.workers[step.worker].pid for step in PLAN],
        " then ".join(f"PID {pid}" for pid in pids),
    )
    left = stage.figures["tokens"]
    stage.check("the budget held", left["left"] >= 0, f"{left['used']} of {left['budget']} tokens, {left['left']} left")


SCENARIO = Scenario("script-review", "A worker writes a script, another one reviews it.", run, Needs(num_workers=2))
