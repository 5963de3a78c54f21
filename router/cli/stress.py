"""`mlxr stress`: ask, look at memory, wait, again and again; then say whether this machine is up to it.

A client of the running server on this machine. Not here: the judgement (`bench.figures.stress`), reading an answer
(`bench.run.client`).
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import click
import msgspec

from backends.machine.current import current_platform
from router.bench.figures.stress import StressRound, Verdict, is_hopeless, verdicts
from router.bench.plan.scenarios import ScenarioRequest
from router.bench.plan.texts import generator, label
from router.bench.run.client import Answer, make_own_http, stream_answer
from router.cli.asking.images import SUFFIXES, message_content
from router.cli.bench.own_server import reached
from router.cli.client.base import Client
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import print_json, shown, size
from router.cli.terminal.server import client_or_error, instance_or_error
from router.cli.terminal.verbs import argument, option, verb
from router.config.instance import RunningInstance
from router.config.tiers import Tier
from router.status import Status, Swap

DEFAULT_ROUNDS: Final = 20
_SECONDS_PER_MINUTE: Final = 60.0
_SUBJECTS: Final = ("the sea", "a mountain", "a bridge", "the wind", "a library", "a river", "the moon", "a garden")
_EXIT_FAILURE: Final = 1

Ask = Callable[[ScenarioRequest, str], Answer]
"""Sends a request to a model, and waits for the end of the answer."""


class StressReport(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    model: str
    tier: str
    seconds: float
    rounds: list[StressRound]
    swaps: list[Swap]
    verdicts: list[Verdict]


@verb
@argument("model", help="Model, alias or NAME@ENGINE.")
@option("--rounds", type=click.IntRange(1), help=f"How many; {DEFAULT_ROUNDS} where --minutes says nothing.")
@option("--minutes", type=click.FloatRange(0, min_open=True), help="Go on for so long instead.")
@option("--pause", "pause_s", type=click.FloatRange(0), default=2.0, help="Seconds between two rounds; 2.")
@option("--max-tokens", type=click.IntRange(1), default=96, help="Length of each answer; 96.")
@option(
    "--image",
    "folder",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Show a picture of this folder with each question, in turn.",
)
@json_option("Print the whole run as JSON.")
def stress(
    model: str,
    rounds: int | None,
    minutes: float | None,
    pause_s: float,
    max_tokens: int,
    folder: Path | None,
    is_json: bool,
) -> int:
    """Ask a model again and again, and watch memory and speed; exit code 1 where something is not as it should be.

    Examples: `mlxr stress smollm2-135m-instruct`, `mlxr stress qwen3-4b --minutes 30`,
    `mlxr stress smolvlm --rounds 40 --pause 1 --image photos`.
    """
    if rounds is not None and minutes is not None:
        raise CommandError("--rounds and --minutes exclude each other.", exit_code=2)
    pictures = [] if folder is None else _pictures(folder)
    num_rounds = None if minutes is not None else rounds or DEFAULT_ROUNDS
    tell = (lambda _line: None) if is_json else print
    paths = current_paths()
    with client_or_error(paths) as client, _asking(instance_or_error(paths)) as ask:
        run = _Run(client, ask, model, pictures, max_tokens)
        tell(f"{'ROUND':>5}  {'FIRST TOKEN':>11}  {'RATE':>11}  {'MEMORY':>9}  {'PEAK':>9}  {'AVAILABLE':>9}  PRESSURE")
        with contextlib.suppress(KeyboardInterrupt):  # what was seen so far is worth a verdict
            for done in run.rounds(num_rounds, minutes, pause_s):
                tell(_line(done))
        report = run.report(pause_s)
    if is_json:
        print_json(report)
    else:
        print("\n".join(_verdict_line(verdict) for verdict in report.verdicts))
    return _EXIT_FAILURE if any(verdict.is_good is False for verdict in report.verdicts) else 0


@contextlib.contextmanager
def _asking(instance: RunningInstance) -> Iterator[Ask]:
    with asyncio.Runner() as runner:
        http = runner.run(make_own_http(reached(instance)))
        try:
            yield lambda request, model: runner.run(stream_answer(http, request, model=model, headers={}))
        finally:
            runner.run(http.aclose())


class _Run:
    """Asks, and keeps what came of it."""

    def __init__(self, client: Client, ask: Ask, model: str, pictures: Sequence[Path], max_tokens: int) -> None:
        self._client = client
        self._ask = ask
        self._model = model
        self._pictures = pictures
        self._max_tokens = max_tokens
        self._started_at = time.monotonic()
        self._began_at = time.time()
        self._has_model_at = math.inf
        self._done: list[StressRound] = []
        self._swaps: dict[float, Swap] = {}

    def rounds(self, num_rounds: int | None, minutes: float | None, pause_s: float) -> Iterator[StressRound]:
        """Do them; a server that is gone ends the run with an error."""
        ends_at = math.inf if minutes is None else self._started_at + minutes * _SECONDS_PER_MINUTE
        for number in itertools.count(1) if num_rounds is None else range(1, num_rounds + 1):
            if is_hopeless(self._done):
                return
            if number > 1:
                time.sleep(pause_s)
            if time.monotonic() >= ends_at:
                return
            self._done.append(self._round(number))
            self._has_model_at = min(self._has_model_at, time.time())
            yield self._done[-1]

    def report(self, pause_s: float) -> StressReport:
        """Judge what was done."""
        status = self._look()
        memory = status.memory
        tier = Tier.DESKTOP if memory is None else Tier(memory.tier)
        swaps = list(self._swaps.values())
        return StressReport(
            model=self._model,
            tier=tier.value,
            seconds=round(time.monotonic() - self._started_at, 1),
            rounds=self._done,
            swaps=swaps,
            verdicts=verdicts(
                self._done,
                swaps,
                tier,
                pause_s=pause_s,
                keep_alive_s=_keep_alive_s(status),
                budget_bytes=None if memory is None else memory.budget_bytes,
            ),
        )

    def _round(self, number: int) -> StressRound:
        answer = self._ask(self._request(number), self._model)
        rate = (answer.timings or {}).get("predicted_per_second")
        status = self._look()
        return StressRound(
            number=number,
            at_s=round(answer.started_at - self._started_at, 3),
            first_token_s=round(answer.piece_times_ms[0] / 1000, 4) if answer.piece_times_ms else None,
            num_tokens=answer.num_output_tokens,
            tokens_per_s=round(rate, 2) if isinstance(rate, int | float) else None,
            own_bytes=_own_bytes(status),
            peak_bytes=_peak_bytes(status),
            available_bytes=status.memory_available_bytes,
            pressure="normal" if status.memory is None else status.memory.pressure,
            num_kept_tokens=_kept_tokens(status),
            error=answer.error,
        )

    def _look(self) -> Status:
        status = self._client.status()
        # What is unloaded for the first question makes room for the model.
        since = {"load": self._began_at, "unload": self._has_model_at}
        self._swaps |= {swap.at: swap for swap in status.swaps if swap.at >= since[swap.event]}
        return status

    def _request(self, number: int) -> ScenarioRequest:
        """Ask something new in each round of each run, so that no cache has it, with all answers as long."""
        seed = int(self._began_at)
        subject = _SUBJECTS[number % len(_SUBJECTS)]
        text = f"Round {number}. Write a short story about {subject}."
        picture = [self._pictures[number % len(self._pictures)]] if self._pictures else []
        if picture:
            text = f"Round {number}. What is in this picture?"
        first_word = label(generator(seed, "stress", number)).capitalize()
        message = {"role": "user", "content": message_content(f"{first_word}: {text}", picture)}
        return ScenarioRequest(messages=(message,), max_tokens=self._max_tokens, seed=seed + number)


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES))
        raise CommandError(f"There are no pictures in {shown(str(folder))} ({suffixes}).", exit_code=2)
    return found


def _own_bytes(status: Status) -> int:
    return (status.gateway_rss_bytes or 0) + sum(worker.rss_bytes or 0 for worker in status.workers)


def _kept_tokens(status: Status) -> int | None:
    told = [worker.num_kept_tokens for worker in status.workers if worker.num_kept_tokens is not None]
    return sum(told) if told else None


def _peak_bytes(status: Status) -> int:
    """Ask the system, which keeps count between two looks."""
    pids = [status.pid, *(worker.pid for worker in status.workers if worker.pid is not None)]
    measure: Callable[[int], int | None] = current_platform().peak_bytes_of
    return sum(measure(pid) or 0 for pid in pids)


def _keep_alive_s(status: Status) -> float:
    """Return how long the model stays: its own setting, which comes last, goes before all others."""
    found = [
        each.value for each in (status.memory.settings if status.memory else []) if each.name == "limits.keep_alive_s"
    ]
    value = found[-1] if found else None
    return float(value) if isinstance(value, int | float) else math.inf


def _line(done: StressRound) -> str:
    first = "-" if done.first_token_s is None else f"{done.first_token_s:.2f} s"
    rate = "-" if done.tokens_per_s is None else f"{done.tokens_per_s:.1f} tok/s"
    memory, peak, available = (size(each) or "" for each in (done.own_bytes, done.peak_bytes, done.available_bytes))
    error = "" if done.error is None else f"  {shown(done.error)}"
    return f"{done.number:>5}  {first:>11}  {rate:>11}  {memory:>9}  {peak:>9}  {available:>9}  {done.pressure}{error}"


def _verdict_line(verdict: Verdict) -> str:
    mark = {True: "ok", False: "FAILED", None: "-"}[verdict.is_good]
    return f"{mark:<6}  {verdict.name}: {shown(verdict.words)}"
