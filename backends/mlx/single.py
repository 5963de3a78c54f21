"""Decodes one sequence that is alone in its steps outside mlx-lm's generator, with the tokens that were drafted for it.

The generator draws one token of each sequence in a step. Here a step evaluates the tokens of a draft as further ones of
the same sequence, draws as long as they are right, and once more, and cuts the rest off the cache. Draws are those that
the generator would make: each has a key of seed and position.
"""

from typing import Any, Final

import mlx.core as mx
import numpy as np

from backends.errors import BackendError
from backends.logits import LogitsEditor
from backends.mlx.caches import KeptCache
from backends.mlx.sampler import Sampler, SeededSampler
from backends.step import Chunk, StepResult

STEPS_WITHOUT: Final = 16
"""So many steps without a draft a sequence stays out of the generator: to go back in copies its cache."""


class SingleDecoder:
    """Makes the steps of a model for one sequence.

    Args:
        model: mlx-lm's.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def step(
        self, chunk: Chunk, kept: KeptCache, sampler: Sampler, editor: LogitsEditor | None, result: StepResult
    ) -> None:
        """Evaluate what the cache lacks of the sequence's tokens and the draft; add what is drawn to the result.

        Args:
            chunk: Of a sequence that decodes.
            kept: Its cache, of fewer tokens than it has; grows by the tokens that are right.
        """
        sequence = chunk.sequence
        inputs = [*sequence.token_ids[kept.num_tokens :], *chunk.draft]
        logits = self._model(mx.array([inputs]), cache=kept.layers)[0, -1 - len(chunk.draft) :, :]
        draws = _Draws(logits, sampler, editor, sequence.num_output_tokens)
        kept.num_tokens += len(inputs)
        num_right = result.draw_along(chunk, editor, lambda num: draws.draw(num, sequence.sequence_id, result))
        kept.cut(chunk.end + num_right)
        result.num_computed[sequence.sequence_id] = kept.num_tokens


class _Draws:
    """Draws from the rows of one evaluation, in order.

    Args:
        logits: Shape (rows, vocab), any float type.
        position: Of the first draw among the sequence's output tokens.
    """

    def __init__(self, logits: mx.array, sampler: Sampler, editor: LogitsEditor | None, position: int) -> None:
        self._logits = logits
        self._sampler = sampler
        self._editor = editor
        self._position = position
        self._token_ids: list[int] = []
        if editor is None:
            # All in one evaluation: those behind the first that differs from the draft are not asked for.
            drawn = [self._drawn(logits[row : row + 1], row) for row in range(logits.shape[0])]
            self._token_ids = np.array(mx.concatenate(drawn)).tolist()
        else:
            mx.eval(logits)

    def draw(self, row: int, sequence_id: int, result: StepResult) -> bool:
        """Draw from a row and add that to the result; return whether it could be."""
        if self._editor is None:
            result.add(sequence_id, self._token_ids[row], None)
            return True
        edited = np.array(self._logits[row].astype(mx.float32))
        try:
            drawn = self._editor.draw(edited, lambda: int(np.array(self._drawn(mx.array(edited)[None], row))[0]))
        except BackendError as exc:  # the editor's
            result.errors[sequence_id] = exc
            return False
        result.add(sequence_id, *drawn)
        return True

    def _drawn(self, logits: mx.array, row: int) -> mx.array:
        """Draw from logits of shape (1, vocab), as the generator would."""
        if isinstance(self._sampler, SeededSampler):
            self._sampler.position = self._position + row
        return self._sampler(logits - mx.logsumexp(logits, axis=-1, keepdims=True))
