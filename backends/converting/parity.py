"""How well a loaded model foretells a fixed text: to tell whether a converted model is still the same model.

The text's tokens are forced one after the other; what the model thought at each place is what is kept. Both engines do
this by the same code, so two readings of one model differ only by weights and arithmetic. Not here: two readings side
by side, and what difference is too large (`router.jobs.convert.steps`).
"""

import math

import numpy as np

from backends.base import LoadedEngine
from backends.converting.convert_messages import ParityReading
from backends.errors import EngineError
from backends.logits import Logits, LogitsEditor, Matcher
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.request import SamplingParams

TEXT = (
    "The river rises in the hills and runs south for 340 kilometres before it reaches the sea. In spring, when the "
    "snow melts, it carries so much water that the villages on its banks have to close their gates.\n\n"
    "def area(width, height):\n    return width * height\n\n"
    "If all cats are animals, and Tom is a cat, then Tom is an animal."
)
"""Prose, numbers, code and a step of reasoning; written for this."""

NUM_GIVEN = 8
"""Tokens at the beginning that are not judged: nobody could foretell them."""


class _ForcedText(Matcher):
    """Allows the text's next token only."""

    def __init__(self, token_ids: list[int]) -> None:
        self._token_ids = token_ids
        self._position = 0

    @property
    def is_complete(self) -> bool:
        return self._position >= len(self._token_ids)

    def mask(self, logits: Logits) -> None:
        if self.is_complete:
            return
        wanted = self._token_ids[self._position]
        kept = logits[wanted] if math.isfinite(logits[wanted]) else np.float32(0)
        logits.fill(-np.inf)
        logits[wanted] = kept

    def accept(self, token_id: int) -> None:
        del token_id
        self._position += 1


def read_parity(engine: LoadedEngine, token_ids: list[int] | None = None) -> ParityReading:
    """Force the text through a loaded engine with nothing in its batch.

    Args:
        engine: It holds at least 256 tokens.
        token_ids: The text as the other model's tokenizer has it; None = this one's own.

    Raises:
        EngineError: A token is not in the vocabulary, or the engine failed.
    """
    own_ids = engine.tokenizer.encode(TEXT, add_bos=engine.tokenizer.adds_bos, parse_control=False)
    token_ids = own_ids if token_ids is None else token_ids
    if len(token_ids) <= NUM_GIVEN or not all(0 <= token < engine.tokenizer.vocab_size for token in token_ids):
        raise EngineError("the text's tokens are not in the vocabulary: the two are not the same model")
    given, forced = token_ids[:NUM_GIVEN], token_ids[NUM_GIVEN:]
    sequence = Sequence(1, list(given), len(given), len(forced), SamplingParams(temperature=0, num_logprobs=1))
    engine.insert(sequence, LogitsEditor(sequence.sampling, _ForcedText(forced), given))
    likeliest_ids: list[int] = []
    logprobs: list[float] = []
    while len(logprobs) < len(forced):
        num_tokens = min(engine.limits.step_tokens, sequence.num_pending)
        result = engine.step(StepPlan((Chunk(sequence, sequence.num_computed, num_tokens),)), lambda: False)
        sequence.num_computed = result.num_computed.get(1, sequence.num_computed)
        if 1 in result.errors:
            raise result.errors[1]
        if 1 in result.tokens:
            (thought,) = result.likelihoods[1]
            likeliest_ids.append(thought.top[0].token_id if thought.top else thought.drawn.token_id)
            logprobs.append(thought.drawn.logprob)
            sequence.token_ids += result.tokens[1]
    engine.remove(1)
    return ParityReading(
        own_ids=own_ids,
        token_ids=token_ids,
        likeliest_ids=likeliest_ids,
        mean_logprob=sum(logprobs) / len(logprobs),
    )
