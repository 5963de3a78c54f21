"""Edits the logits of one sequence before a token is drawn, and reports log-probabilities: one code for both engines.

Works on the host, on one row of float32 logits; sequences that ask for nothing of this have no editor, and their logits
never leave the engine.
"""

import abc
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable
from collections.abc import Sequence as Tokens
from typing import Any, NamedTuple

import msgspec
import numpy as np

from backends.row_ids import is_row
from backends.wire.request import SamplingParams

Logits = np.ndarray[Any, np.dtype[np.float32]]
"""float32, shape (vocab_size,), on the host."""
Integers = np.ndarray[Any, np.dtype[np.int64]]

LOWEST_LOGPROB = -9999.0
"""Reported instead of minus infinity, which JSON cannot say.

Source: OpenAI's API reference, chat completion object, `logprob`: "the value -9999.0 is used to signify that the token
is very unlikely".
"""
_STRONGEST_PENALTY = 1e6
"""Stronger repetition penalties count as this one, which decides every draw already; float32 ends at 3.4e38."""
_BLOCK = 128
"""Tokens of a block (those at equal distance) whose maximum is looked at first where the likeliest are searched."""
_INITIAL_CAPACITY = 64


class Candidate(msgspec.Struct, frozen=True):
    """One token and the natural logarithm of its probability, finite and at least LOWEST_LOGPROB."""

    token_id: int
    logprob: float


class Likelihoods(msgspec.Struct, frozen=True):
    """What the model thought at one position: the token that was drawn, and the likeliest ones, the likeliest first."""

    drawn: Candidate
    top: tuple[Candidate, ...]


class TokenScore(msgspec.Struct, frozen=True):
    """What the model thought of a prompt's token at its place, as if it had been drawn.

    Attributes:
        rank: How many tokens are at least as likely, itself too; >= 1.
    """

    likelihoods: Likelihoods
    rank: int


class Matcher(abc.ABC):
    """Follows one answer through its grammar; raises ConstraintError where that turned out too complex."""

    @abc.abstractmethod
    def mask(self, logits: Logits) -> None:
        """Set the logits of all tokens that cannot come next to -inf, in place.

        Where the grammar is complete only end tokens are left; never is nothing left. A model without end tokens cannot
        say that it is done: there a complete grammar leaves the logits as they are, and the caller ends the sequence by
        `is_complete`.
        """

    @abc.abstractmethod
    def accept(self, token_id: int) -> None:
        """Go on by the token that was drawn; an end token after a complete answer is fine."""

    def num_allowed(self, token_ids: Tokens[int]) -> int:
        """Return how many of these tokens could come next, one after the other; all where that is not known."""
        return len(token_ids)

    @property
    @abc.abstractmethod
    def is_complete(self) -> bool:
        """Whether the answer is whole and nothing but an end token can follow; the sequence can end without one."""


class TokenCounts:
    """How often each token occurs among the last ones of a growing list, ready to index logits with.

    Every `push` takes the same short time, however long the list.

    Args:
        window: How many of the last tokens count, >= 1; None = all.
    """

    def __init__(self, window: int | None, token_ids: Iterable[int] = ()) -> None:
        self._window = window
        self._recent: deque[int] = deque()
        self._places: dict[int, int] = {}
        self._ids: Integers = np.zeros(_INITIAL_CAPACITY, np.int64)
        self._counts: Integers = np.zeros(_INITIAL_CAPACITY, np.int64)
        for token_id in token_ids:
            self.push(token_id)

    def push(self, token_id: int) -> None:
        """Append a token; the oldest one of a full window drops out."""
        if self._window is not None:
            if len(self._recent) == self._window:
                self._drop(self._recent.popleft())
            self._recent.append(token_id)
        place = self._places.get(token_id)
        if place is None:
            place = self._places[token_id] = len(self._places)
            if place == len(self._ids):
                self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._ids[place] = token_id
            self._counts[place] = 0
        self._counts[place] += 1

    def within(self, vocab_size: int) -> tuple[Integers, Integers]:
        """Return the different tokens below `vocab_size`, in any order, and how often each occurs; both int64, (n,)."""
        num_ids = len(self._places)
        ids, counts = self._ids[:num_ids], self._counts[:num_ids]
        if num_ids and int(ids.max()) >= vocab_size:
            is_inside = ids < vocab_size
            return ids[is_inside], counts[is_inside]
        return ids, counts

    def _drop(self, token_id: int) -> None:
        place = self._places[token_id]
        self._counts[place] -= 1
        if self._counts[place] == 0:
            del self._places[token_id]
            last = len(self._places)
            if place != last:
                self._ids[place], self._counts[place] = self._ids[last], self._counts[last]
                self._places[int(self._ids[place])] = place


class HeldEnds(NamedTuple):
    """Tokens that are not drawn before the answer has `num_tokens`, unless a constraint leaves nothing else."""

    token_ids: Collection[int]
    num_tokens: int


class LogitsEditor:
    """One sequence's edits; `edit` before a draw, `accept` after it.

    A second `edit` without `accept` in between starts over: the draw of the first was dropped. All that it does may
    raise ConstraintError: the constraint cannot be followed any further.

    Args:
        sampling: Bias, penalties and the number of log-probabilities.
        matcher: The constraint, in its initial state; None = none.
        prompt_ids: Tokens of the prompt; the repetition penalty counts them, but for the rows of pictures among them.
        held: Ends that come too early; None = none do.

    Attributes:
        num_accepted: Tokens of the answer that it was told.
    """

    def __init__(
        self,
        sampling: SamplingParams,
        matcher: Matcher | None,
        prompt_ids: Tokens[int],
        held: HeldEnds | None = None,
    ) -> None:
        self._sampling = sampling
        self._matcher = matcher
        self._held_ids = np.array([] if held is None else sorted(held.token_ids), np.int64)
        self._num_held = 0 if held is None else held.num_tokens
        self._labelled = np.array(sorted({each for ids in sampling.label_ids for each in ids}), np.int64)
        biases: dict[int, float] = {}
        for token_id, bias in sampling.logit_bias:
            biases[token_id] = biases.get(token_id, 0.0) + bias
        self._bias_ids = np.array(list(biases), np.int64)
        self._biases = np.array(list(biases.values()), np.float32)
        self._repeated = self._answered = None
        if sampling.repetition_penalty != 1:
            texts = (token_id for token_id in prompt_ids if not is_row(token_id))
            self._repeated = TokenCounts(sampling.repetition_window, texts)
        if sampling.frequency_penalty or sampling.presence_penalty:
            self._answered = TokenCounts(sampling.penalty_window)
        counts = (self._repeated, self._answered)
        edits = (matcher, held, *counts)
        self._is_unedited = not biases and not sampling.label_ids and all(each is None for each in edits)
        self._raw: Logits | None = None
        self.num_accepted = 0

    @property
    def is_complete(self) -> bool:
        """Whether the constraint is met and leaves nothing to follow."""
        return self._matcher is not None and self._matcher.is_complete

    def num_allowed(self, token_ids: Tokens[int]) -> int:
        """Return how many of these tokens the constraint allows to come next, one after the other."""
        return len(token_ids) if self._matcher is None else self._matcher.num_allowed(token_ids)

    def edit(self, logits: Logits) -> None:
        """Change one row of logits in place; float32, shape (vocab_size,).

        The row must stay as it is until `accept` where log-probabilities are wanted. Ids beyond the row, which a
        model's tokenizer may know and its last layer may not, are left out.
        """
        if self._sampling.num_logprobs is not None or self._awaits_label:
            self._raw = logits if self._is_unedited else logits.copy()
        if len(self._bias_ids):
            is_inside = (self._bias_ids >= 0) & (self._bias_ids < len(logits))
            logits[self._bias_ids[is_inside]] += self._biases[is_inside]
        if self._repeated is not None:
            self._penalize_repetition(logits, self._repeated)
        if self._answered is not None:
            ids, counts = self._answered.within(len(logits))
            penalties = counts * self._sampling.frequency_penalty + self._sampling.presence_penalty
            logits[ids] -= penalties.astype(np.float32)
        if self._matcher is not None:
            self._matcher.mask(logits)
        if self._num_held > self.num_accepted:
            self._hold_ends(logits)
        if self._awaits_label:
            _keep_only(logits, self._labelled)

    def accept(self, token_id: int) -> Likelihoods | None:
        """Take over the token that was drawn from the row last edited; return its log-probabilities when wanted."""
        is_label = self._awaits_label
        self.num_accepted += 1
        for counts in (self._repeated, self._answered):
            if counts is not None:
                counts.push(token_id)
        if self._matcher is not None:
            self._matcher.accept(token_id)
        raw, self._raw = self._raw, None
        if raw is None:
            return None
        if is_label:
            return label_likelihoods(raw, token_id, self._sampling.label_ids)
        return likelihoods(raw, token_id, self._sampling.num_logprobs or 0)

    def draw(self, logits: Logits, sample: Callable[[], int]) -> tuple[int, Likelihoods | None]:
        """Edit a row, let `sample` draw from it, and take the token over; return both."""
        self.edit(logits)
        token_id = sample()
        return token_id, self.accept(token_id)

    @property
    def _awaits_label(self) -> bool:
        return self.num_accepted == 0 and bool(self._sampling.label_ids)

    def _hold_ends(self, logits: Logits) -> None:
        """Forbid end tokens, unless the constraint has left nothing else."""
        ids = self._held_ids[self._held_ids < len(logits)]
        held = logits[ids]
        logits[ids] = -np.inf
        if self._matcher is not None and not np.isfinite(logits).any():
            logits[ids] = held

    def _penalize_repetition(self, logits: Logits, repeated: TokenCounts) -> None:
        """Divide positive logits, multiply negative ones; what the model forbids stays forbidden."""
        ids, _ = repeated.within(len(logits))
        values = logits[ids]
        penalty = min(max(self._sampling.repetition_penalty, 1 / _STRONGEST_PENALTY), _STRONGEST_PENALTY)
        logits[ids] = values * np.where(values > 0, np.float32(1 / penalty), np.float32(penalty))


def create_editor(
    sampling: SamplingParams, matcher: Matcher | None, prompt_ids: Tokens[int], held: HeldEnds | None = None
) -> LogitsEditor | None:
    """Return what edits a sequence's logits; None where they need not be seen on the host."""
    is_needed = (
        matcher is not None
        or held is not None
        or bool(sampling.logit_bias)
        or sampling.num_logprobs is not None
        or bool(sampling.label_ids)
        or sampling.repetition_penalty != 1
        or sampling.frequency_penalty != 0
        or sampling.presence_penalty != 0
    )
    return LogitsEditor(sampling, matcher, prompt_ids, held) if is_needed else None


def likelihoods(logits: Logits, token_id: int, num_top: int) -> Likelihoods:
    """Return the log-probabilities of a drawn token and of the likeliest ones.

    Args:
        logits: Unedited, float32, shape (vocab_size,); not changed.
        num_top: How many of the likeliest; of equal ones the lower ids. Fewer are returned where the model gives fewer
            a chance at all.
    """
    normalizer = _log_sum(logits)
    if normalizer is None:
        return Likelihoods(Candidate(token_id, LOWEST_LOGPROB), ())
    top = _likeliest(logits, num_top)
    return Likelihoods(
        _candidate(logits, (token_id,), normalizer),
        tuple(_candidate(logits, (int(top_id),), normalizer) for top_id in top),
    )


def label_likelihoods(logits: Logits, token_id: int, label_ids: Tokens[Tokens[int]]) -> Likelihoods:
    """Return the log-probabilities of a drawn token, and in `top` of each label, in the labels' order.

    Args:
        logits: As in `likelihoods`.
        label_ids: The tokens that write each label, none in two of them; the first stands for all in what is returned.
    """
    normalizer = _log_sum(logits)
    if normalizer is None:
        return Likelihoods(Candidate(token_id, LOWEST_LOGPROB), ())
    labels = tuple(_candidate(logits, ids, normalizer) for ids in label_ids)
    return Likelihoods(_candidate(logits, (token_id,), normalizer), labels)


def _log_sum(logits: Logits) -> float | None:
    """Return the logarithm of the sum of the exponentials; None where a model is broken and there is none."""
    best = float(logits.max())
    if not math.isfinite(best):
        return None
    exponentials = logits - np.float32(best)
    np.exp(exponentials, out=exponentials)
    return best + math.log(float(exponentials.sum()))


def _candidate(logits: Logits, token_ids: Tokens[int], normalizer: float) -> Candidate:
    """Return the log-probability of all these tokens together, under the id of the first."""
    # A tokenizer may know tokens that the model's last layer does not.
    logprobs = [float(logits[token_id]) - normalizer for token_id in token_ids if token_id < len(logits)]
    best = max(logprobs, default=-math.inf)
    if best < LOWEST_LOGPROB:
        return Candidate(token_ids[0], LOWEST_LOGPROB)
    rest = math.fsum(math.exp(logprob - best) for logprob in logprobs)
    return Candidate(token_ids[0], max(best + math.log(rest), LOWEST_LOGPROB))


def _keep_only(logits: Logits, token_ids: Integers) -> None:
    """Set the logits of all other tokens to -inf, in place."""
    inside = token_ids[token_ids < len(logits)]
    kept = logits[inside]
    logits[:] = -np.inf
    logits[inside] = kept


def score(logits: Logits, token_id: int, num_top: int) -> TokenScore:
    """Judge a prompt's token by the logits before it; arguments as in `likelihoods`."""
    least = logits[token_id] if token_id < len(logits) else -np.inf
    return TokenScore(likelihoods(logits, token_id, num_top), int(np.count_nonzero(logits >= least)) or 1)


def _likeliest(logits: Logits, num_top: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the ids of the highest finite logits, the highest first, of equal ones the lower id first.

    At least `num_top` tokens reach the `num_top`-th highest of the blocks' maxima, so that all tokens wanted are among
    those that do: one look at every token instead of a partition of all of them.
    """
    num_top = min(num_top, len(logits))
    if num_top == 0:
        return np.empty(0, np.int64)
    num_blocks = len(logits) // _BLOCK
    if num_blocks >= num_top:
        maxima = logits[: num_blocks * _BLOCK].reshape(_BLOCK, num_blocks).max(axis=0)
        candidates = np.flatnonzero(logits >= np.partition(maxima, -num_top)[-num_top])
    else:
        candidates = np.arange(len(logits))
    values = logits[candidates]
    order = np.argsort(-values, kind="stable")[:num_top]
    return candidates[order][np.isfinite(values[order])]
