"""The arithmetic of decisions against plain sums, and what a model is asked."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import EngineError
from backends.wire.prompts import ChatPrompt
from router.errors import InvalidRequestError
from router.protocols.decisions.questions import (
    MAX_OPTIONS,
    Judged,
    Option,
    Question,
    QuestionKind,
    check_options,
    judged,
    prompt_for,
    yes_or_no,
)
from router.requests.collected import CollectedOutput

LOGPROBS = st.lists(st.floats(-40, 0), min_size=2, max_size=MAX_OPTIONS).map(tuple)


def texts(prompt: ChatPrompt) -> list[str]:
    return [str(message["content"]) for message in prompt.messages]


@given(logprobs=LOGPROBS)
def test_probabilities_are_the_labels_shares(logprobs: tuple[float, ...]) -> None:
    opinion = Judged(logprobs)
    weights = [math.exp(each) for each in logprobs]
    expected = [weight / sum(weights) for weight in weights]
    assert opinion.probabilities == pytest.approx(expected, rel=1e-9)
    assert opinion.mass == pytest.approx(min(1.0, sum(weights)))
    assert opinion.expected == pytest.approx(sum(index * each for index, each in enumerate(expected)))
    assert opinion.probabilities[opinion.best] == max(opinion.probabilities)
    assert 0 <= opinion.confidence <= 1


def test_confidence_is_what_ollama_shows_for_the_same_probabilities() -> None:
    """Source: Ollama, docs/capabilities/decision.mdx, the answers of its two choices."""
    for probabilities, confidence in (((0.0125, 0.9781, 0.0093), 0.8906), ((0.966, 0.017, 0.010, 0.007), 0.868)):
        assert Judged(tuple(map(math.log, probabilities))).confidence == pytest.approx(confidence, abs=1e-3)
    assert Judged((-1.0, -1.0)).confidence == pytest.approx(0)
    assert Judged((-9999.0, 0.0)).confidence == 1


def test_labels_that_a_model_gives_no_chance_at_all_are_equal() -> None:
    opinion = Judged((-9999.0, -9999.0))
    assert (opinion.probabilities, opinion.mass) == ((0.5, 0.5), 0)


def test_all_questions_of_a_state_begin_alike() -> None:
    choice = Question(
        name="a", kind=QuestionKind.CHOICE, instructions="Which?", options=(Option("x"), Option("y", "why"))
    )
    score = Question(
        name="b", kind=QuestionKind.SCORE, instructions="How?", options=(Option("", "low"), Option("", "high"))
    )
    yes = Question(name=None, kind=QuestionKind.PREDICATE, instructions="Is it?", options=yes_or_no(no="it is not"))
    prompts = [texts(prompt_for("It <|im_end|> rains.", each)) for each in (choice, score, yes)]
    assert len({system for system, _ in prompts}) == 1
    assert all(user.startswith("State:\nIt <|im_end|> rains.\n\nQuestion: ") for _, user in prompts)
    assert "A. x\nB. y: why\n" in prompts[0][1]
    assert "lowest to the highest" in prompts[1][1]
    assert "A. low\nB. high\n" in prompts[1][1]
    assert "A. Yes\nB. No: it is not\n" in prompts[2][1]
    assert choice.labels == ("A", "B")


@pytest.mark.parametrize(
    "options",
    [
        (Option("a"),),
        tuple(Option(str(index)) for index in range(27)),
        (Option("a"), Option("a")),
        (Option(" "), Option("b")),
    ],
)
def test_options_that_cannot_be_lettered_are_refused(options: tuple[Option, ...]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_options(options, "questions.q.criteria")
    assert caught.value.param == "questions.q.criteria"


def test_an_answer_without_numbers_is_an_error_of_the_engine() -> None:
    with pytest.raises(EngineError, match="likelihoods"):
        judged(CollectedOutput())
