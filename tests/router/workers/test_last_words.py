from router.workers.last_words import TAIL_BYTES, LastWords

ASSERTION = b"/tmp/build/src/llama-context.cpp:2273: GGML_ASSERT(n_outputs_max <= cparams.n_outputs_max) failed\n"
DEBUGGER = b"#7 0x00007f in _PyEval_EvalFrameDefault () at Python/ceval.c:4769\n4769\tPython/ceval.c: No such file.\n"


def words_of(*pieces: bytes) -> str:
    words = LastWords()
    for piece in pieces:
        words.feed(piece)
    return str(words)


def test_an_assertion_is_told_however_long_a_backtrace_follows_it() -> None:
    said = words_of(b"a warning\n", ASSERTION, DEBUGGER * (2 * TAIL_BYTES // len(DEBUGGER)))
    assert said == f": {ASSERTION.decode().strip()}"


def test_a_reason_that_comes_in_pieces_and_without_an_end_is_one() -> None:
    said = words_of(
        b"terminate called after throwing an inst", b"ance of 'std::bad_alloc'\n  what():  std::bad", b"_alloc"
    )
    assert said == ": terminate called after throwing an instance of 'std::bad_alloc' | what():  std::bad_alloc"


def test_without_a_reason_the_last_lines_are_told() -> None:
    assert words_of(*(b"line %d\n\n" % number for number in range(9))) == ": " + " | ".join(
        f"line {number}" for number in range(3, 9)
    )
    assert words_of() == ""
    assert words_of(b" \n") == ""


def test_endless_lines_take_no_memory() -> None:
    words = LastWords()
    for _ in range(10):
        words.feed(b"x" * 3 * TAIL_BYTES)
    assert len(str(words)) <= 1002
