"""`python -m tests.soak --minutes N`: run, print, and end with 0 where all held."""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter

import httpx

from registry.store import Registry
from router.config.paths import Paths
from tests.soak.faults import GENTLE, HARD, Fault
from tests.soak.ground import DoneFault, Ground, Sample, ground
from tests.soak.requests import Watched, keep_asking
from tests.soak.verdict import Line, memory_line, outage_line, request_lines, rest_line

SAMPLE_S = 5.0
QUIET_SHARE = 0.45
"""Share of the time, at its end, in which the gateway itself is left alone, so that its memory can be judged."""

SETTLING_S = 60.0


class Soak:
    """One run."""

    def __init__(self, place: Ground, options: argparse.Namespace) -> None:
        self._place = place
        self._options = options
        self._rng = random.Random(options.seed)
        self._is_over = asyncio.Event()
        self._watched: list[Watched] = []
        self._samples: list[Sample] = []
        self._done: list[DoneFault] = []

    async def run(self) -> list[Line]:
        """Load, faults and looks side by side; then judge."""
        await self._quiet()
        first = self._looked()
        duration_s = self._options.minutes * 60
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._options.clients):
                rng = random.Random(self._options.seed * 1000 + number)
                tasks.create_task(keep_asking(self._place.url, rng, self._is_over, self._watched))
            tasks.create_task(self._look())
            await self._harm(time.monotonic(), duration_s)
            self._is_over.set()
        await self._quiet()
        last = self._looked()
        counts = Counter(fault.name for fault in self._done)
        return [
            *request_lines(self._watched, self._place.outages),
            outage_line(self._place.outages),
            memory_line(self._samples, self._done, [each.__name__ for each in GENTLE]),
            rest_line(first, last),
            *await asyncio.to_thread(self._ended),
            Line(True, "faults: " + ", ".join(f"{name} {num}" for name, num in sorted(counts.items()))),
        ]

    async def _harm(self, begun_at: float, duration_s: float) -> None:
        """Do a fault at each interval: each kind comes in its turn, in an order that is drawn."""
        bag: list[Fault] = []
        number, was_quiet = 0, False
        while True:
            number += 1
            due_at = begun_at + number * self._options.every
            await asyncio.sleep(max(0.0, min(due_at, begun_at + duration_s) - time.monotonic()))
            spent_s = time.monotonic() - begun_at
            if spent_s >= duration_s:
                return
            is_quiet = spent_s > duration_s * (1 - QUIET_SHARE)
            if is_quiet != was_quiet or not bag:
                bag, was_quiet = self._bag(is_quiet=is_quiet), is_quiet
            fault = bag.pop()
            name = fault.__name__
            said = await asyncio.to_thread(fault, self._place, self._rng)
            self._done.append(DoneFault(name, time.monotonic()))
            rss = f", RSS {self._samples[-1].rss_bytes / 1e6:.1f} MB" if self._samples else ""
            print(f"{spent_s:7.1f} s  {name}: {said}; {len(self._watched)} requests{rss}", flush=True)

    def _bag(self, *, is_quiet: bool) -> list[Fault]:
        bag: list[Fault] = [*GENTLE] if is_quiet else [*GENTLE, *HARD]
        self._rng.shuffle(bag)
        return bag

    async def _look(self) -> None:
        while not self._is_over.is_set():
            sample = await asyncio.to_thread(self._place.sample)
            if sample is not None:
                self._samples.append(sample)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), SAMPLE_S)

    async def _quiet(self) -> None:
        """Have a request answered, unload everything, and wait until nothing is left of it."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
        answer = await asyncio.to_thread(self._place.post, "/v1/chat/completions", body)
        assert answer.status_code == httpx.codes.OK, answer.text
        until = time.monotonic() + SETTLING_S
        least = None
        while time.monotonic() < until:
            await asyncio.to_thread(self._place.post, "/v1/mlxr/models/stop", {"model": "tiny"})
            sample = self._looked()
            if least is not None and sample.num_children == 0 and sample.num_files >= least:
                return
            least = sample.num_files if least is None else min(least, sample.num_files)
            await asyncio.sleep(2)

    def _looked(self) -> Sample:
        sample = self._place.sample()
        assert sample is not None, "the gateway is not there"
        return sample

    def _ended(self) -> list[Line]:
        """Stop the gateway, and judge what is left."""
        is_ready = self._place.is_ready()
        self._place.supervisor.stop()
        orphans = self._place.workers()
        with Registry(Paths.under(self._place.home).registry_db) as registry:
            check = registry.rows("PRAGMA integrity_check")
            is_there = any(model.name == "tiny" for model in registry.models.list())
        exits = Counter(self._place.supervisor.exits)
        return [
            Line(is_ready, "ready at the end" if is_ready else "not ready at the end"),
            Line(self._place.supervisor.exits[-1:] == [0], f"exit codes {dict(exits)}, the last one must be 0"),
            Line(not orphans, f"{len(orphans)} workers left after the end"),
            Line(check == [("ok",)] and is_there, f"registry: {check[0][0]}"),
        ]


def main() -> int:
    """Parse the arguments, run, print the judgements."""
    parser = argparse.ArgumentParser(
        prog="scripts/soak", description="A gateway under load and faults, under a supervisor."
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="between two faults")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decode-s", type=float, default=0.02, help="time per token of the fake engine")
    parser.add_argument("--real", action="store_true", help="both real engines on the tiny model, not the fake one")
    options = parser.parse_args()
    with ground(options.decode_s, is_real=options.real) as place:
        print(
            f"soak of {options.minutes:g} min, a fault each {options.every:g} s, seed {options.seed}, {place.url}",
            flush=True,
        )
        lines = asyncio.run(Soak(place, options).run())
        for line in lines:
            print("ok  " if line.is_good else "BAD ", line.text, flush=True)
        if not all(line.is_good for line in lines):
            print(place.supervisor.output.read_text(errors="replace")[-6000:], file=sys.stderr)
    return 0 if all(line.is_good for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
