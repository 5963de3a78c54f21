"""Every counter equals a client's own count, after 300 requests of all protocols on both engines."""

import os

from backends.fake.engine import FakeOptions
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.metric_values import values
from tests.support.mixed_requests import MixedClient, check_counters
from tests.support.waiting import until

SEED = int(os.environ.get("MIXED_REQUESTS_SEED", "1"))


@with_front(
    config=make_config(reattach_s=0.0, max_queue=1000),
    llamacpp=FakeOptions(decode_s=0.001),
    mlx=FakeOptions(decode_s=0.001),
)
async def test_each_counter_equals_the_clients_own_count(front: FakeFront) -> None:
    clients = [MixedClient(front.client, "m", engine) for engine in ("llamacpp", "mlx")]
    for number, client in enumerate(clients):
        await client.run(SEED + number, 150)
    await until(lambda: not list(front.services.serving.requests), "what was given up has ended")
    found = await values(front.client)
    check_counters(found, clients, 300)
    assert found.of("mlxr_loads_total") == {("m", "llamacpp"): 1, ("m", "mlx"): 1}
    assert found.of("mlxr_unloads_total") == {("m", "llamacpp", "swap"): 1}
    assert found.one("mlxr_swap_seconds_count") == 1
