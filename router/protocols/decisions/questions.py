"""Typed questions, how a model is asked them, and what its likelihoods of the labels come to. Pure; of no protocol.

Each question is a chat of its own. The state comes first in it, so that all questions of a request share its
evaluation, and options are lettered: a letter is one token wherever it stands, whatever the options are called, so that
options with a common beginning cannot take each other's likelihood, and a long one is not less likely for its length.

Source, for `confidence`: Ollama, docs/capabilities/decision.mdx: "how strongly the model favors one answer over the
others, from 0 to 1"; its examples are one minus the entropy over that of equal chances.
"""

import enum
import math
import string
from typing import Final

import msgspec

from backends.errors import EngineError
from backends.wire.prompts import ChatPrompt, PromptMessage
from router.errors import InvalidRequestError
from router.requests.collected import CollectedOutput

LETTERS: Final = string.ascii_uppercase
MIN_OPTIONS: Final = 2
MAX_OPTIONS: Final = len(LETTERS)
"""Source: Ollama, docs/capabilities/decision.mdx: "2-26 named options with descriptions"."""
MAX_QUESTIONS: Final = 64
"""In one request; each is a sequence."""

_SYSTEM: Final = (
    "You take decisions. You are shown a state and asked one question about it, with lettered options. "
    "Answer with the letter of the option that fits best, and with nothing else."
)


class QuestionKind(enum.StrEnum):
    """What is asked for: one of some options, a level of an ordered scale, or whether something is true."""

    CHOICE = "choice"
    SCORE = "score"
    PREDICATE = "predicate"


class Option(msgspec.Struct, frozen=True):
    """One possible answer.

    Attributes:
        name: What the client calls it; "" where it has a description only.
        description: "" where there is none.
    """

    name: str
    description: str = ""

    @property
    def shown(self) -> str:
        """What a model is shown of it."""
        return ": ".join(filter(None, (self.name, self.description)))


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One question; a predicate's options are yes and no, a score's the levels from the lowest to the highest.

    Attributes:
        name: What the client calls it; None = nothing.
        options: `MIN_OPTIONS` to `MAX_OPTIONS`.
    """

    name: str | None
    kind: QuestionKind
    instructions: str
    options: tuple[Option, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """What stands for each option in the answer."""
        return tuple(LETTERS[: len(self.options)])


def yes_or_no(yes: str = "", no: str = "") -> tuple[Option, ...]:
    """Return the options of a predicate, with what each means where that is said."""
    return Option("Yes", yes), Option("No", no)


def check_options(options: tuple[Option, ...], param: str) -> tuple[Option, ...]:
    """Return options that can be lettered.

    Raises:
        InvalidRequestError: They are too few or too many, or two are the same.
    """
    if not MIN_OPTIONS <= len(options) <= MAX_OPTIONS:
        raise InvalidRequestError(
            f"{param}: a question has {MIN_OPTIONS} to {MAX_OPTIONS} options, one a letter, got {len(options)}", param
        )
    for index, option in enumerate(options):
        if not option.shown.strip():
            raise InvalidRequestError(f"{param}: option {index} is empty; say what it means", param)
        if option.name and any(option.name == other.name for other in options[:index]):
            raise InvalidRequestError(f"{param}: {option.name!r:.80} is there twice; name each option once", param)
    return options


def prompt_for(state: str, question: Question) -> ChatPrompt:
    """Return the conversation whose next token decides a question; what comes before it is alike for all questions."""
    lines = [f"{label}. {option.shown}" for label, option in zip(question.labels, question.options, strict=True)]
    scale = " (from the lowest to the highest)" if question.kind is QuestionKind.SCORE else ""
    asked = f"Question: {question.instructions}\n\nOptions{scale}:\n" + "\n".join(lines)
    way = f"Answer with one letter, {question.labels[0]} to {question.labels[-1]}."
    messages: list[PromptMessage] = [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": f"State:\n{state}\n\n{asked}\n\n{way}"},
    ]
    return ChatPrompt(messages, enable_thinking=False, is_thinking_optional=True)


class Judged(msgspec.Struct, frozen=True):
    """What a model thinks of a question's options, in their order.

    Attributes:
        logprobs: Natural logarithms of each label's probability, by the model's own logits: of all that could have
            come next, so that they add up to less than one.
    """

    logprobs: tuple[float, ...]

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Of each option, given that one of them is the answer; they add up to 1."""
        best = max(self.logprobs)
        weights = [math.exp(logprob - best) for logprob in self.logprobs]
        total = math.fsum(weights)
        return tuple(weight / total for weight in weights)

    @property
    def mass(self) -> float:
        """Probability that the model's next token is a label at all, 0..1: little of it makes the rest worth little."""
        return min(1.0, math.fsum(map(math.exp, self.logprobs)))

    @property
    def best(self) -> int:
        """Index of the likeliest option; of equal ones the first."""
        return self.logprobs.index(max(self.logprobs))

    @property
    def expected(self) -> float:
        """Mean of the options' indices, by their probabilities: 0 to one less than there are."""
        return math.fsum(index * probability for index, probability in enumerate(self.probabilities))

    @property
    def confidence(self) -> float:
        """How far the probabilities are from equal ones, 0..1: one minus their entropy over that of equal ones."""
        entropy = -math.fsum(each * math.log(each) for each in self.probabilities if each > 0)
        return min(1.0, max(0.0, 1 - entropy / math.log(len(self.logprobs))))


def judged(output: CollectedOutput) -> Judged:
    """Return what the one token of an answer tells.

    Raises:
        EngineError: The model gave no numbers.
    """
    top = output.logprobs[0].top if output.logprobs else ()
    if not top:
        raise EngineError("the model gave no likelihoods for this question: its logits are not finite")
    return Judged(tuple(label.logprob for label in top))
