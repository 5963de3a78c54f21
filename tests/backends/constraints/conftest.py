"""A vocabulary without a model: the tiny model's, with its tokens known here as well as there."""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from backends.constraints.compiler import ConstraintCompiler, GrammarMatcher
from backends.constraints.grammar import AnswerGrammar
from backends.errors import ConstraintError
from backends.logits import Matcher
from backends.tokenizer import Tokenizer
from backends.wire.request import Constraint, ConstraintKind
from tests.support import tiny_model
from tests.support.waiting import WITHIN_S

Compile = Callable[..., GrammarMatcher]


class ByteTokenizer(Tokenizer):
    """The tiny model's vocabulary: 256 bytes, " t", and two control tokens."""

    vocab_size = 259
    adds_bos = False
    bos_text, eos_text = tiny_model.CONTROL_TOKENS
    chat_template = None
    bos_id = tiny_model.BOS_ID
    infill = None

    def __init__(self, *, has_end: bool = True) -> None:
        self._has_end = has_end

    @property
    def end_ids(self) -> frozenset[int]:
        return frozenset({tiny_model.EOS_ID}) if self._has_end else frozenset()

    @property
    def control_ids(self) -> Mapping[str, int]:
        return {text: 257 + i for i, text in enumerate(tiny_model.CONTROL_TOKENS)}

    @property
    def max_token_bytes(self) -> int:
        return 12

    def _encode(self, text: str, *, parse_control: bool) -> list[int]:
        assert not parse_control
        return list(text.encode())

    def _bytes_of(self, token_id: int) -> bytes:
        if token_id < 256:
            return bytes([token_id])
        return b" t" if token_id == 256 else b""


class Sampler:
    """Draws from random logits, as a model at high temperature would.

    Args:
        seed: Of its generator.
        bias: Added to the logits of single bytes.
    """

    def __init__(self, seed: int, bias: Mapping[str, float] | None = None) -> None:
        self._random = np.random.default_rng(seed)
        self._bias = np.zeros(259, np.float32)
        for chars, value in (bias or {}).items():
            for char in chars:
                self._bias[ord(char)] = value

    def answer(self, matcher: Matcher, *, max_tokens: int) -> bytes | None:
        """Return the bytes of a finished answer, None when it was cut."""
        tokens: list[int] = []
        for step in range(max_tokens):
            logits = self._random.normal(0, 3, 259).astype(np.float32) + self._bias
            logits[tiny_model.EOS_ID] += 3 + step / 50
            matcher.mask(logits)
            token_id = int(logits.argmax())
            assert np.isfinite(logits[token_id])
            matcher.accept(token_id)
            if token_id == tiny_model.EOS_ID:
                assert matcher.is_complete
                return b"".join(ByteTokenizer().token_bytes(i) for i in tokens)
            tokens.append(token_id)
        return None


def compiled(
    compiler: ConstraintCompiler, kind: ConstraintKind, text: str | dict[str, Any], *, opening: str | None = None
) -> GrammarMatcher:
    """Return the matcher of a text, waiting for it; raises what the compiler answers."""
    text = text if isinstance(text, str) else json.dumps(text)
    return matcher_of(compiler, AnswerGrammar(Constraint(kind, text, "response_format"), opening=opening))


def matcher_of(compiler: ConstraintCompiler, grammar: AnswerGrammar) -> GrammarMatcher:
    """Return the matcher, waiting for it; raises what the compiler answers."""
    pending = compiler.submit(grammar)
    for _ in itertools.count():
        pending.is_done.wait(0.05)
        result = pending.poll(time.monotonic())
        if isinstance(result, ConstraintError):
            raise result
        if result is not None:
            return result
    raise AssertionError


def matches(matcher: GrammarMatcher, answer: str | bytes | list[int]) -> bool:
    """Tell whether a whole answer is allowed, token by token and with the end token after it."""
    matcher = matcher.copy()
    data = answer.encode() if isinstance(answer, str) else answer
    for token_id in [*data, tiny_model.EOS_ID]:
        logits = np.zeros(259, np.float32)
        matcher.mask(logits)
        if not np.isfinite(logits[token_id]):
            return False
        matcher.accept(token_id)
    return matcher.is_complete


@pytest.fixture(scope="session")
def compiler() -> ConstraintCompiler:
    """One that refuses nothing for the time it takes: what it refuses here is too much by the library's own counts."""
    return ConstraintCompiler(ByteTokenizer(), deadline_s=WITHIN_S)


@pytest.fixture
def compile_(compiler: ConstraintCompiler) -> Compile:
    def get(kind: ConstraintKind, text: str | dict[str, Any] = "", *, opening: str | None = None) -> GrammarMatcher:
        return compiled(compiler, kind, text, opening=opening)

    return get
