"""Hundreds of requests cancelled at random moments: places, cells, memory and file descriptors must come back.

    python tests/bench/bench_cancel.py [--requests 500] [--concurrency 24] [--engine llamacpp]

One gateway with the bundled model; three times as many requests at once as it has places. Each is cut off by closing
its connection: at once, somewhere in the prefill of a long prompt, or after some chunks of its answer, as the seed
says. The baseline is taken after a tenth as many cancelled requests, so that caches are warm. At the end a prompt that
needs nearly all cells must still be answered, and as many streams as there are places must still run. pytest does not
collect it.
"""

import argparse
import asyncio
import contextlib
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf, bundled_mlx
from tests.bench.support.pairs import parser_for
from tests.bench.support.prompts import story_prompts, words
from tests.bench.support.report import machine_watch, print_value
from tests.bench.support.servers import gateway_with, skip
from tests.bench.support.streams import Answer, chat_body, stream_all, stream_chat
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

NUM_PLACES = 8
NUM_CELLS = 4096
NUM_NEARLY_ALL_WORDS = 3500
NUM_LONG_WORDS = 300
MAX_TOKENS = 64

MEMORY_TOLERANCE = 1.05


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the processes hold.

    Attributes:
        gateway_fds: Open file descriptors.
        worker_fds: Open file descriptors of all workers.
        gateway_bytes: Resident memory.
        worker_bytes: Resident memory of all workers.
    """

    gateway_fds: int
    worker_fds: int
    gateway_bytes: int
    worker_bytes: int


def footprint(gateway: GatewayProcess) -> Footprint:
    own, workers = psutil.Process(gateway.pid), gateway.workers()
    return Footprint(
        own.num_fds(),
        sum(worker.num_fds() for worker in workers),
        own.memory_info().rss,
        sum(worker.memory_info().rss for worker in workers),
    )


def is_idle(gateway: GatewayProcess) -> bool:
    """Tell whether nothing waits or runs by the status and no slot is at work."""
    status = gateway.status()
    busy = status["queue"]["num_waiting"] + sum(w["num_running"] + (w["num_waiting"] or 0) for w in status["workers"])
    return not busy and not any(slot["is_processing"] for slot in gateway.get("/slots"))


async def cancelled_request(url: str, model: str, seed: int) -> str:
    """Send one request and close its connection at a moment that the seed decides; return how far it had come."""
    draw = random.Random(seed)
    wish = draw.choice(("at once", "prefill", "decode"))
    num_words = NUM_LONG_WORDS if wish == "prefill" else 8
    messages = [{"role": "user", "content": f"Tell a story of {words(seed, num_words)}."}]
    headers = {"X-Mlxr-Priority": "background"} if draw.random() < 0.3 else {}
    num_chunks = draw.randint(1, MAX_TOKENS // 2)
    enough = asyncio.Event()

    def on_text(answer: Answer) -> None:
        if wish == "decode" and len(answer.text_times) >= num_chunks:
            enough.set()

    answer = Answer(0.0)
    body = chat_body(model, messages, MAX_TOKENS, ignore_eos=True)
    task = asyncio.create_task(stream_chat(url, body, headers=headers, on_text=on_text, answer=answer))
    waiter = asyncio.create_task(enough.wait())
    delay_s = {"at once": draw.uniform(0, 0.05), "prefill": draw.uniform(0, 2.0), "decode": None}[wish]
    await asyncio.wait({task, waiter}, timeout=delay_s, return_when=asyncio.FIRST_COMPLETED)
    waiter.cancel()
    is_over = task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    if is_over:
        return "ended before"
    return "before any text" if not answer.text_times else "in the answer"


async def cancel_many(url: str, model: str, seeds: range, concurrency: int) -> Counter[str]:
    """Send and cancel one request per seed, some at a time; return how many were cut off where."""
    phases: Counter[str] = Counter()
    places = asyncio.Semaphore(concurrency)

    async def one(seed: int) -> None:
        async with places:
            phases[await cancelled_request(url, model, seed)] += 1

    async with asyncio.TaskGroup() as group:
        for seed in seeds:
            group.create_task(one(seed))
    return phases


def settle(gateway: GatewayProcess) -> float:
    """Wait until the gateway is idle and return how long that took, seconds."""
    started_at = time.perf_counter()
    wait_until(lambda: is_idle(gateway), "nothing waits, nothing runs")
    return time.perf_counter() - started_at


def print_footprints(before: Footprint, after: Footprint) -> None:
    for name, old, new in (
        ("gateway", before.gateway_fds, after.gateway_fds),
        ("worker", before.worker_fds, after.worker_fds),
    ):
        print_value(f"{name}: file descriptors, {old} before", new, at_most=old)
    for name, old, new in (
        ("gateway", before.gateway_bytes, after.gateway_bytes),
        ("worker", before.worker_bytes, after.worker_bytes),
    ):
        print(f"{name}: {old / 1e6:.1f} MB before, {new / 1e6:.1f} MB after")
        print_value(f"{name}: memory after / before", new / old, at_most=MEMORY_TOLERANCE)


def check_capacity(gateway: GatewayProcess, model: str, seed: int) -> None:
    """Use all places and nearly all cells once more; print what came of it."""
    answers = asyncio.run(
        stream_all(gateway.url, [chat_body(model, c, 16, ignore_eos=True) for c in story_prompts(seed, NUM_PLACES)])
    )
    num_whole = sum(answer.num_tokens == 16 for answer in answers)
    print_value(f"streams complete of {NUM_PLACES}, after all", num_whole, at_least=NUM_PLACES)
    messages = [{"role": "user", "content": words(seed, NUM_NEARLY_ALL_WORDS)}]
    answer = asyncio.run(stream_chat(gateway.url, chat_body(model, messages, 4, ignore_eos=True)))
    print(f"nearly all cells: a prompt of {answer.num_prompt_tokens} tokens in {NUM_CELLS} cells was answered")


def measure(gateway: GatewayProcess, model: str, arguments: argparse.Namespace) -> None:
    """Take the baseline, cancel, and print what came back."""
    num_warm = max(1, arguments.requests // 10)
    first = arguments.seed * 1_000_000
    asyncio.run(stream_all(gateway.url, [chat_body(model, chat, 8) for chat in story_prompts(first, NUM_PLACES)]))
    asyncio.run(cancel_many(gateway.url, model, range(first, first + num_warm), arguments.concurrency))
    settle(gateway)
    before = footprint(gateway)
    seeds = range(first + num_warm, first + num_warm + arguments.requests)
    started_at = time.perf_counter()
    phases = asyncio.run(cancel_many(gateway.url, model, seeds, arguments.concurrency))
    duration_s = time.perf_counter() - started_at
    idle_after_s = settle(gateway)
    print(f"{arguments.requests} requests in {duration_s:.0f} s, cut off: {dict(phases)}")
    print_value("seconds until idle after the last was cut off", idle_after_s, at_most=1)
    workers: list[dict[str, Any]] = gateway.status()["workers"]
    print(f"cells by the status: {[{k: v for k, v in w.items() if 'cells' in k or 'slots' in k} for w in workers]}")
    print_footprints(before, footprint(gateway))
    check_capacity(gateway, model, first)


def main() -> None:
    parser = parser_for(__doc__, rounds=1)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--concurrency", type=int, default=3 * NUM_PLACES)
    parser.add_argument("--engine", choices=["llamacpp", "mlx"], default="llamacpp")
    arguments = parser.parse_args()
    file = bundled_gguf() if arguments.engine == "llamacpp" else bundled_mlx()
    if file is None:
        skip("the bundled model has no MLX form in the default home; run scripts/setup")
    config = {
        "generation": {"parallel": NUM_PLACES, "context_length": NUM_CELLS},
        "llamacpp": {"threads": arguments.threads, "kv_cells": NUM_CELLS},
    }
    with machine_watch(), gateway_with({MODEL: [file]}, config) as gateway:
        measure(gateway, MODEL, arguments)


if __name__ == "__main__":
    main()
