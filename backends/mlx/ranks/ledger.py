"""Whether ranks have done the same: a running digest of what their calls came to. Pure."""

import zlib

import msgspec

from backends.step import StepResult


class RanksDisagreeError(Exception):
    """This rank has computed something else than rank 0, or lacks what it speaks of; the group is of no use."""


class Ledger:
    """What the calls of one loaded model have come to so far; equal on ranks that agree.

    Attributes:
        value: The digest, 0 before the first call.
    """

    def __init__(self) -> None:
        self.value = 0

    def note(self, *outcome: object) -> None:
        """Add what a call came to; plain values that msgpack knows."""
        self.value = zlib.crc32(msgspec.msgpack.encode(outcome), self.value)

    def note_step(self, result: StepResult) -> None:
        """Add what a step came to, but for what rank 0 alone knows: errors of editors and likelihoods.

        The tokens themselves are told with the next step.
        """
        self.note(sorted(result.num_computed.items()), sorted(result.prompt_scores))
