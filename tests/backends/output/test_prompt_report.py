"""What is told of a prompt: each token once and in order, its text with the first."""

from backends.fake.tokenizer import FakeTokenizer
from backends.logits import Candidate, Likelihoods, TokenScore
from backends.output.prompt_report import PromptReport
from backends.step import PromptScores
from backends.wire.messages import PromptShown
from backends.wire.output import PromptToken, TokenLogprob

IDS = [*b"abcd"]


def scores(start: int, *logprobs: float) -> PromptScores:
    return PromptScores(start, [TokenScore(Likelihoods(Candidate(0, logprob), ()), 1) for logprob in logprobs])


def told(events: list[PromptShown]) -> list[tuple[int, str, list[float | None]]]:
    return [(event.start, event.text, [token.logprob for token in event.tokens]) for event in events]


def report(text: str = "", *, is_scored: bool = True, num_added: int = 0) -> PromptReport:
    return PromptReport(1, IDS, FakeTokenizer(), text=text, is_scored=is_scored, num_added=num_added)


def test_the_first_token_comes_with_the_first_scores_and_has_none() -> None:
    shown = report("abcd")
    assert told(shown.on_scores(scores(1, -1.0))) == [(0, "abcd", [None, -1.0])]
    assert told(shown.on_scores(scores(2, -2.0, -3.0))) == [(2, "", [-2.0, -3.0])]
    assert shown.finish() == []


def test_what_is_computed_anew_is_not_told_again() -> None:
    shown = report()
    shown.on_scores(scores(1, -1.0, -2.0))
    assert shown.on_scores(scores(1, -1.0)) == []
    assert told(shown.on_scores(scores(2, -2.0, -3.0))) == [(3, "", [-3.0])]


def test_a_prompt_of_one_token_has_no_scores() -> None:
    assert told(report("a").finish()) == [(0, "a", [None])]


def test_an_echo_without_scores_is_told_at_the_end_of_the_prompt() -> None:
    shown = report("abcd", is_scored=False)
    assert told(shown.finish()) == [(0, "abcd", [])]
    assert shown.finish() == []


def test_a_token_that_was_put_before_the_text_has_no_text() -> None:
    shown = report(num_added=1)
    top = (Candidate(98, -0.5), Candidate(256, -1.5))
    step = PromptScores(1, [TokenScore(Likelihoods(Candidate(98, -0.5), top), 1)])
    (event,) = shown.on_scores(step)
    assert event.tokens == (
        PromptToken(97, b""),
        PromptToken(98, b"b", -0.5, 1, (TokenLogprob(98, b"b", -0.5), TokenLogprob(256, b"<|im_start|>", -1.5))),
    )
