import threading
import time

import pytest

from backends.constraints.compiler import STUCK_AFTER_S, ConstraintCompiler
from backends.constraints.grammar import AnswerGrammar, assembled
from backends.errors import ConstraintError
from backends.wire.request import Constraint, ConstraintKind
from tests.backends.constraints.conftest import ByteTokenizer, Compile, compiled, matcher_of, matches
from tests.support.waiting import WITHIN_S

DIGITS = Constraint(ConstraintKind.REGEX, "[0-9]+", "regex")


@pytest.mark.parametrize(
    ("kind", "text", "answers", "others"),
    [
        (ConstraintKind.JSON_OBJECT, "", ["{}", '{"a": [1, null]}', '{\n  "a": "x"\n}'], ["", "[]", "1", "{", "{}{}"]),
        (ConstraintKind.JSON_SCHEMA, {"enum": ["a", 1, None]}, ['"a"', "1", "null"], ['"b"', "2", ""]),
        (ConstraintKind.REGEX, r"\d{3}-\d{4}", ["555-1234"], ["555", "555-12345", ""]),
        (ConstraintKind.REGEX, "\\/\nstart: /b", ["/\nstart: /b"], ["b"]),
        (ConstraintKind.REGEX, "^a/b$", ["a/b"], ["a", "^a/b$"]),
        (ConstraintKind.GBNF, 'root ::= "a" x\nx ::= "b" x | "c"', ["ac", "abbc"], ["a", "abb"]),
        (ConstraintKind.LARK, 'start: "x" A+\nA: /[0-9]/\n', ["x1", "x12"], ["x", "1"]),
    ],
)
def test_an_answer_matches_as_a_whole(
    compile_: Compile, kind: ConstraintKind, text: str, answers: list[str], others: list[str]
) -> None:
    matcher = compile_(kind, text)
    assert [answer for answer in answers if not matches(matcher, answer)] == []
    assert [other for other in others if matches(matcher, other)] == []


OPENING = 'opening: "so: "\nhead: "answer "\n'


def test_an_opening_comes_before_calls_and_a_head_between_it_and_text(compiler: ConstraintCompiler) -> None:
    calls = Constraint(ConstraintKind.LARK, 'start: "call()"\n', "tools")
    text = Constraint(ConstraintKind.REGEX, "[0-9]+", "regex")
    both = matcher_of(compiler, AnswerGrammar(text, calls, OPENING))
    assert matches(both, "so: answer 12")
    assert matches(both, "so: call()")
    assert not matches(both, "so: 12")
    assert not matches(both, "so: answer call()")
    assert not matches(both, "call()")
    only_calls = matcher_of(compiler, AnswerGrammar(None, calls))
    assert matches(only_calls, "call()")
    assert not matches(only_calls, "12")


def test_each_choice_gets_a_matcher_of_its_own(compile_: Compile) -> None:
    first, second = compile_(ConstraintKind.REGEX, "ab"), compile_(ConstraintKind.REGEX, "ab")
    first.accept(ord("a"))
    assert matches(first, "b")
    assert matches(second, "ab")


def test_a_grammar_that_takes_too_long_is_refused_at_its_deadline_and_the_thread_counts_as_stuck(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()

    def slow(_: AnswerGrammar) -> str:
        release.wait(WITHIN_S)
        return ""

    monkeypatch.setattr("backends.constraints.compiler.assembled", slow)
    compiler = ConstraintCompiler(ByteTokenizer(), deadline_s=0.5)
    try:
        pending = compiler.submit(AnswerGrammar(DIGITS))
        while pending.started_at is None:
            pending.is_done.wait(0.01)
        now = pending.started_at
        assert pending.poll(now + 0.4) is None
        assert not compiler.is_stuck(now + STUCK_AFTER_S - 1)
        refused = pending.poll(now + 0.6)
        assert isinstance(refused, ConstraintError)
        assert "within 0.5 s" in str(refused)
        assert refused.param == "regex"
        assert compiler.is_stuck(now + STUCK_AFTER_S + 1)
    finally:
        release.set()


def test_a_cached_grammar_is_there_at_once(compiler: ConstraintCompiler) -> None:
    compiled(compiler, ConstraintKind.REGEX, "cached[0-9]+")
    pending = compiler.submit(AnswerGrammar(Constraint(ConstraintKind.REGEX, "cached[0-9]+", "response_format")))
    assert pending.poll(time.monotonic()) is not None


@pytest.fixture
def broken_threads(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Count threads that end with an exception, in place of the report that would come with a later test."""
    count = threading.Semaphore(0)
    monkeypatch.setattr(threading, "excepthook", lambda _: count.release())
    return count


def test_a_failure_that_nobody_foresaw_is_an_error_and_the_next_grammar_compiles(
    broken_threads: threading.Semaphore, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = iter([SystemError("a defect"), None])

    def broken_once(grammar: AnswerGrammar) -> str:
        error = next(results)
        if error is not None:
            raise error
        return assembled(grammar)

    monkeypatch.setattr("backends.constraints.compiler.assembled", broken_once)
    compiler = ConstraintCompiler(ByteTokenizer())
    with pytest.raises(ConstraintError, match="failed"):
        compiled(compiler, ConstraintKind.REGEX, "a")
    assert matches(compiled(compiler, ConstraintKind.REGEX, "a"), "a")
    assert broken_threads.acquire(timeout=WITHIN_S)


def test_a_vocabulary_that_cannot_be_built_is_an_error_of_every_request(broken_threads: threading.Semaphore) -> None:
    class BrokenTokenizer(ByteTokenizer):
        @property
        def control_ids(self) -> dict[str, int]:
            raise SystemError

    compiler = ConstraintCompiler(BrokenTokenizer())
    pending = [compiler.submit(AnswerGrammar(DIGITS)) for _ in range(3)]
    for each in pending:
        each.is_done.wait(WITHIN_S)
        assert isinstance(each.poll(time.monotonic()), ConstraintError)
        assert broken_threads.acquire(timeout=WITHIN_S)
