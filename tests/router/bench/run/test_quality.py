import pytest

from router.bench.run.quality import QualityReading, num_equal_tokens, qualities_of


def test_answers_agree_until_they_part() -> None:
    assert num_equal_tokens(("a", "b", "c"), ("a", "b", "x")) == 2
    assert num_equal_tokens(("a",), ("a", "b")) == 1
    assert num_equal_tokens((), ("a",)) == 0


def test_agreement_is_with_the_first_contestant_over_the_answers_that_both_gave() -> None:
    first = QualityReading(answers=(("a", "b"), ("c", "d"), ("e",)))
    other = QualityReading(answers=(("a", "b"), ("c", "x")))
    own, held = qualities_of({0: first, 1: other}).values()
    assert own.num_compared_tokens == 0
    assert (held.num_compared_tokens, held.num_equal_tokens, held.first_divergence) == (4, 3, 1)


def test_an_answer_that_ends_earlier_diverges_at_its_end() -> None:
    held = qualities_of({0: QualityReading(answers=(("a", "b"),)), 1: QualityReading(answers=(("a",),))})[1]
    assert (held.num_compared_tokens, held.num_equal_tokens, held.first_divergence) == (2, 1, 1)


def test_all_are_scored_on_the_tokens_that_the_slowest_managed() -> None:
    quick = QualityReading(logprobs=(-1.0, -1.0, -4.0))
    slow = QualityReading(logprobs=(-1.0, -3.0))
    first, second = qualities_of({0: quick, 1: slow}).values()
    assert (first.num_scored_tokens, first.mean_logprob) == (2, -1.0)
    assert second.mean_logprob == -2.0
    assert second.perplexity == pytest.approx(7.389, abs=1e-3)


def test_what_a_server_does_not_tell_is_not_known() -> None:
    known = QualityReading(answers=(("a",),), logprobs=(-1.0,))
    first, silent = qualities_of({0: known, 1: QualityReading()}).values()
    assert first.num_scored_tokens == 1
    assert (silent.num_scored_tokens, silent.mean_logprob, silent.perplexity) == (0, None, None)
    assert (silent.num_compared_tokens, silent.first_divergence) == (0, None)
