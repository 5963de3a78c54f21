"""Steps a loaded engine without a worker or batcher: the test itself says who is in each plan.

For what an engine promises of held, retired and saved sequences; whoever wants events takes `engine_driver`.
"""

import functools
import random
from collections.abc import Iterable

from backends.base import Engine, LoadedEngine
from backends.engines import create_engine
from backends.sequence import EmbeddingSpan, Sequence
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams

GREEDY = SamplingParams(temperature=0)
MAX_STEPS = 2_000


def text_ids(num: int, seed: int = 0) -> list[int]:
    """Return reproducible ids that every engine's vocabulary has."""
    rng = random.Random(seed)
    return [rng.randrange(32, 127) for _ in range(num)]


class BareEngine:
    """An engine and the sequences that a test has put into it."""

    def __init__(self, engine: LoadedEngine) -> None:
        self.engine = engine
        self.sequences: dict[int, Sequence] = {}
        self._last_id = 0

    def insert(
        self, token_ids: list[int], sampling: SamplingParams = GREEDY, spans: tuple[EmbeddingSpan, ...] = ()
    ) -> Sequence:
        """Give a new sequence to the engine."""
        sequence = Sequence(self.new_id(), list(token_ids), len(token_ids), 1_000, sampling, spans=spans)
        self.engine.insert(sequence)
        self.sequences[sequence.sequence_id] = sequence
        return sequence

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def fork(
        self,
        source: Sequence | int,
        num_tokens: int,
        token_ids: list[int],
        spans: tuple[EmbeddingSpan, ...] = (),
    ) -> Sequence | None:
        """Insert a sequence that begins with another one's cache; None, and no sequence, when it was refused."""
        source_id = source if isinstance(source, int) else source.sequence_id
        target = self.insert(token_ids, spans=spans)
        if not self.engine.fork(source_id, target.sequence_id, num_tokens):
            self.remove(target)
            return None
        target.num_computed = num_tokens
        return target

    def forked_answer(
        self, source: Sequence | int, num_tokens: int, token_ids: list[int], num_answered: int
    ) -> list[int]:
        """Return what a sequence gives that begins with so many tokens of another one's cache, and is gone then."""
        fork = self.fork(source, num_tokens, token_ids)
        assert fork is not None
        (answer,) = self.run(fork, num_tokens=num_answered)
        self.remove(fork)
        return answer

    def step(self, *sequences: Sequence, max_tokens: int = 64, evicted: Iterable[int] = ()) -> StepResult:
        """Do one step with these sequences, after the rows that it needs were made; all others are held."""
        chunks = []
        budget = max_tokens
        for sequence in sequences:
            num_tokens = _chunk_size(sequence, budget)
            if num_tokens:
                self._encode_next(sequence)
                chunks.append(Chunk(sequence, sequence.num_computed, num_tokens))
            budget -= num_tokens
        result = self.engine.step(StepPlan(tuple(chunks), tuple(evicted)), lambda: False)
        assert not result.errors
        for sequence_id, num_computed in result.num_computed.items():
            self.sequences[sequence_id].num_computed = num_computed
        for sequence_id, token_ids in result.tokens.items():
            self.sequences[sequence_id].token_ids += token_ids
        return result

    def _encode_next(self, sequence: Sequence) -> None:
        for span in sequence.spans:
            if span.start <= sequence.num_computed < span.end and span.tile.rows is None:
                assert self.engine.encode(span.tile, lambda: False)

    def run(self, *sequences: Sequence, num_tokens: int, max_tokens: int = 64) -> list[list[int]]:
        """Step until each has this many tokens of an answer; return these."""
        for _ in range(MAX_STEPS):
            rest = [sequence for sequence in sequences if sequence.num_output_tokens < num_tokens]
            if not rest:
                return [answer_of(sequence)[:num_tokens] for sequence in sequences]
            self.step(*rest, max_tokens=max_tokens)
        raise AssertionError("no progress")

    def run_drafted(self, sequence: Sequence, right: list[int], *, draft: int = 7, spoilt_every: int = 5) -> list[int]:
        """Step a sequence to as many tokens as `right` has, with drafts of which every so manyth is wrong."""

        while sequence.num_output_tokens < len(right):
            if not sequence.is_decoding:
                self.step(sequence)
                continue
            first = sequence.num_output_tokens
            known = right[first : first + draft]
            spoilt = {at for at in range(len(known)) if (first + at) % spoilt_every == 0}
            guess = tuple(token ^ (at in spoilt) for at, token in enumerate(known))
            result = self.engine.step(StepPlan((Chunk(sequence, sequence.num_computed, 1, guess),)), lambda: False)
            sequence.num_computed = result.num_computed[sequence.sequence_id]
            sequence.token_ids += result.tokens[sequence.sequence_id]
            assert sequence.num_pending >= 1, "the last one is not computed"
        return answer_of(sequence)[: len(right)]

    def fresh_answer(self, token_ids: list[int], num_tokens: int, spans: tuple[EmbeddingSpan, ...] = ()) -> list[int]:
        """Return what a sequence of its own gives, alone and undisturbed."""
        sequence = self.insert(token_ids, spans=spans)
        (answer,) = self.run(sequence, num_tokens=num_tokens)
        self.remove(sequence)
        return answer

    def retire(self, sequence: Sequence) -> int:
        return self.engine.retire(sequence.sequence_id)

    def remove(self, sequence: Sequence) -> None:
        self.engine.remove(sequence.sequence_id)
        self.sequences.pop(sequence.sequence_id, None)

    def close(self) -> None:
        """Leave nothing in the engine."""
        for sequence_id in range(1, self._last_id + 1):
            self.engine.remove(sequence_id)


def load(name: str, spec: LoadSpec) -> LoadedEngine:
    """Load a model on the engine of this process."""
    return engine_of(name).load(spec, lambda _fraction: None)


is_over_ranks = False
"""Whether models on mlx are to be loaded over two ranks (`pytest --over-ranks`); set before the first load."""


@functools.cache
def engine_of(name: str) -> Engine:
    """Return the one engine of a kind in this process: llama.cpp has one log."""
    engine = create_engine(name)
    if name == "mlx" and is_over_ranks:
        from tests.support.over_ranks import OverRanksEngine

        engine = OverRanksEngine()
    engine.info()
    return engine


def _chunk_size(sequence: Sequence, budget: int) -> int:
    """Return how many places a chunk may have: none goes over a span's border, and spans that are whole come whole."""
    num_alike = sequence.num_alike(sequence.num_computed)
    is_whole = any(span.is_whole and span.start <= sequence.num_computed < span.end for span in sequence.spans)
    return num_alike if is_whole and budget > 0 else max(0, min(budget, num_alike, sequence.num_pending))


def answer_of(sequence: Sequence) -> list[int]:
    return sequence.token_ids[sequence.num_prompt_tokens :]
