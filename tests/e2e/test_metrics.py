"""Every counter of a real server on both real engines equals its clients' own count."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.metric_values import MetricValues, values
from tests.support.mixed_requests import KINDS, MixedClient, check_counters, given_up
from tests.support.plain_http import NO_TLS
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow
StartGateway = Callable[..., GatewayProcess]
PREDICTABLE = tuple(kind for kind in KINDS if kind is not given_up)
"""Small models end an answer before anybody can go away; the fake engine takes its time for that."""


def test_each_counter_equals_the_clients_own_count_on_real_engines(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"limits": {"max_queue": 1000}, "engine": "llamacpp"})

    async def asked() -> tuple[MetricValues, list[MixedClient]]:
        async with httpx.AsyncClient(base_url=gateway.url, timeout=WITHIN_S, trust_env=False, verify=NO_TLS) as http:
            clients = [MixedClient(http, "tiny", engine) for engine in ("llamacpp", "mlx")]
            for number, client in enumerate(clients):
                await client.run(number, 80, PREDICTABLE)
            return await values(http), clients

    found, clients = asyncio.run(asked())
    check_counters(found, clients, 160)
    assert found.of("mlxr_loads_total") == {("tiny", "llamacpp"): 1, ("tiny", "mlx"): 1}
    assert found.of("mlxr_unloads_total") == {("tiny", "llamacpp", "swap"): 1}
    assert found.one("mlxr_worker_restarts_total") == 0
