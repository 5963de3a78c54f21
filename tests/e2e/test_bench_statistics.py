"""Fake engines at set speeds, asked over HTTP by the benchmark's own client: the statistics find the speeds again."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from registry.bench_record import BenchSample
from registry.engines import EngineKind
from router.bench.figures.statistics import Interval
from router.bench.figures.summary import Figure, summarize
from router.bench.plan.contestants import Contestant
from router.bench.plan.scenarios import Scenario
from router.bench.run.client import make_http
from router.bench.run.measurer import Measurer
from tests.support.bench_records import make_record
from tests.support.gateway_process import GatewayProcess

# Long beside what a busy machine adds to each step, which is the same for both.
pytestmark = pytest.mark.long

SLOW = {"decode_s": 0.3, "prefill_s_per_token": 0.02}
FAST = {"decode_s": 0.2, "prefill_s_per_token": 0.01}
CHAT = Scenario(name="short-chat", what="A short question", max_tokens=6)
NUM_ROUNDS = 5


Serve = Callable[[dict[str, float]], str]


@pytest.fixture
def serve(tmp_path: Path, make_home: Callable[[Path], Path]) -> Iterator[Serve]:
    """Start gateways with fake engines of given speeds; give their addresses."""
    gateways: list[GatewayProcess] = []

    def start(speeds: dict[str, float]) -> str:
        gateways.append(GatewayProcess(make_home(tmp_path / f"home-{len(gateways)}"), fake_options=speeds))
        return gateways[-1].url

    try:
        yield start
    finally:
        for gateway in gateways:
            gateway.stop()


async def measure(first: str, second: str) -> dict[str, Figure]:
    """Measure two servers in turns, A B, B A, ...; return how the second compares."""
    samples: list[BenchSample] = []
    async with make_http(first) as one, make_http(second) as other:
        measurers = [measurer(number, http) for number, http in enumerate((one, other))]
        for each in measurers:
            assert (await each.warm_up()).error is None
        for number in range(NUM_ROUNDS):
            for each in measurers if number % 2 == 0 else reversed(measurers):
                samples += await each.round_of(CHAT, number, lambda num_tokens: num_tokens)
    assert [sample.error for sample in samples] == [None] * 2 * NUM_ROUNDS
    scenario = summarize(make_record(samples)).scenarios[0]
    assert scenario.clock == "server"
    return scenario.contestants[1].figures


def measurer(number: int, http: httpx.AsyncClient) -> Measurer:
    contestant = Contestant(label=f"{number}", model="tiny", engine=EngineKind.LLAMACPP)
    return Measurer(number, contestant, http, seed=1, started_at=time.monotonic())


def ratio(figure: Figure) -> Interval:
    assert figure.ratio is not None
    return figure.ratio


async def test_the_statistics_find_the_speeds_that_were_set(serve: Serve) -> None:
    figures = await measure(serve(SLOW), serve(FAST))
    decode, prefill = figures["decode_tokens_per_s"], figures["prefill_tokens_per_s"]
    assert decode.verdict == prefill.verdict == figures["ttft_p50_ms"].verdict == "faster"
    assert ratio(decode).mid == pytest.approx(1.5, rel=0.25)
    assert ratio(prefill).mid == pytest.approx(2.0, rel=0.35)
    assert decode.value is not None
    assert decode.value <= 5.01, "no figure is better than what the engine does"


async def test_a_server_beside_itself_is_as_fast(serve: Serve) -> None:
    url = serve(FAST)
    figures = await measure(url, url)
    assert ratio(figures["decode_tokens_per_s"]).mid == pytest.approx(1.0, rel=0.25)
