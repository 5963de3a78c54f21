"""What upstreams were given today, in tokens and money, and whether that is all they may have. Kept over restarts.

A day is the machine's own, from midnight to midnight. What runs counts as much as it is expected to take, so that many
requests at once do not go far beyond a ceiling; what an answer took is known when it has ended, and where the upstream
did not say, because it broke off or was given up, it is counted by what came.
"""

import asyncio
import datetime as dt
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from backends.wire.messages import Usage
from registry.threads import in_thread
from router.config.edit import write_atomically
from router.config.upstreams import UpstreamConfig
from router.errors import UpstreamCeilingError

logger = logging.getLogger(__name__)

WRITE_S: Final = 5.0
"""How often what was used is written, where it is more than before."""
_MILLION: Final = 1e6


class Used(msgspec.Struct, kw_only=True):
    """What one upstream was given on one day; costs in the currency of its prices."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers together."""
        return self.input_tokens + self.output_tokens


class _Book(msgspec.Struct):
    """The file.

    Attributes:
        day: In ISO form.
        used: By the upstreams' names.
    """

    day: str = ""
    used: dict[str, Used] = {}


def cost_of(config: UpstreamConfig, input_tokens: float, output_tokens: float) -> float:
    """Return what tokens cost, by the config's prices."""
    millions = input_tokens * config.price_per_million_input + output_tokens * config.price_per_million_output
    return millions / _MILLION


class Ledger:
    """Owned by the event loop.

    Args:
        path: The file; None = nothing is kept.
        now: The machine's own time.
    """

    def __init__(self, path: Path | None, *, now: Callable[[], dt.datetime] = dt.datetime.now) -> None:
        self._path = path
        self._now = now
        self._book = _read(path)
        self._running: dict[str, Used] = {}
        self._is_written = True

    def used(self, name: str) -> Used:
        """Return what an upstream was given today."""
        today = self._now().date().isoformat()
        if self._book.day != today:
            self._book = _Book(today, {})
        return self._book.used.setdefault(name, Used())

    def check(self, config: UpstreamConfig) -> None:
        """Let a request pass.

        Raises:
            UpstreamCeilingError: The upstream has had what it may have today; it names the ceiling.
        """
        why_not = self.why_not(config)
        if why_not is not None:
            raise UpstreamCeilingError(f"the upstream '{config.name}': {why_not}", retry_after_s=self._to_midnight_s())

    def why_not(self, config: UpstreamConfig) -> str | None:
        """Return which ceiling is reached, in words; None = none is."""
        if config.max_tokens_per_day is None and config.max_cost_per_day is None:
            return None
        used, running = self.used(config.name), self._running.get(config.name, Used())
        tokens, cost = used.tokens + running.tokens, used.cost + running.cost
        if config.max_tokens_per_day is not None and tokens >= config.max_tokens_per_day:
            return (
                f"it has had {used.tokens:,} tokens today, and {running.tokens:,} are on their way: "
                f"max_tokens_per_day of the config is {config.max_tokens_per_day:,}"
            )
        if config.max_cost_per_day is not None and cost >= config.max_cost_per_day:
            return (
                f"it has cost {used.cost:.4g} today, and {running.cost:.4g} are on their way: "
                f"max_cost_per_day of the config is {config.max_cost_per_day:g}"
            )
        return None

    def begin(self, config: UpstreamConfig, input_tokens: int, output_tokens: int) -> Callable[[], None]:
        """Count a request as what it is expected to take; return what takes that back at its end."""
        running = self._running.setdefault(config.name, Used())
        cost = cost_of(config, input_tokens, output_tokens)
        _add(running, input_tokens, output_tokens, cost)
        return lambda: _add(running, -input_tokens, -output_tokens, -cost)

    def add(self, config: UpstreamConfig, usage: Usage) -> None:
        """Count what a sequence took."""
        num_input, num_output = usage.num_prompt_tokens, usage.num_output_tokens
        _add(self.used(config.name), num_input, num_output, cost_of(config, num_input, num_output))
        self._is_written = False

    async def run(self) -> None:
        """Write what was used now and then until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(WRITE_S)
                await in_thread(self.write)
        finally:
            self.write()

    def write(self) -> None:
        """Write what was used, where it is more than before. Blocking; not worth an error."""
        if self._path is None or self._is_written:
            return
        self._is_written = True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path, msgspec.json.encode(self._book))
        except OSError as exc:
            logger.warning("what upstreams were given cannot be written: %s: %s", self._path, exc.strerror)

    def _to_midnight_s(self) -> float:
        now = self._now()
        midnight = dt.datetime.combine(now.date() + dt.timedelta(days=1), dt.time(), now.tzinfo)
        return math.ceil((midnight - now).total_seconds())


def _add(to: Used, input_tokens: int, output_tokens: int, cost: float) -> None:
    to.input_tokens += input_tokens
    to.output_tokens += output_tokens
    to.cost += cost


def _read(path: Path | None) -> _Book:
    """Read what was written; a file that is damaged is as good as none."""
    try:
        return _Book() if path is None else msgspec.json.decode(path.read_bytes(), type=_Book)
    except FileNotFoundError:
        return _Book()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        logger.warning("what upstreams were given before cannot be read, it counts from here: %s: %s", path, exc)
        return _Book()
