"""What came of each question, in both shapes. Pure."""

from collections.abc import Sequence
from typing import Any

from backends.wire.messages import SequenceEnd
from router.protocols.answers import ReasoningTokens, engine_fields
from router.protocols.decisions import answer_schemas as answers
from router.protocols.decisions.questions import Judged, Question, QuestionKind, judged
from router.protocols.decisions.reading import Asked, choice_values
from router.protocols.decisions.schemas import DecisionRequest, SystemOneRequest
from router.requests.collected import CollectedOutput
from router.requests.generation import Generation


def systemone_decision(
    body: SystemOneRequest, asked: Asked, generation: Generation, outputs: Sequence[CollectedOutput]
) -> answers.SystemOneDecision:
    """Return an answer of System One.

    Args:
        outputs: Of each question, in order; all have ended.
    """
    opinions = [judged(output) for output in outputs]
    ends = [output.end for output in outputs]
    return answers.SystemOneDecision(
        model=body.model,
        answers={
            question.name or "": _systemone_answer(question, opinion)
            for question, opinion in zip(asked.questions, opinions, strict=True)
        },
        usage=answers.SystemOneUsage(input_tokens=_num_input(ends), output_tokens=_num_output(ends)),
        mlxr=_facts(asked, opinions, generation, ends),
    )


def _systemone_answer(question: Question, opinion: Judged) -> Any:
    match question.kind:
        case QuestionKind.CHOICE:
            names = [option.name for option in question.options]
            return answers.SystemOneChoiceAnswer(
                choice=names[opinion.best],
                probabilities=dict(zip(names, opinion.probabilities, strict=True)),
                confidence=opinion.confidence,
            )
        case QuestionKind.SCORE:
            levels = [option.description for option in question.options]
            return answers.SystemOneScoreAnswer(
                score=opinion.expected,
                legend={str(level): what for level, what in enumerate(levels)},
                probabilities={str(level): each for level, each in enumerate(opinion.probabilities)},
                confidence=opinion.confidence,
            )
        case QuestionKind.PREDICATE:
            return answers.SystemOneNoulAnswer(noul=opinion.probabilities[0])


def openai_decision(
    answer_id: str, body: DecisionRequest, asked: Asked, generation: Generation, outputs: Sequence[CollectedOutput]
) -> answers.Decision:
    """Return an answer of OpenAI's Decisions; arguments as of `systemone_decision`."""
    opinions = [judged(output) for output in outputs]
    ends = [output.end for output in outputs]
    num_input, num_output = _num_input(ends), _num_output(ends)
    return answers.Decision(
        id=answer_id,
        model=body.model,
        answers=[
            _openai_answer(question, choice_values(sent), opinion)
            for question, sent, opinion in zip(asked.questions, body.questions, opinions, strict=True)
        ],
        usage=answers.DecisionUsage(
            input_tokens=num_input,
            input_tokens_details=answers.InputTokens(cached_tokens=_num_cached(ends)),
            output_tokens=num_output,
            output_tokens_details=ReasoningTokens(0),
            total_tokens=num_input + num_output,
        ),
        mlxr=_facts(asked, opinions, generation, ends),
    )


def _openai_answer(question: Question, values: list[bool | str], opinion: Judged) -> Any:
    match question.kind:
        case QuestionKind.CHOICE:
            return answers.ChoiceAnswer(
                name=question.name,
                choice=values[opinion.best],
                probabilities=[
                    answers.ChoiceProbability(value=value, probability=each)
                    for value, each in zip(values, opinion.probabilities, strict=True)
                ],
                confidence=opinion.confidence,
            )
        case QuestionKind.SCORE:
            levels = zip(question.options, opinion.probabilities, strict=True)
            return answers.ScoreAnswer(
                name=question.name,
                score=opinion.expected,
                probabilities=[
                    answers.ScoreProbability(value=index, label=level.name, probability=each)
                    for index, (level, each) in enumerate(levels)
                ],
                confidence=opinion.confidence,
            )
        case QuestionKind.PREDICATE:
            return answers.PredicateAnswer(name=question.name, probability=opinion.probabilities[0])


def _facts(
    asked: Asked, opinions: Sequence[Judged], generation: Generation, ends: Sequence[SequenceEnd]
) -> answers.DecisionFacts:
    return answers.DecisionFacts(
        cached_tokens=_num_cached(ends),
        labels=[
            answers.LabelFacts(name=question.name, logprobs=list(opinion.logprobs), mass=opinion.mass)
            for question, opinion in zip(asked.questions, opinions, strict=True)
        ],
        **engine_fields(generation.choice, generation.worker),
    )


def _num_input(ends: Sequence[SequenceEnd]) -> int:
    return sum(end.usage.num_prompt_tokens for end in ends)


def _num_cached(ends: Sequence[SequenceEnd]) -> int:
    return sum(end.usage.num_cached_tokens for end in ends)


def _num_output(ends: Sequence[SequenceEnd]) -> int:
    return sum(end.usage.num_output_tokens for end in ends)
