"""Which contestant has its model loaded, and what each load and unload took.

Ours share one server whose models are resident one at a time: the first request of another contestant swaps. Not here:
whose turn it is (`runner`).
"""

import time

import httpx

from registry.bench_record import BenchLoad
from router.bench.machine.server_facts import server_status, stop_model
from router.bench.run.client import Answer
from router.bench.run.measurements import Measurements
from router.bench.run.measurer import Measurer
from router.status import Status


class Residence:
    """The state of our server, as far as it is the benchmark's.

    Attributes:
        resident: Which contestant was loaded last, by its place; None = none is.
        facts: Our server's status after the last load or unload; None = it did not answer.
    """

    def __init__(self, http: httpx.AsyncClient, measurements: Measurements) -> None:
        self._http = http
        self._measurements = measurements
        self._seen_at = 0.0
        self._engine: str | None = None
        self.resident: int | None = None
        self.facts: Status | None = None

    async def clear(self) -> None:
        """Unload whatever is loaded, so that the next load is a cold one."""
        facts = await server_status(self._http)
        models = {worker.model for worker in facts.workers if worker.model is not None} if facts is not None else set()
        for model in sorted(models):
            await stop_model(self._http, model)
        self.facts = await server_status(self._http)
        self._note_unload(self.facts)
        self.resident = self._engine = None

    async def enter(self, measurer: Measurer) -> str | None:
        """Have a contestant loaded and warm.

        Returns:
            Why it cannot answer, None = it can.
        """
        started_at = time.monotonic()
        answer = await measurer.warm_up()
        if measurer.contestant.is_foreign:
            return answer.error
        self.facts = await server_status(self._http)
        load_ms = _load_ms(answer)
        if load_ms or self.resident != measurer.index:
            self._note_unload(self.facts)
        if answer.error is not None:
            self.resident = self._engine = None
            return answer.error
        if load_ms:
            load = BenchLoad(
                contestant=measurer.index,
                is_swap=self.resident is not None,
                load_ms=load_ms,
                first_token_ms=answer.piece_times_ms[0],
            )
            self._measurements.add_load(load, time.monotonic() - started_at)
        self.resident, self._engine = measurer.index, measurer.contestant.engine
        return None

    def _note_unload(self, facts: Status | None) -> None:
        """Look for the end of the contestant that was resident."""
        swaps = [] if facts is None else facts.swaps
        new = [swap for swap in swaps if swap.event == "unload" and swap.at > self._seen_at]
        self._seen_at = max((swap.at for swap in swaps), default=self._seen_at)
        own = [swap for swap in new if swap.engine == self._engine]
        if own and self.resident is not None:
            self._measurements.note_unload(self.resident, own[-1].unload_ms, own[-1].freed_bytes)


def _load_ms(answer: Answer) -> float:
    value = (answer.timings or {}).get("load_ms")
    return float(value) if isinstance(value, int | float) else 0.0
