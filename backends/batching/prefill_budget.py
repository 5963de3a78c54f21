"""How much prefill a step may do beside running streams, so that their readers see no gap: pure arithmetic.

Observations of steps go in, a token budget comes out. No clock in here, and no knowledge of who computes what.

Beside a long prompt, a step in which sequences decode is to take at most MAX_SLOWDOWN times what it takes without
prefill, as far as MIN_TOKENS of prefill allow. Both the time of a step without prefill and the time that one prefill
token adds are medians of the last few steps, so that a hiccup of the machine changes nothing. Short prompts are done at
once.
"""

import statistics
from collections import deque

MAX_SLOWDOWN = 2.5
"""A step with prefill may take this many times one without; below the factor of 3 that readers are promised."""
SAFE_TOKENS = 16
"""Budget before anything is known of the machine."""
MIN_TOKENS = 4
"""Budget that no cost lowers: the first prefill token of a step costs as much as three more (a batch of one is decoded
by quicker kernels), so that with fewer a long prompt takes several times as long, for gaps that are hardly shorter."""
MAX_GROWTH = 2
"""The budget at most doubles from what was last seen at work: costs are known for sizes that were tried."""
PROBE_INTERVAL = 24
"""After so many steps with prefill, one goes without: a machine that became slower must not look as if prefill had."""
SHORT_PREFILL_TOKENS = 128
"""A prompt that has no more than this to compute is short: one gap for running streams, and not a stutter."""
SHORT_GAP_S = 0.5
"""What the short prompts in one step may take: many small steps would take longer in all, for everybody."""
_SHORT_SAFE_TOKENS = 64
_NUM_SAMPLES = 5
_MIN_COST_S = 1e-7


class PrefillBudget:
    """Learns from the steps of one engine with one model."""

    def __init__(self) -> None:
        # By the bit length of the number of decoding sequences: a step of 8 takes longer than one of 2.
        self._decode_s: dict[int, deque[float]] = {}
        self._mixed_costs_s: deque[float] = deque(maxlen=_NUM_SAMPLES)
        self._prefill_costs_s: deque[float] = deque(maxlen=_NUM_SAMPLES)
        self._last_tokens: int | None = None
        self._num_mixed = 0

    def observe(self, num_decode_tokens: int, num_prefill_tokens: int, duration_s: float) -> None:
        """Learn from a step.

        Args:
            num_decode_tokens: Sequences that got their next token without a prefill, >= 0.
            num_prefill_tokens: Tokens that were prefilled, >= 0.
            duration_s: What the step took, > 0.
        """
        if not num_prefill_tokens:
            self._num_mixed = 0
            if num_decode_tokens:
                samples = self._decode_s.setdefault(num_decode_tokens.bit_length(), deque(maxlen=_NUM_SAMPLES))
                samples.append(duration_s)
            return
        if not num_decode_tokens:
            self._prefill_costs_s.append(duration_s / num_prefill_tokens)
            return
        self._last_tokens = num_prefill_tokens
        self._num_mixed += 1
        decode_s = self._decode_step_s(num_decode_tokens)
        if decode_s is not None:
            self._mixed_costs_s.append(max(_MIN_COST_S, (duration_s - decode_s) / num_prefill_tokens))

    def budget(self, num_decode_tokens: int, max_tokens: int) -> int:
        """Return how many tokens to prefill in the next step.

        Args:
            num_decode_tokens: Sequences that decode in it, >= 1.
            max_tokens: The most that the step can take, >= 1.

        Returns:
            MIN_TOKENS (or `max_tokens`, if that is less) to `max_tokens`; 0 now and then, for a step that shows what
            decode takes alone.
        """
        if self._num_mixed >= PROBE_INTERVAL:
            return 0
        decode_s = self._decode_step_s(num_decode_tokens)
        costs_s = self._mixed_costs_s or self._prefill_costs_s
        if decode_s is None or not costs_s:
            return min(max_tokens, SAFE_TOKENS)
        budget = int((MAX_SLOWDOWN - 1) * decode_s / statistics.median(costs_s))
        most = max_tokens if self._last_tokens is None else min(max_tokens, self._last_tokens * MAX_GROWTH)
        return min(max_tokens, max(MIN_TOKENS, min(budget, most)))

    def short_budget(self, max_tokens: int) -> int:
        """Return how many tokens of short prompts to prefill in the next step beside running streams.

        Args:
            max_tokens: The most that the step can take, >= 1.

        Returns:
            1 to `max_tokens`.
        """
        costs_s = self._prefill_costs_s or self._mixed_costs_s
        num_tokens = int(SHORT_GAP_S / max(_MIN_COST_S, statistics.median(costs_s))) if costs_s else _SHORT_SAFE_TOKENS
        return max(1, min(num_tokens, max_tokens))

    def _decode_step_s(self, num_decode_tokens: int) -> float | None:
        """Return what a step without prefill takes: by steps with about as many sequences, or with the next fewer."""
        if not self._decode_s:
            return None
        wanted = num_decode_tokens.bit_length()
        fewer = [size for size in self._decode_s if size <= wanted]
        return statistics.median(self._decode_s[max(fewer) if fewer else min(self._decode_s)])
