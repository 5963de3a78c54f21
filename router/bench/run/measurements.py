"""What a running benchmark has measured so far, and what follows from it for the rest. No I/O.

Not here: the rules by which the next cycle is chosen (`schedule`).
"""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import msgspec

from registry.bench_record import BenchLoad, BenchSample
from router.bench.figures.statistics import ratio_interval
from router.bench.plan.scenarios import Scenario
from router.bench.plan.schedule import MIN_ROUNDS, ScenarioState, is_tight

_Figure = Callable[[BenchSample], float]


class Measurements:
    """Those of one run.

    Attributes:
        loads: Loads, in their order.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._costs_s: dict[tuple[int, str], list[float]] = defaultdict(list)
        self._load_costs_s: dict[int, list[float]] = defaultdict(list)
        self._rounds: dict[tuple[int, str], set[int]] = defaultdict(set)
        self.samples: list[BenchSample] = []
        self.loads: list[BenchLoad] = []

    def add_round(
        self, contestant: int, scenario: str, number: int, samples: Sequence[BenchSample], cost_s: float
    ) -> None:
        """Write down one round of one scenario, and what it took."""
        self.samples += samples
        self._rounds[contestant, scenario].add(number)
        self._costs_s[contestant, scenario].append(cost_s)

    def add_load(self, load: BenchLoad, cost_s: float) -> None:
        """Write down a load, and what it took with everything before the first measured request."""
        self.loads.append(load)
        self._load_costs_s[load.contestant].append(cost_s)

    def note_unload(self, contestant: int, unload_ms: float | None, freed_bytes: int | None) -> None:
        """Write down the end of a contestant's last load."""
        for place in reversed(range(len(self.loads))):
            if self.loads[place].contestant == contestant:
                self.loads[place] = msgspec.structs.replace(
                    self.loads[place], unload_ms=unload_ms, freed_bytes=freed_bytes
                )
                return

    def drop(self, scenario: str) -> None:
        """Forget a scenario that not everybody could do."""
        self.samples = [sample for sample in self.samples if sample.scenario != scenario]

    def cost_s(self, contestant: int, scenario: str) -> float | None:
        """Return what a round took of a contestant; None before the first."""
        costs = self._costs_s.get((contestant, scenario))
        return statistics.mean(costs) if costs else None

    def loads_s(self, contestants: Iterable[int]) -> float:
        """Return what one load of each of these takes."""
        costs = [self._load_costs_s[index] for index in contestants if index in self._load_costs_s]
        return sum(statistics.mean(each) for each in costs)

    def _num_rounds(self, scenario: str, contestants: Iterable[int]) -> int:
        """Return how many rounds all of these have done."""
        rounds = [self._rounds[index, scenario] for index in contestants]
        return len(set.intersection(*rounds)) if rounds else 0

    def states(self, scenarios: Sequence[Scenario], contestants: Sequence[int]) -> tuple[ScenarioState, ...]:
        """Return how far each scenario is with these contestants."""
        return tuple(
            ScenarioState(
                name=scenario.name,
                num_rounds=self._num_rounds(scenario.name, contestants),
                cost_s=sum(self.cost_s(index, scenario.name) or 0.0 for index in contestants),
                is_settled=self._is_settled(scenario.name, contestants),
            )
            for scenario in scenarios
        )

    def _is_settled(self, scenario: str, contestants: Sequence[int]) -> bool:
        """Tell whether more rounds would say nothing new, of the first token and of the rate alike."""
        first, *others = contestants or (0,)
        return bool(others) and all(
            self._is_tight(self._per_round(scenario, first, of), self._per_round(scenario, other, of))
            for other in others
            for of in (_ttft_ms, _ms_per_token)
        )

    def _is_tight(self, first: dict[int, float], other: dict[int, float]) -> bool:
        common = sorted(first.keys() & other.keys())
        if len(common) < MIN_ROUNDS:
            return False
        ratio = ratio_interval([first[n] for n in common], [other[n] for n in common], seed=self._seed)
        return ratio is not None and is_tight(ratio.low, ratio.mid, ratio.high)

    def _per_round(self, scenario: str, contestant: int, of: _Figure) -> dict[int, float]:
        values: dict[int, list[float]] = defaultdict(list)
        for sample in self.samples:
            if (sample.contestant, sample.scenario) == (contestant, scenario) and sample.error is None:
                values[sample.round].append(of(sample))
        return {number: statistics.median(each) for number, each in values.items()}


def _ttft_ms(sample: BenchSample) -> float:
    return sample.ttft_ms or 0.0


def _ms_per_token(sample: BenchSample) -> float:
    return (sample.total_ms or 0.0) / max(sample.num_output_tokens, 1)
