"""Which engine is expected to answer sooner: a pure function of what was measured and what is loaded.

    expected time = load or swap, where the engine is not resident
                  + prompt tokens to compute / prefill rate
                  + expected answer tokens / decode rate

A swap pays for itself over several requests, so it need not be won back by one: what the resident engine has cost
more than the other would have, over the last requests, is taken off the price of the swap (`credit_s`). Requests that
are better on the one engine and on the other in turns cancel out there, so that they cause no swaps. The rule is that
of the ski-rental problem: no sequence of requests is served at more than about twice its best cost.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from registry.engines import EngineKind
from router.models.auto.speeds import EngineSpeeds, bucket_of
from router.models.size import RequestSize

MARGIN: Final = 0.1
"""The other engine must be expected to need this much less, or all stays as it is: measurements differ by as much."""
SWAP_PATIENCE_S: Final = 20.0
"""After a swap that was decided here, so long no other is: who has just been loaded serves for a while."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How it stands with a model.

    Attributes:
        resident: The engine it is loaded on, or None.
        is_busy: Whether requests run or wait on that engine; a swap would make them, and the new one, wait.
        num_cached_tokens: Tokens of the new prompt that the resident engine probably still has.
        credit_s: What the last requests would have taken less on the other engine, 0 or more.
        since_swap_s: Seconds since the last swap that was decided here; None = there was none.
    """

    resident: EngineKind | None = None
    is_busy: bool = False
    num_cached_tokens: int = 0
    credit_s: float = 0.0
    since_swap_s: float | None = None


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine is expected to take, seconds.

    Attributes:
        load_s: Until the model is loaded, the other engine's unload included; 0 where it is resident.
    """

    engine: EngineKind
    load_s: float
    prefill_s: float
    decode_s: float

    @property
    def run_s(self) -> float:
        """Without the load."""
        return self.prefill_s + self.decode_s

    @property
    def total_s(self) -> float:
        """From the request to its answer's end."""
        return self.load_s + self.run_s


class AutoDecision(msgspec.Struct, frozen=True, kw_only=True):
    """The engine, and the numbers that led to it.

    Attributes:
        engine: The choice; None = the history does not say, and the rule without history holds.
        expectations: Of each engine that has figures, the choice first.
        gain_s: What the other engine would have taken less without any load; negative = more. It goes into the credit.
    """

    engine: EngineKind | None
    why: str
    expectations: tuple[Expectation, ...] = ()
    gain_s: float = 0.0


def decide(speeds: Mapping[EngineKind, EngineSpeeds], size: RequestSize, standing: Standing) -> AutoDecision:
    """Pick an engine.

    Args:
        speeds: Per engine that could serve, what was measured of it.
    """
    resident = standing.resident
    expected = [
        expectation
        for own in speeds.values()
        if (expectation := expect(own, size, standing, speeds.get(resident) if resident else None)) is not None
    ]
    expected.sort(key=lambda each: (each.total_s, each.engine))
    if len(expected) < 2:  # noqa: PLR2004 - a choice is between two
        return AutoDecision(engine=None, why="the engines have not been compared on this machine", expectations=())
    here = next((each for each in expected if each.engine == resident), None)
    if here is None:
        best = expected[0]
        return _decision(best, expected, f"nothing is loaded, and {best.engine} is expected to be done first", 0.0)
    other = min((each for each in expected if each.engine != resident), key=lambda each: each.total_s)
    gain_s = here.run_s - other.run_s
    stay = _why_to_stay(here, other, standing)
    if stay is not None:
        return _decision(here, expected, stay, gain_s)
    return _decision(other, expected, f"{other.engine} is expected to save more than the swap costs", gain_s)


def expect(
    speeds: EngineSpeeds, size: RequestSize, standing: Standing, resident: EngineSpeeds | None
) -> Expectation | None:
    """Return what an engine is expected to take; None where a figure that is needed was not measured.

    Args:
        resident: Of the engine that would have to go, or None.
    """
    bucket = bucket_of(size.num_prompt_tokens)
    prefill, decode = speeds.prefill[bucket], speeds.decode[bucket]
    is_resident = standing.resident == speeds.engine
    if prefill is None or decode is None or (speeds.load_s is None and not is_resident):
        return None
    num_cached = min(standing.num_cached_tokens, size.num_prompt_tokens - 1) if is_resident else 0
    load_s = 0.0
    if not is_resident:
        load_s = (speeds.load_s or 0.0) + ((resident.unload_s or 0.0) if resident is not None else 0.0)
    return Expectation(
        engine=speeds.engine,
        load_s=load_s,
        prefill_s=(size.num_prompt_tokens - num_cached) / prefill,
        decode_s=size.num_answer_tokens / decode,
    )


def new_credit_s(standing: Standing, decision: AutoDecision) -> float:
    """Return the credit after a request was sent where the decision says."""
    if decision.engine is None or decision.engine != standing.resident:
        return 0.0  # who was just loaded starts without a debt
    most = max((each.load_s for each in decision.expectations), default=0.0)
    return min(max(0.0, standing.credit_s + decision.gain_s), 2 * most)


def _why_to_stay(here: Expectation, other: Expectation, standing: Standing) -> str | None:
    """Return why the resident engine serves; None = the other one is to be loaded."""
    if other.run_s >= (1 - MARGIN) * here.run_s:
        return f"{here.engine} is loaded, and {other.engine} is not expected to be clearly faster"
    if standing.is_busy:
        return f"{here.engine} is loaded and at work; a swap would make everybody wait"
    if standing.since_swap_s is not None and standing.since_swap_s < SWAP_PATIENCE_S:
        return f"{here.engine} was loaded {standing.since_swap_s:.0f} s ago; no swap within {SWAP_PATIENCE_S:g} s"
    price_s = max(0.0, other.load_s - standing.credit_s)
    if other.run_s + price_s >= (1 - MARGIN) * here.run_s:
        return f"{here.engine} is loaded, and the swap would cost more than it saves"
    return None


def _decision(choice: Expectation, expected: list[Expectation], why: str, gain_s: float) -> AutoDecision:
    ordered = (choice, *(each for each in expected if each.engine != choice.engine))
    return AutoDecision(engine=choice.engine, why=why, expectations=ordered, gain_s=gain_s)
