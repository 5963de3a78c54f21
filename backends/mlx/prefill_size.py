"""How many tokens mlx evaluates at once: what cannot be given up in the middle is kept short. Pure arithmetic."""

METAL_STEP_TOKENS = 512
CPU_STEP_TOKENS = 64
"""The most of a step, where the config does not say."""
FIRST_STEP_TOKENS = 8
"""Of a step before the machine's rate is known; an unknown CPU may do ten tokens a second."""
TARGET_STEP_S = 0.4
"""About what a step may take, so that a cancel acts in 1 s."""
MIN_STEP_TOKENS = 2


class PrefillSize:
    """How many tokens a step may evaluate, so that it takes about TARGET_STEP_S.

    Attributes:
        num_tokens: MIN_STEP_TOKENS to `max_tokens`, or that if it is less.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens
        self.num_tokens = min(FIRST_STEP_TOKENS, max_tokens)

    def adapt(self, num_tokens: int, duration_s: float) -> None:
        """Size the next step by the rate just seen."""
        target = int(num_tokens / max(duration_s, 1e-6) * TARGET_STEP_S)
        if duration_s <= TARGET_STEP_S:  # a short one, because there was no more to do, says nothing of longer ones
            target = max(target, self.num_tokens)
        # At most doubled: the first steps include the compilation of kernels and tell little.
        self.num_tokens = min(self._max_tokens, max(MIN_STEP_TOKENS, min(self.num_tokens * 2, target)))
