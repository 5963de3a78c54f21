"""Every counter equals a client's own count, after 300 requests of all protocols on both engines."""

import os
from collections import Counter

from backends.fake.engine import FakeOptions
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.metric_values import MetricValues, values
from tests.support.mixed_requests import MixedClient
from tests.support.waiting import until

SEED = int(os.environ.get("MIXED_REQUESTS_SEED", "1"))


def check(found: MetricValues, clients: list[MixedClient]) -> None:
    requests = sum((client.requests for client in clients), Counter())
    tokens = sum((client.tokens for client in clients), Counter())
    answers = sum((client.answers for client in clients), Counter())
    ours = {key: value for key, value in found.of("mlxr_requests_total").items() if key[0] != "mlxr"}
    assert ours == dict(requests)
    assert sum(ours.values()) == 300
    errors = sum(number for key, number in requests.items() if int(key[3]) >= 400)
    assert sum(value for key, value in found.of("mlxr_request_errors_total").items() if key[0] != "mlxr") == errors
    for (protocol, kind), number in tokens.items():
        counted = found.one("mlxr_tokens_total", protocol=protocol, type=kind)
        if protocol == "llamaserver":  # what was given up had tokens of which the client has seen a part
            assert counted >= number
        else:
            assert counted == number, (protocol, kind)
    for (protocol, outcome), number in answers.items():
        names = ("mlxr_generations_total", "mlxr_embeddings_total")
        counted = sum(found.one(name, protocol=protocol, outcome=outcome) for name in names)
        assert counted == number, (protocol, outcome)
    assert found.one("gen_ai_server_request_duration_seconds_count") == sum(answers.values())
    embeddings = found.one("mlxr_embeddings_total")
    assert found.one("gen_ai_server_time_to_first_token_seconds_count") == sum(answers.values()) - embeddings
    assert found.one("mlxr_key_requests_total", key="owner") == sum(
        number for key, number in requests.items() if key[0] != "none" and key[1] != "none"
    )
    assert found.one("mlxr_requests_in_flight") == 0


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
    check(found, clients)
    assert found.of("mlxr_loads_total") == {("m", "llamacpp"): 1, ("m", "mlx"): 1}
    assert found.of("mlxr_unloads_total") == {("m", "llamacpp", "swap"): 1}
    assert found.one("mlxr_swap_seconds_count") == 1
