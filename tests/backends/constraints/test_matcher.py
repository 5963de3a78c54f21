import numpy as np
import pytest

from backends.constraints.compiler import ConstraintCompiler
from backends.errors import ConstraintError
from backends.logits import Logits, Matcher
from backends.wire.request import ConstraintKind
from tests.backends.constraints.conftest import ByteTokenizer, Compile, compiled
from tests.support import tiny_model


def allowed(logits: Logits) -> list[int]:
    return [int(i) for i in np.flatnonzero(np.isfinite(logits))]


def is_complete(matcher: Matcher) -> bool:
    return matcher.is_complete


def test_a_mask_leaves_the_logits_of_allowed_tokens_alone(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "a|b")
    logits = np.arange(259, dtype=np.float32)
    matcher.mask(logits)
    assert allowed(logits) == [ord("a"), ord("b")]
    assert logits[ord("a")] == ord("a")


def test_a_complete_answer_allows_end_tokens_only(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "a")
    assert not is_complete(matcher)
    matcher.accept(ord("a"))
    assert is_complete(matcher)
    logits = np.zeros(259, np.float32)
    matcher.mask(logits)
    assert allowed(logits) == [tiny_model.EOS_ID]
    matcher.accept(tiny_model.EOS_ID)
    matcher.mask(logits)
    assert matcher.is_complete


def test_an_answer_that_may_go_on_allows_both(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "a+")
    matcher.accept(ord("a"))
    logits = np.zeros(259, np.float32)
    matcher.mask(logits)
    assert allowed(logits) == [ord("a"), tiny_model.EOS_ID]
    assert not matcher.is_complete
    matcher.accept(tiny_model.EOS_ID)
    assert matcher.is_complete


def test_control_tokens_are_never_part_of_a_text(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "(?s:.)+")
    logits = np.zeros(259, np.float32)
    matcher.mask(logits)
    assert not np.isfinite(logits[tiny_model.BOS_ID])
    assert not np.isfinite(logits[tiny_model.EOS_ID])


@pytest.mark.parametrize("num_logits", [300, 259, 200])
def test_logits_may_be_more_or_fewer_than_tokens(compile_: Compile, num_logits: int) -> None:
    matcher = compile_(ConstraintKind.REGEX, "a|b")
    logits = np.zeros(num_logits, np.float32)
    matcher.mask(logits)
    assert allowed(logits) == [ord("a"), ord("b")]


def test_a_token_that_is_not_allowed_makes_the_next_mask_raise(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "aa")
    matcher.accept(ord("z"))
    with pytest.raises(ConstraintError) as caught:
        matcher.mask(np.zeros(259, np.float32))
    assert caught.value.param == "response_format"
    assert len(str(caught.value)) < 500
    assert not matcher.is_complete


def test_a_copy_goes_its_own_way(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.REGEX, "ab|ac")
    matcher.accept(ord("a"))
    other = matcher.copy()
    matcher.accept(ord("b"))
    assert matcher.is_complete
    assert not other.is_complete
    logits = np.zeros(259, np.float32)
    other.mask(logits)
    assert allowed(logits) == [ord("b"), ord("c")]


def test_without_end_tokens_a_complete_answer_leaves_the_logits_alone() -> None:
    compiler = ConstraintCompiler(ByteTokenizer(has_end=False))
    matcher = compiled(compiler, ConstraintKind.REGEX, "a+b")
    matcher.accept(ord("a"))
    logits = np.zeros(259, np.float32)
    matcher.mask(logits)
    assert allowed(logits) == [ord("a"), ord("b")]
    matcher.accept(ord("b"))
    assert matcher.is_complete
    logits = np.zeros(259, np.float32)
    matcher.mask(logits)
    assert len(allowed(logits)) == 259
