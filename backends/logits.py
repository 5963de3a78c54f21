"""Edits the logits of one sequence before a token is drawn, and reports log-probabilities: one code for both engines.

Works on the host, on one row of float32 logits; sequences that ask for nothing of this have no editor, and their logits
never leave the engine.
"""

import math
from collections.abc import Sequence as Tokens

import msgspec
import numpy as np

from backends.constraints.base import Logits, Matcher
from backends.sequence import SamplingParams


class Candidate(msgspec.Struct, frozen=True):
    """One token and the natural logarithm of its probability."""

    token_id: int
    logprob: float


class Likelihoods(msgspec.Struct, frozen=True):
    """What the model thought at one position: the token that was drawn, and the likeliest ones, the likeliest first."""

    drawn: Candidate
    top: tuple[Candidate, ...]


class LogitsEditor:
    """One sequence's edits; `edit` before a draw, `accept` after it.

    Args:
        sampling: Bias, penalties and the number of log-probabilities.
        matcher: The constraint, in its initial state; None = none.
        prompt_ids: Tokens of the prompt; the repetition penalty counts them.
    """

    def __init__(self, sampling: SamplingParams, matcher: Matcher | None, prompt_ids: Tokens[int]) -> None:
        self._sampling = sampling
        self._matcher = matcher
        self._token_ids = list(prompt_ids)
        self._num_prompt_tokens = len(prompt_ids)
        self._bias_ids = np.array([token_id for token_id, _ in sampling.logit_bias], np.int64)
        self._biases = np.array([bias for _, bias in sampling.logit_bias], np.float32)
        self._raw: Logits | None = None

    def edit(self, logits: Logits) -> None:
        """Change one row of logits in place; float32, shape (vocab_size,).

        Raises:
            ConstraintError: The constraint cannot be followed any further.
        """
        if self._sampling.num_logprobs is not None:
            self._raw = logits.copy()
        if len(self._bias_ids):
            logits[self._bias_ids] += self._biases
        self._penalize(logits)
        if self._matcher is not None:
            self._matcher.mask(logits)

    def accept(self, token_id: int) -> Likelihoods | None:
        """Take over the token that was drawn from the row last edited; return its log-probabilities when wanted."""
        self._token_ids.append(token_id)
        if self._matcher is not None:
            self._matcher.accept(token_id)
        raw, self._raw = self._raw, None
        if raw is None:
            return None
        return likelihoods(raw, token_id, self._sampling.num_logprobs or 0)

    def _penalize(self, logits: Logits) -> None:
        sampling = self._sampling
        if sampling.repetition_penalty != 1:
            window = self._token_ids[-sampling.repetition_window :] if sampling.repetition_window else self._token_ids
            seen = np.unique(np.array(window, np.int64))
            values = logits[seen]
            penalty = np.float32(sampling.repetition_penalty)
            logits[seen] = np.where(values > 0, values / penalty, values * penalty)
        if sampling.frequency_penalty or sampling.presence_penalty:
            answer = self._token_ids[self._num_prompt_tokens :]
            if sampling.penalty_window is not None:
                answer = answer[-sampling.penalty_window :]
            seen, counts = np.unique(np.array(answer, np.int64), return_counts=True)
            logits[seen] -= (counts * sampling.frequency_penalty + sampling.presence_penalty).astype(np.float32)


def needs_editor(sampling: SamplingParams, *, is_constrained: bool) -> bool:
    """Tell whether a sequence's logits have to be seen on the host."""
    return (
        is_constrained
        or bool(sampling.logit_bias)
        or sampling.num_logprobs is not None
        or sampling.repetition_penalty != 1
        or sampling.frequency_penalty != 0
        or sampling.presence_penalty != 0
    )


def likelihoods(logits: Logits, token_id: int, num_top: int) -> Likelihoods:
    """Return the log-probabilities of a drawn token and of the likeliest ones.

    Args:
        logits: Unedited, float32, shape (vocab_size,).
        token_id: What was drawn.
        num_top: How many of the likeliest; of equal ones the lower ids.
    """
    best = float(logits.max())
    normalizer = best + math.log(float(np.exp(logits - best, dtype=np.float32).sum(dtype=np.float64)))
    num_top = min(num_top, len(logits))
    top: list[int] = []
    if num_top:
        threshold = np.partition(logits, -num_top)[-num_top]
        candidates = np.flatnonzero(logits >= threshold)
        order = np.argsort(-logits[candidates], kind="stable")[:num_top]
        top = [int(candidate) for candidate in candidates[order]]
    return Likelihoods(
        Candidate(token_id, float(logits[token_id]) - normalizer),
        tuple(Candidate(candidate, float(logits[candidate]) - normalizer) for candidate in top),
    )
