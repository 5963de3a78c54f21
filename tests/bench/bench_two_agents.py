"""Two agents on two models: how often models are swapped, and how long each turn waits for its first token.

    python tests/bench/bench_two_agents.py [--minutes 10] [--pause 2] [--tokens 48] [--real]

Both work at a time: a turn of a conversation that grows, a pause for a tool, the next turn. Three gateways, one after
the other, each for so many minutes: `residency: exclusive`; `budget` where both models fit; `budget` with a
`memory.budget_bytes` that holds only one of them, where a model rests after its answer before it goes. A swap is a load
after each model's first. The models are the bundled one and a copy of its GGUF, by default on the fake engine, whose
speeds are set (below): what is compared is who waits for whom, and not an engine. --real takes llamacpp. pytest does
not collect it.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf
from tests.bench.support.pairs import gateway_config
from tests.bench.support.report import machine_watch, quantile
from tests.bench.support.servers import gateway_with, physical_cores
from tests.bench.support.streams import chat_body, stream_chat
from tests.support.gateway_process import GatewayProcess
from tests.support.metric_values import MetricValues

SECOND = "second-model"
NUM_SLOTS = 2
CONTEXT_LENGTH = 2048
MAX_TURNS = 12
"""Of a conversation; then the agent begins the next one."""
ONE_MODEL_BYTES = 800_000_000
"""Room for one of the two, whatever else the server has, and not for both."""

FAKE = {"load_s": 4.0, "prefill_s_per_token": 0.0005, "decode_s": 0.03, "ballast_bytes": 150_000_000}
"""Speeds of a model of some billions of weights; a load takes two processes' starts more."""

MODES: dict[str, dict[str, Any]] = {
    "exclusive": {"residency": "exclusive"},
    "budget, both fit": {"residency": "budget"},
    "budget, one fits": {"residency": "budget", "memory": {"budget_bytes": ONE_MODEL_BYTES}},
}


async def work(url: str, model: str, arguments: argparse.Namespace, until: float, waits_s: list[float]) -> None:
    """Be one agent until that time."""
    rng = random.Random(f"{arguments.seed} {model}")
    messages: list[dict[str, str]] = []
    while time.monotonic() < until:
        if len(messages) >= 2 * MAX_TURNS:
            messages = []
        messages.append({"role": "user", "content": f"Step {len(messages)}: what is {rng.randrange(1000)} plus one?"})
        answer = await stream_chat(url, chat_body(model, messages, arguments.tokens, ignore_eos=True))
        waits_s.append(answer.ttft_s)
        messages.append({"role": "assistant", "content": answer.text})
        await asyncio.sleep(rng.uniform(0.5, 1.5) * arguments.pause)


async def both(url: str, arguments: argparse.Namespace) -> dict[str, list[float]]:
    waits_s: dict[str, list[float]] = {MODEL: [], SECOND: []}
    until = time.monotonic() + arguments.minutes * 60
    async with asyncio.TaskGroup() as tasks:
        for model, own in waits_s.items():
            tasks.create_task(work(url, model, arguments, until, own))
    return waits_s


def measure(gateway: GatewayProcess, mode: str, arguments: argparse.Namespace) -> None:
    """Run one mode and print its line."""
    waits_s = asyncio.run(both(gateway.url, arguments))
    loads = num_loads(gateway)
    all_s = [wait for own in waits_s.values() for wait in own]
    turns = " and ".join(str(len(own)) for own in waits_s.values())
    print(
        f"{mode}: {turns} turns, {max(0, loads - 2)} swaps; to the first token p50 {quantile(all_s, 0.5):.2f} s, "
        f"p95 {quantile(all_s, 0.95):.2f} s, max {max(all_s):.2f} s",
        flush=True,
    )


def num_loads(gateway: GatewayProcess) -> int:
    """Return how many models were loaded, by the metrics: the status keeps the last ones only."""
    return round(MetricValues(gateway.get("/v1/metrics")["metrics"]).one("mlxr_loads_total"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="of each mode; default: 10")
    parser.add_argument("--pause", type=float, default=2.0, help="mean time between two turns, s; default: 2")
    parser.add_argument("--tokens", type=int, default=48, help="of an answer; default: 48")
    parser.add_argument("--real", action="store_true", help="on llamacpp instead of the fake engine")
    parser.add_argument("--threads", type=int, default=physical_cores(), help="default: the physical cores")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "second.gguf"
        shutil.copy(bundled_gguf(), copy)
        for mode, residency in MODES.items():
            more = residency | {"models": {"hash_files": False}}  # the copy would be seen to be the same model
            config = gateway_config(NUM_SLOTS, CONTEXT_LENGTH, arguments.threads, **more)
            fake = None if arguments.real else FAKE
            files = {MODEL: [bundled_gguf()], SECOND: [copy]}
            with machine_watch(), gateway_with(files, config, fake_options=fake) as gateway:
                measure(gateway, mode, arguments)


if __name__ == "__main__":
    main()
