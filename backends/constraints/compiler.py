"""Compiles grammars on a thread of its own, so that the worker's loop goes on stepping other sequences meanwhile.

Not a process: what a grammar may cost is bounded by caps before and by llguidance's limits while it compiles; should a
compilation hang all the same, `is_stuck` says so and the worker ends itself.
"""

import collections
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence

from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from backends.base import Tokenizer
from backends.constraints.grammar import AnswerGrammar, assembled
from backends.constraints.matcher import GrammarMatcher, dead_end, library_error
from backends.errors import ConstraintError
from backends.logits import Matcher
from backends.wire.request import Constraint, ConstraintKind

COMPILE_DEADLINE_S = 2.0
"""What a grammar may take, from the moment at which its compilation begins."""
STUCK_AFTER_S = 10.0
"""A compilation that takes longer will not end in time for anybody."""
_CACHE_ENTRIES = 32

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
    another thread may tokenize meanwhile.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.end_ids = tokenizer.end_ids
        self.vocab_size = tokenizer.vocab_size
        bridge = _Bridge(tokenizer)
        bridge.inner = self.inner = LLTokenizer(bridge, eos_token=sorted(self.end_ids) or None)


class _Bridge:
    """The attributes and the call that llguidance asks of a tokenizer."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.inner: LLTokenizer | None = None
        tokens = [tokenizer.token_bytes(token_id) for token_id in range(tokenizer.vocab_size)]
        special_ids = set(tokenizer.end_ids)
        for text, token_id in tokenizer.control_ids.items():
            special_ids.add(token_id)
            tokens[token_id] = text.encode(errors="replace")
        self.tokens: Sequence[bytes] = tokens
        self.special_token_ids = sorted(special_ids)
        self.eos_token_id = min(tokenizer.end_ids, default=None)
        self.bos_token_id = tokenizer.bos_id

    def __call__(self, text: str) -> list[int]:
        """Return some tokens of a text; never the model's own, because grammars are compiled without forcing."""
        assert self.inner is not None
        greedy: list[int] = self.inner.greedy_tokenize(text)
        return greedy


@dataclasses.dataclass(slots=True)
class _Job:
    grammar: AnswerGrammar
    started_at: float | None = None
    result: GrammarMatcher | ConstraintError | None = None
    is_done: threading.Event = dataclasses.field(default_factory=threading.Event)


class PendingMatcher:
    """A grammar that is being compiled, perhaps already done.

    Args:
        deadline_s: Seconds from the compilation's beginning to its end.
    """

    def __init__(self, job: _Job, deadline_s: float) -> None:
        self._job = job
        self._deadline_s = deadline_s

    def poll(self, now: float) -> Matcher | ConstraintError | None:
        """Return a fresh matcher, the reason why there is none, or None while it is not yet known.

        Args:
            now: Seconds, by the clock that the compiler was made with.
        """
        job = self._job
        if job.is_done.is_set():
            return job.result.copy() if isinstance(job.result, GrammarMatcher) else job.result
        if job.started_at is not None and now - job.started_at > self._deadline_s:
            param = job.grammar.param
            return ConstraintError(
                f"{param} did not compile within {self._deadline_s:g} s; make it simpler", param=param
            )
        return None

    def wait(self, timeout_s: float) -> None:
        """Block until the answer is known, for a caller that has nothing else to do."""
        self._job.is_done.wait(timeout_s)


class ConstraintCompiler:
    """Compiles grammars for one loaded model.

    The thread begins with the first `submit` or `warm_up`, builds the vocabulary, then compiles one grammar after the
    other. It is a daemon: a grammar that hangs does not keep the process.

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
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._running: _Job | None = None
        self._thread: threading.Thread | None = None
        self._vocabulary: Vocabulary | None = None
        self._cache: collections.OrderedDict[AnswerGrammar, GrammarMatcher] = collections.OrderedDict()
        self._lock = threading.Lock()  # for the cache

    def warm_up(self) -> None:
        """Start to build the vocabulary, so that the first grammar does not wait for it."""
        self.submit(AnswerGrammar(Constraint(ConstraintKind.REGEX, "a", "warm_up")))

    def submit(self, grammar: AnswerGrammar) -> PendingMatcher:
        """Have a grammar compiled; ask the result for it by `poll`."""
        job = _Job(grammar)
        cached = self._cached(job.grammar)
        if cached is not None:
            _finish(job, cached)
        else:
            if self._thread is None:
                self._start_thread()
            self._jobs.put(job)
        return PendingMatcher(job, self._deadline_s)

    def is_stuck(self, now: float) -> bool:
        """Tell whether a compilation has been running for so long that only the end of the process will end it."""
        running = self._running
        return running is not None and running.started_at is not None and now - running.started_at > STUCK_AFTER_S

    def close(self) -> None:
        """Let the thread end once it is done with what it has."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            finally:
                self._running = None
                if job.result is None:  # a panic of the library, or a broken vocabulary, ends this thread
                    self._start_thread()
                    _finish(job, library_error("the grammar compiler failed", job.grammar.param))

    def _do(self, job: _Job) -> None:
        if self._vocabulary is None:
            self._vocabulary = Vocabulary(self._tokenizer)
        job.started_at = self._clock()
        self._running = job
        try:
            matcher = self._cached(job.grammar) or self._compiled(job.grammar, self._vocabulary)
        except ConstraintError as exc:
            _finish(job, exc)
        except (RecursionError, MemoryError) as exc:
            _finish(job, library_error(repr(exc), job.grammar.param))
        else:
            self._keep(job.grammar, matcher)
            _finish(job, matcher)

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="constraint-compiler", daemon=True)
        self._thread.start()

    def _compiled(self, grammar: AnswerGrammar, vocabulary: Vocabulary) -> GrammarMatcher:
        param = grammar.param
        text = assembled(grammar)
        try:
            inner = LLMatcher(vocabulary.inner, text, log_level=0, limits=_LIMITS)
        except (ValueError, OverflowError) as exc:  # what the binding raises for texts that are no grammar at all
            raise library_error(str(exc), param) from exc
        if inner.is_error():
            raise library_error(inner.get_error(), param)
        probe = inner.deep_copy()  # the first mask is the dearest, and shows grammars that nothing can match
        probe.compute_bitmask()
        if probe.is_error():
            raise library_error(probe.get_error(), param)
        if dead_end(probe):
            raise ConstraintError(f"{param} cannot be matched by any text", param=param)
        return GrammarMatcher(inner, end_ids=vocabulary.end_ids, vocab_size=vocabulary.vocab_size, param=param)

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


def _finish(job: _Job, result: GrammarMatcher | ConstraintError) -> None:
    job.result = result
    job.is_done.set()
