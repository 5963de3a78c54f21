"""CPU that the gateway spends per streamed token, and the TTFT it adds, with the fake engine: bench_gateway_tokens.py

Prints, for 1, 8 and 32 streams at a time: tokens, gateway CPU in microseconds per token (user + system of the gateway's
process alone, requests' own cost included), and tokens per second. Then the time to the first token over HTTP with an
engine that takes no time itself. Targets: 60 us per token, 2 ms.
"""

import asyncio
import ssl
import statistics
import sys
import tempfile
import time
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

TOKENS_PER_STREAM = 500
ROUNDS = 3


async def stream_one(client: httpx.AsyncClient, url: str, num_tokens: int) -> float:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "x"}],
        "max_tokens": num_tokens,
        "temperature": 0,
        "stream": True,
    }
    started_at = time.perf_counter()
    first_at = 0.0
    async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_raw():
            first_at = first_at or time.perf_counter()
    return first_at - started_at


async def measure(
    gateway: GatewayProcess, num_streams: int, trusting: ssl.SSLContext | None = None
) -> tuple[float, float]:
    process, limits = psutil.Process(gateway.pid), httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(timeout=300, trust_env=False, limits=limits, verify=trusting or True) as client:
        await stream_one(client, gateway.url, 2)
        cpu_before, started_at = process.cpu_times(), time.perf_counter()
        await asyncio.gather(*(stream_one(client, gateway.url, TOKENS_PER_STREAM) for _ in range(num_streams)))
        cpu_after, wall_s = process.cpu_times(), time.perf_counter() - started_at
    num_tokens = num_streams * TOKENS_PER_STREAM
    cpu_s = cpu_after.user + cpu_after.system - cpu_before.user - cpu_before.system
    return cpu_s / num_tokens * 1e6, num_tokens / wall_s


async def first_token_ms(gateway: GatewayProcess) -> list[float]:
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return [await stream_one(client, gateway.url, 1) * 1000 for _ in range(100)][20:]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, tiny_model.write_gguf(Path(folder) / "tiny.gguf"), name="tiny")
        config = {"generation": {"parallel": 32}, "limits": {"max_queue": 100}, "models": {"hf_cache": False}}
        # The step time keeps the fake engine from outrunning its readers, as no engine does.
        gateway = GatewayProcess(home, config=config, fake_options={"decode_s": 0.01})
        try:
            for num_streams in (1, 8, 32):
                runs = [asyncio.run(measure(gateway, num_streams)) for _ in range(ROUNDS)]
                cpu_us = statistics.median(run[0] for run in runs)
                rate = statistics.median(run[1] for run in runs)
                print(f"{num_streams:3d} streams: {cpu_us:6.1f} us of gateway CPU per token, {rate:7.0f} tokens/s")
            times = asyncio.run(first_token_ms(gateway))
            print(f"time to first token over HTTP: median {statistics.median(times):.2f} ms, max {max(times):.2f} ms")
        finally:
            gateway.stop()


if __name__ == "__main__":
    main()
