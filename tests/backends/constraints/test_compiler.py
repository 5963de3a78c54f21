import threading
import time

import pytest

from backends.constraints.compiler import STUCK_AFTER_S, ConstraintCompiler
from backends.constraints.grammar import GrammarKind, GrammarSource
from backends.errors import ConstraintError
from tests.backends.constraints.conftest import ByteTokenizer, Compile, compiled, matches
from tests.support import tiny_model

DIGITS = GrammarSource(GrammarKind.REGEX, "[0-9]+", "regex")


@pytest.mark.parametrize(
    ("kind", "text", "answers", "others"),
    [
        (GrammarKind.JSON_OBJECT, "", ["{}", '{"a": [1, null]}', '{\n  "a": "x"\n}'], ["", "[]", "1", "{", "{}{}"]),
        (GrammarKind.JSON_SCHEMA, {"enum": ["a", 1, None]}, ['"a"', "1", "null"], ['"b"', "2", ""]),
        (GrammarKind.REGEX, r"\d{3}-\d{4}", ["555-1234"], ["555", "555-12345", ""]),
        (GrammarKind.REGEX, "\\/\nstart: /b", ["/\nstart: /b"], ["b"]),
        (GrammarKind.REGEX, "^a/b$", ["a/b"], ["a", "^a/b$"]),
        (GrammarKind.GBNF, 'root ::= "a" x\nx ::= "b" x | "c"', ["ac", "abbc"], ["a", "abb"]),
        (GrammarKind.LARK, 'start: "x" A+\nA: /[0-9]/\n', ["x1", "x12"], ["x", "1"]),
    ],
)
def test_an_answer_matches_as_a_whole(
    compile_: Compile, kind: GrammarKind, text: str, answers: list[str], others: list[str]
) -> None:
    matcher = compile_(kind, text)
    assert [answer for answer in answers if not matches(matcher, answer)] == []
    assert [other for other in others if matches(matcher, other)] == []


@pytest.mark.parametrize("tag", ["</think>", "[/THINK]"])
def test_open_reasoning_comes_before_the_answer(compile_: Compile, tag: str) -> None:
    matcher = compile_(GrammarKind.JSON_OBJECT, reasoning_end=tag)
    assert matches(matcher, f"let me {{see}}\n é{tag}\n\n{{}}")
    assert matches(matcher, f"{tag}{{}}")
    assert not matches(matcher, "{}")
    assert not matches(matcher, f"a{tag}b{tag}{{}}")


def test_open_reasoning_ends_with_a_control_token(compile_: Compile) -> None:
    start = tiny_model.CONTROL_TOKENS[0]
    matcher = compile_(GrammarKind.JSON_OBJECT, reasoning_end=start)
    assert matches(matcher, [*b"hm", tiny_model.BOS_ID, *b" {}"])
    assert not matches(matcher, f"hm{start}{{}}")


def test_each_choice_gets_a_matcher_of_its_own(compile_: Compile) -> None:
    first, second = compile_(GrammarKind.REGEX, "ab"), compile_(GrammarKind.REGEX, "ab")
    first.accept(ord("a"))
    assert matches(first, "b")
    assert matches(second, "ab")


def test_a_grammar_that_takes_too_long_is_refused_at_its_deadline_and_the_thread_counts_as_stuck() -> None:
    entered, release = threading.Event(), threading.Event()

    class SlowTokenizer(ByteTokenizer):
        @property
        def control_ids(self) -> dict[str, int]:
            if entered.is_set():  # the second look comes from the compilation
                release.wait(30)
            entered.set()
            return {}

    compiler = ConstraintCompiler(SlowTokenizer(), deadline_s=0.5)
    try:
        pending = compiler.submit(DIGITS, reasoning_end="</think>")
        while pending._job.started_at is None:
            pending.wait(0.01)
        now = pending._job.started_at
        assert pending.poll(now + 0.4) is None
        assert not compiler.is_stuck(now + STUCK_AFTER_S - 1)
        refused = pending.poll(now + 0.6)
        assert isinstance(refused, ConstraintError)
        assert "within 0.5 s" in str(refused)
        assert refused.param == "regex"
        assert compiler.is_stuck(now + STUCK_AFTER_S + 1)
    finally:
        release.set()
        compiler.close()


def test_a_cached_grammar_is_there_at_once(compiler: ConstraintCompiler) -> None:
    compiled(compiler, GrammarKind.REGEX, "cached[0-9]+")
    pending = compiler.submit(GrammarSource(GrammarKind.REGEX, "cached[0-9]+", "response_format"))
    assert pending.poll(time.monotonic()) is not None


@pytest.fixture
def broken_threads(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Count threads that end with an exception, in place of the report that would come with a later test."""
    count = threading.Semaphore(0)
    monkeypatch.setattr(threading, "excepthook", lambda _: count.release())
    return count


def test_a_failure_that_nobody_foresaw_is_an_error_and_the_next_grammar_compiles(
    broken_threads: threading.Semaphore,
) -> None:
    class BrokenTokenizer(ByteTokenizer):
        num_reads = 0

        @property
        def control_ids(self) -> dict[str, int]:
            self.num_reads += 1
            if self.num_reads == 2:  # in the compilation
                raise SystemError
            return {}

    compiler = ConstraintCompiler(BrokenTokenizer())
    try:
        with pytest.raises(ConstraintError, match="failed"):
            compiled(compiler, GrammarKind.REGEX, "a", reasoning_end="</think>")
        assert matches(compiled(compiler, GrammarKind.REGEX, "a"), "a")
        assert broken_threads.acquire(timeout=10)
    finally:
        compiler.close()


def test_a_vocabulary_that_cannot_be_built_is_an_error_of_every_request(broken_threads: threading.Semaphore) -> None:
    class BrokenTokenizer(ByteTokenizer):
        @property
        def control_ids(self) -> dict[str, int]:
            raise SystemError

    compiler = ConstraintCompiler(BrokenTokenizer())
    pending = [compiler.submit(DIGITS) for _ in range(3)]
    for each in pending:
        each.wait(10)
        assert isinstance(each.poll(time.monotonic()), ConstraintError)
        assert broken_threads.acquire(timeout=10)
    compiler.close()
