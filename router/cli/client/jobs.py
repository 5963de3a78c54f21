"""The client's calls about long work of a server, for the command line. Not here: the connection and its errors."""

from collections.abc import Generator
from typing import Any

import msgspec

from registry.pull import PullOptions
from registry.pull.events import PULL_END, PullEvent
from router.bench.events import BENCH_END, BenchEvent
from router.cli.client.base import STOP_TIMEOUT_S, Client
from router.jobs.conversions import CONVERSION_END, ConversionEvent
from router.jobs.convert.report import ConversionOptions

PULL_PATH = "/v1/mlxr/models/pull"
CONVERT_PATH = "/v1/mlxr/models/convert"
BENCH_PATH = "/v1/mlxr/bench"


class _Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    model: str
    cancelled: int


class JobClient(Client):
    """Talks to one running gateway. Use it in a `with`. Its jobs go on when nobody follows them."""

    def pull(self, reference: str, options: PullOptions) -> Generator[PullEvent, None, None]:
        """Have the server pull a model, and follow that.

        Args:
            options: What of it; the server looks at the memory itself.
        """
        body = {"reference": reference, "engine": options.engine, "vision": options.vision, "name": options.name}
        return self._follow(PULL_PATH, body, PullEvent, PULL_END, "pull")

    def convert(
        self, name: str, options: ConversionOptions, *, is_forced: bool
    ) -> Generator[ConversionEvent, None, None]:
        """Have the server convert a model, and follow that.

        Args:
            is_forced: Keep a result that the comparison speaks against.
        """
        body = {"model": name, "force": is_forced} | msgspec.to_builtins(options)
        return self._follow(CONVERT_PATH, body, ConversionEvent, CONVERSION_END, "conversion")

    def cancel_conversion(self, name: str) -> int:
        """Stop what is being made of a model.

        Raises:
            ClientError: Or a subclass; with status 404 there is nothing to stop.
        """
        return self.post(f"{CONVERT_PATH}/cancel", _Cancelled, {"model": name}, STOP_TIMEOUT_S).cancelled

    def bench(self, options: dict[str, Any]) -> Generator[BenchEvent, None, None]:
        """Have the server measure, and follow that.

        Args:
            options: Fields of `BenchOptions`; the server judges them.
        """
        return self._follow(BENCH_PATH, options, BenchEvent, BENCH_END, "benchmark")

    def stop_bench(self) -> None:
        """End the benchmark that runs; what it has measured is kept.

        Raises:
            ClientError: Or a subclass; with status 404 there is none.
        """
        self.post(f"{BENCH_PATH}/stop", dict, {}, STOP_TIMEOUT_S)

    def _follow(
        self, path: str, body: dict[str, Any], type_: Any, ends: tuple[type, ...], what: str
    ) -> Generator[Any, None, None]:
        """Begin a job, and read its stream of events to the last.

        Args:
            type_: Of the events, a union of tagged Structs; one of `ends` is the last.
            what: The kind of job, for people.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        for event in self._events(path, body, type_, what):
            yield event
            if isinstance(event, ends):
                return
