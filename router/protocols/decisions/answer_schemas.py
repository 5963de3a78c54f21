"""Answers of decisions, in both shapes.

Source: Ollama, docs/capabilities/decision.mdx; TypeSafe's API, by its clients, for `legend`; OpenAI's Python client
3.52, types/decision.py.
"""

from typing import Literal

from router.protocols.answers import AnswerBody, MlxrAnswer, ReasoningTokens


class LabelFacts(AnswerBody, frozen=True, kw_only=True):
    """What a model thought of a question's labels, in its options' order (yes before no), before they were normalised.

    `logprobs` are natural logarithms by the model's own logits; `mass` is what they come to together: how likely any of
    the labels is.
    """

    name: str | None
    logprobs: list[float]
    mass: float


class DecisionFacts(MlxrAnswer, frozen=True, kw_only=True):
    """What only mlxr tells of decisions.

    `calibrated` is false: no probability here was fitted to how often a model is right.
    """

    calibrated: Literal[False] = False
    cached_tokens: int
    labels: list[LabelFacts]


class SystemOneChoiceAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="choice"):
    """The likeliest option, and each one's probability."""

    choice: str
    probabilities: dict[str, float]
    confidence: float


class SystemOneScoreAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="score"):
    """The mean level, from 0; `legend` and `probabilities` have each level by its number."""

    score: float
    legend: dict[str, str]
    probabilities: dict[str, float]
    confidence: float


class SystemOneNoulAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="noul"):
    """The probability that the answer is yes."""

    noul: float


class SystemOneUsage(AnswerBody, frozen=True, kw_only=True):
    """Tokens; each question's prompt counts with the state, however much of it was shared, and one token of answer."""

    input_tokens: int
    output_tokens: int


class SystemOneDecision(AnswerBody, frozen=True, kw_only=True):
    """Answers by the questions' ids, in their order."""

    model: str
    answers: dict[str, SystemOneChoiceAnswer | SystemOneScoreAnswer | SystemOneNoulAnswer]
    usage: SystemOneUsage
    mlxr: DecisionFacts


class ChoiceProbability(AnswerBody, frozen=True, kw_only=True):
    """Of an option."""

    value: bool | str
    probability: float


class ChoiceAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="choice"):
    """The likeliest option, and each one's probability."""

    name: str | None
    choice: bool | str
    probabilities: list[ChoiceProbability]
    confidence: float


class ScoreProbability(AnswerBody, frozen=True, kw_only=True):
    """Of a level, by its number from 0."""

    value: int
    label: str
    probability: float


class ScoreAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="score"):
    """The mean level, from 0, and each level's probability."""

    name: str | None
    score: float
    probabilities: list[ScoreProbability]
    confidence: float


class PredicateAnswer(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="predicate"):
    """The probability that it is true."""

    name: str | None
    probability: float


class InputTokens(AnswerBody, frozen=True, kw_only=True):
    """Of the prompts' tokens: those that were not computed; writing into a cache is counted nowhere here."""

    cached_tokens: int
    cache_write_tokens: int = 0


class DecisionUsage(AnswerBody, frozen=True, kw_only=True):
    """Tokens, as in System One's answers."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Decision(AnswerBody, frozen=True, kw_only=True):
    """Answers in the questions' order."""

    id: str
    object: Literal["decision"] = "decision"
    model: str
    answers: list[ChoiceAnswer | ScoreAnswer | PredicateAnswer]
    usage: DecisionUsage
    mlxr: DecisionFacts
