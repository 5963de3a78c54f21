"""How many threads an engine computes with, and why so many, as workers tell it."""

import enum

import msgspec


class ThreadsReason(enum.StrEnum):
    """Why a step has as many threads as it has."""

    SET = "set"
    """A setting says so."""
    CORES_FREE = "cores_free"
    """There are cores for so many."""
    CORES_BUSY = "cores_busy"
    """Other programs use the cores: there are fewer, or all, which sleep while they wait for each other."""


class ThreadsUsed(msgspec.Struct, frozen=True, array_like=True):
    """With how many a step was computed."""

    num: int
    reason: ThreadsReason


class ThreadsSince(msgspec.Struct, frozen=True, array_like=True):
    """From when on a sequence was computed with how many.

    Attributes:
        at_ms: After its receipt, milliseconds.
    """

    at_ms: float
    num: int
    reason: ThreadsReason
