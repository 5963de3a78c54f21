"""Decisions through a real gateway on both engines, against plain llama.cpp and mlx-lm, and by OpenAI's own client."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from router.protocols.decisions.questions import LETTERS, Option, Question, QuestionKind, prompt_for, yes_or_no
from tests.support.direct_scores import direct_next
from tests.support.gateway_process import GatewayProcess

ENGINES = ("llamacpp", "mlx")
CLOSE = 1e-4
STATE = "The parcel came late, wet and open; the buyer wants the money back <|im_end|> at once."
OPTIONS = {"refund": "The money goes back", "replace": None, "refuse": "Nothing is done"}
LEVELS = ["calm", "cross", "furious", "beyond words"]
ASKED = {
    "what": {"type": "choice", "instructions": "What is to be done?", "criteria": OPTIONS},
    "mood": {"type": "score", "instructions": "How does the buyer feel?", "criteria": LEVELS},
    "late": {"type": "noul", "instructions": "Did it come late?"},
    "all": {"type": "choice", "instructions": "Which letter?", "criteria": [f"option {each}" for each in LETTERS]},
}
QUESTIONS = (
    Question(
        name="what",
        kind=QuestionKind.CHOICE,
        instructions="What is to be done?",
        options=tuple(Option(name, what or "") for name, what in OPTIONS.items()),
    ),
    Question(
        name="mood",
        kind=QuestionKind.SCORE,
        instructions="How does the buyer feel?",
        options=tuple(Option("", level) for level in LEVELS),
    ),
    Question(name="late", kind=QuestionKind.PREDICATE, instructions="Did it come late?", options=yes_or_no()),
    Question(
        name="all",
        kind=QuestionKind.CHOICE,
        instructions="Which letter?",
        options=tuple(Option(f"option {each}") for each in LETTERS),
    ),
)


def decided(gateway: GatewayProcess, engine: str) -> dict[str, Any]:
    body = {"model": f"tooled@{engine}", "state": STATE, "questions": ASKED}
    answer = gateway.post("/v1/systemone", body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rendered(question: Question) -> str:
    """Write a question's chat as the model's template does, with thinking off."""
    turns = [
        f"<|im_start|>{each['role']}\n{each['content']}<|im_end|>\n" for each in prompt_for("STATE", question).messages
    ]
    return "".join([*turns, "<|im_start|>assistant\n<think>\n\n</think>\n\n"])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_labels_probability_is_that_of_a_direct_computation(
    tooled_gateway: GatewayProcess, tooled: tuple[Path, Path], engine: str
) -> None:
    """The state has no control token here: a plain text would have it read as one."""
    path = tooled[ENGINES.index(engine)]
    body = {"model": f"tooled@{engine}", "state": "STATE", "questions": ASKED}
    told = tooled_gateway.post("/v1/systemone", body).json()
    for question, labels in zip(QUESTIONS, told["mlxr"]["labels"], strict=True):
        direct = direct_next(path, rendered(question))
        expected = [float(direct[ord(label)]) for label in question.labels]
        assert labels["logprobs"] == pytest.approx(expected, abs=CLOSE)
        assert labels["mass"] == pytest.approx(sum(map(math.exp, expected)), abs=CLOSE)


def test_both_engines_decide_alike(tooled_gateway: GatewayProcess) -> None:
    """Control tokens that a state has are text to both."""
    found = [decided(tooled_gateway, engine) for engine in ENGINES]
    assert [each["mlxr"]["engine"] for each in found] == list(ENGINES)
    assert found[0]["usage"] == found[1]["usage"]
    for ours, theirs in zip(found[0]["answers"].values(), found[1]["answers"].values(), strict=True):
        numbers = [
            list(each["probabilities"].values()) if "probabilities" in each else [each["noul"]]
            for each in (ours, theirs)
        ]
        assert np.abs(np.array(numbers[0]) - np.array(numbers[1])).max() < CLOSE


@pytest.mark.parametrize("engine", ENGINES)
def test_the_state_is_evaluated_once(tooled_gateway: GatewayProcess, engine: str) -> None:
    state = f"{engine}: " + "it rains in the plain and it pours on the hill; " * 20
    asked = {str(number): {"type": "noul", "instructions": f"Does it rain {number} times?"} for number in range(5)}
    told = tooled_gateway.post(
        "/v1/systemone", {"model": f"tooled@{engine}", "state": state, "questions": asked}
    ).json()
    assert told["mlxr"]["cached_tokens"] >= 4 * len(state) * 0.9
    assert told["usage"]["input_tokens"] > 5 * len(state) * 0.9


def test_openais_own_client_reads_the_answers(tooled_gateway: GatewayProcess) -> None:
    with openai.OpenAI(base_url=f"{tooled_gateway.url}/v1", api_key="none", max_retries=0) as client:
        decision = client.decisions.create(
            model="tooled",
            input=[{"role": "user", "content": STATE}],
            questions=[
                {"type": "predicate", "instructions": "Did it come late?", "name": "late"},
                {"type": "choice", "instructions": "What?", "choices": [{"value": True}, {"value": "no"}]},
                {"type": "score", "instructions": "How?", "levels": [{"label": "calm"}, {"label": "cross"}]},
            ],
        )
        late, what, mood = decision.answers
        assert late.type == "predicate"
        assert (late.name, 0 < late.probability < 1) == ("late", True)
        assert what.type == "choice"
        assert {each.value for each in what.probabilities} == {True, "no"}
        assert mood.type == "score"
        assert [each.label for each in mood.probabilities] == ["calm", "cross"]
        assert decision.usage.input_tokens_details.cached_tokens > 0
        with pytest.raises(openai.BadRequestError) as caught:
            client.decisions.create(model="tooled", input="x", questions=[])
        assert caught.value.param == "questions"
