"""Compiles grammars on a thread of its own, so that the worker's loop goes on stepping other sequences meanwhile.

Not a process: what a grammar may cost is bounded by caps before and by llguidance's limits while it compiles; should a
compilation hang all the same, `is_stuck` says so and the worker ends itself.
"""

import collections
import queue
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from backends.constraints.grammar import AnswerGrammar, assembled
from backends.errors import ConstraintError
from backends.logits import Logits, Matcher
from backends.tokenizer import Tokenizer

COMPILE_DEADLINE_S = 2.0
"""What a grammar may take, from the moment at which its compilation begins."""
STUCK_AFTER_S = 10.0
"""A compilation that takes longer will not end in time for anybody."""
_CACHE_ENTRIES = 32
_MAX_WORDS = 300
"""Characters of the library's message that reach the client."""
_FAILED_REASONS = frozenset({"ParserTooComplex", "LexerTooComplex", "InternalError", "MaxTokensTotal"})
_DEAD_END_REASONS = frozenset({"NoExtension", "NoExtensionBias"})

_LIMITS = LLParserLimits(
    max_items_in_row=2000,
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    verbose_errors=False,
)


class Vocabulary:
    """A loaded model's tokens as llguidance wants them; building it takes a while for 150,000 of them.

    Made from our own interface, so that both engines give the same; of nothing but facts of the tokenizer, so that
    another thread may tokenize meanwhile. llguidance asks it for its public attributes and calls it.
    """

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_ids = tokenizer.end_ids
        self.vocab_size = tokenizer.vocab_size
        self.tokens = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
        for text, token_id in tokenizer.control_ids.items():
            self.tokens[token_id] = text.encode(errors="replace")
        self.special_token_ids = sorted({*self.end_ids, *tokenizer.control_ids.values()})
        self.eos_token_id = min(self.end_ids, default=None)
        self.bos_token_id = tokenizer.bos_id
        self.inner = LLTokenizer(self, eos_token=sorted(self.end_ids) or None)

    def __call__(self, text: str) -> list[int]:
        """Return some tokens of a text; never the model's own, because grammars are compiled without forcing."""
        greedy: list[int] = self.inner.greedy_tokenize(text)
        return greedy


class GrammarMatcher(Matcher):
    """Masks and follows the tokens of one sequence.

    Args:
        inner: llguidance's matcher; owned by this object from now on.
        vocabulary: Its tokens; logits beyond are never allowed.
        param: The request's field that carries the grammar, for errors.
    """

    def __init__(self, inner: LLMatcher, vocabulary: Vocabulary, param: str) -> None:
        self._inner = inner
        self._vocabulary = vocabulary
        self._param = param
        # Without end tokens llguidance adds one of its own after the vocabulary; its bit is cut off below.
        num_bits = vocabulary.vocab_size + (not vocabulary.end_ids)
        self._bits = np.zeros((num_bits + 31) // 32, np.uint32)

    def mask(self, logits: Logits) -> None:
        """Set the logits of all tokens that cannot come next to -inf, in place."""
        self._inner.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        self._raise_if_failed()
        if not self._vocabulary.end_ids and self.is_complete:
            return
        num_known = min(self._vocabulary.vocab_size, len(logits))
        is_barred = np.unpackbits(~self._bits.view(np.uint8), count=num_known, bitorder="little").view(np.bool_)
        np.copyto(logits[:num_known], -np.inf, where=is_barred)
        logits[num_known:] = -np.inf

    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn; a token that the grammar does not allow makes the next `mask` raise."""
        if token_id in self._vocabulary.end_ids and self._inner.is_stopped():
            return
        if token_id < self._vocabulary.vocab_size:
            self._inner.consume_token(token_id)

    def num_allowed(self, token_ids: Sequence[int]) -> int:
        """Return how many of these tokens the grammar allows to come next, one after the other."""
        return int(
            self._inner.validate_tokens([token_id for token_id in token_ids if token_id < self._vocabulary.vocab_size])
        )

    @property
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing but an end token can follow."""
        return bool(self._inner.is_stopped()) and not self._inner.is_error()

    def copy(self) -> "GrammarMatcher":
        """Return an independent matcher in the same state."""
        return GrammarMatcher(self._inner.deep_copy(), self._vocabulary, self._param)

    def _raise_if_failed(self) -> None:
        if self._inner.is_error():
            raise _library_error(self._inner.get_error(), self._param)
        if self._inner.is_stopped() and self._inner.stop_reason() in _FAILED_REASONS:
            raise _library_error(self._inner.stop_reason(), self._param)


class PendingMatcher:
    """A grammar that is being compiled, perhaps already done.

    Args:
        deadline_s: Seconds from the compilation's beginning to its end.

    Attributes:
        started_at: When its compilation began, by the compiler's clock; None = not yet.
        result: None until `is_done` is set.
    """

    def __init__(self, grammar: AnswerGrammar, deadline_s: float) -> None:
        self.grammar = grammar
        self.started_at: float | None = None
        self.result: GrammarMatcher | ConstraintError | None = None
        self.is_done = threading.Event()
        self._deadline_s = deadline_s

    def poll(self, now: float) -> GrammarMatcher | ConstraintError | None:
        """Return a fresh matcher, the reason why there is none, or None while it is not yet known.

        Args:
            now: Seconds, by the clock that the compiler was made with.
        """
        if self.is_done.is_set():
            return self.result.copy() if isinstance(self.result, GrammarMatcher) else self.result
        if self.started_at is not None and now - self.started_at > self._deadline_s:
            param = self.grammar.param
            return ConstraintError(
                f"{param} did not compile within {self._deadline_s:g} s; make it simpler", param=param
            )
        return None

    def finish(self, result: GrammarMatcher | ConstraintError) -> None:
        """Tell what came of it."""
        self.result = result
        self.is_done.set()


class ConstraintCompiler:
    """Compiles grammars for one loaded model.

    The thread begins with the first `submit`, builds the vocabulary, then compiles one grammar after the other. It is a
    daemon: a grammar that hangs does not keep the process.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        clock: Callable[[], float] = time.monotonic,
        deadline_s: float = COMPILE_DEADLINE_S,
    ) -> None:
        self._tokenizer = tokenizer
        self._clock = clock
        self._deadline_s = deadline_s
        self._jobs: queue.SimpleQueue[PendingMatcher] = queue.SimpleQueue()
        self._running: PendingMatcher | None = None
        self._has_thread = False
        self._vocabulary: Vocabulary | None = None
        self._cache: collections.OrderedDict[AnswerGrammar, GrammarMatcher] = collections.OrderedDict()
        self._lock = threading.Lock()  # for the cache

    def submit(self, grammar: AnswerGrammar) -> PendingMatcher:
        """Have a grammar compiled; ask the result for it by `poll`."""
        job = PendingMatcher(grammar, self._deadline_s)
        cached = self._cached(grammar)
        if cached is not None:
            job.finish(cached)
            return job
        if not self._has_thread:
            self._start_thread()
        self._jobs.put(job)
        return job

    def is_stuck(self, now: float) -> bool:
        """Tell whether a compilation has been running for so long that only the end of the process will end it."""
        running = self._running
        return running is not None and running.started_at is not None and now - running.started_at > STUCK_AFTER_S

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                self._do(job)
            finally:
                self._running = None
                if job.result is None:  # a panic of the library, or a broken vocabulary, ends this thread
                    self._start_thread()
                    job.finish(_library_error("the grammar compiler failed", job.grammar.param))

    def _do(self, job: PendingMatcher) -> None:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._tokenizer)
        job.started_at = self._clock()
        self._running = job
        try:
            matcher = self._cached(job.grammar) or self._compiled(job.grammar, self._vocabulary)
        except ConstraintError as exc:
            job.finish(exc)
        except (RecursionError, MemoryError) as exc:
            job.finish(_library_error(repr(exc), job.grammar.param))
        else:
            self._keep(job.grammar, matcher)
            job.finish(matcher)

    def _start_thread(self) -> None:
        self._has_thread = True
        threading.Thread(target=self._run, name="constraint-compiler", daemon=True).start()

    def _compiled(self, grammar: AnswerGrammar, vocabulary: Vocabulary) -> GrammarMatcher:
        param = grammar.param
        text = assembled(grammar)
        try:
            inner = LLMatcher(vocabulary.inner, text, log_level=0, limits=_LIMITS)
        except (ValueError, OverflowError) as exc:  # what the binding raises for texts that are no grammar at all
            raise _library_error(str(exc), param) from exc
        if inner.is_error():
            raise _library_error(inner.get_error(), param)
        probe = inner.deep_copy()  # the first mask is the dearest, and shows grammars that nothing can match
        probe.compute_bitmask()
        if probe.is_error():
            raise _library_error(probe.get_error(), param)
        if probe.is_stopped() and probe.stop_reason() in _DEAD_END_REASONS and not probe.is_accepting():
            raise ConstraintError(f"{param} cannot be matched by any text", param=param)
        return GrammarMatcher(inner, vocabulary, param)

    def _cached(self, grammar: AnswerGrammar) -> GrammarMatcher | None:
        with self._lock:
            matcher = self._cache.get(grammar)
            if matcher is not None:
                self._cache.move_to_end(grammar)
            return matcher

    def _keep(self, grammar: AnswerGrammar, matcher: GrammarMatcher) -> None:
        with self._lock:
            self._cache[grammar] = matcher
            self._cache.move_to_end(grammar)
            while len(self._cache) > _CACHE_ENTRIES:
                self._cache.popitem(last=False)


def _library_error(words: str, param: str) -> ConstraintError:
    """Return the library's complaint as ours, its first lines only."""
    text = " ".join(words.partition("<state>")[0].split())
    if len(text) > _MAX_WORDS:
        text = text[:_MAX_WORDS] + "…"
    return ConstraintError(f"{param} cannot be used: {text}", param=param)
