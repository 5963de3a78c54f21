"""Time per turn of a talk that is many times as long as its context, wound: does it stay flat?

    python tests/bench/bench_long_talk.py [--turns 200] [--rounds 2] [--pause 0]
    python tests/bench/bench_long_talk.py --bundled [--context 2048] [--turns 200] [--rounds 1]

A gateway with the fake engine, at a set time per token of the prompt and per step, or with the bundled model. A round
is one talk (`router/bench/plan/talks.py`) whose client sends all that was said each time. The ratio is the p95 of the
last 50 turns' times over that of turns 21 to 70. Turns follow each other at once unless there is a pause, so some wait
for a wind that has had no time in the background; they are counted. With a small context these are more than 5 of 100,
so that they are in both p95. The mean CPU time of gateway and worker stands beside it, which other programs on the
machine move less. pytest does not collect it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.bench.plan.talks import TALK_SYSTEM, talk_of
from router.config.paths import Paths
from tests.bench.support.models import bundled_gguf
from tests.bench.support.report import machine_watch, print_ratio, quantile, shown
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

MODEL = "talker"
EARLY = slice(20, 70)
LATE = slice(-50, None)
TARGET = 1.5
TIMEOUT_S = 600.0
FAKE: dict[str, Any] = {
    "context_length": 1 << 20,
    "prefill_s_per_token": 20e-6,
    "decode_s": 0.001,
    "answers": [
        ["Write at most", "Facts\n" + "- The harbour master measured the roof of the boathouse.\n" * 10],
        ["", "I see."],
    ],
}


def started(folder: Path, arguments: argparse.Namespace) -> GatewayProcess:
    """Start a gateway with the model."""
    home = folder / "home"
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        file = bundled_gguf() if arguments.bundled else tiny_model.write_gguf(folder / "tiny.gguf")
        register_path(registry, file, name=MODEL)
    return GatewayProcess(home, fake_options=None if arguments.bundled else FAKE)


class Turn:
    """What a turn took by the clock and of the server's CPU, seconds, and what its answer says of the context."""

    def __init__(self, answer: httpx.Response, took_s: float, cpu_s: float) -> None:
        body = answer.json()
        if answer.status_code != httpx.codes.OK:
            sys.exit(f"a turn was refused: {body}")
        self.took_s, self.cpu_s = took_s, cpu_s
        self.text: str = body["choices"][0]["message"]["content"] or ""
        self.num_prompt_tokens: int = body["usage"]["prompt_tokens"]
        context = body["timings"].get("context") or {}
        self.context_id: str | None = context.get("id")
        self.waited_ms: float = (context.get("wound") or {}).get("ms", 0.0)


def cpu_s_of(gateway: GatewayProcess) -> float:
    """Return the CPU time of the gateway and its workers so far."""
    processes = [psutil.Process(gateway.pid), *gateway.workers()]
    times = [process.cpu_times() for process in processes]
    return sum(each.user + each.system for each in times)


def hold(gateway: GatewayProcess, client: httpx.Client, seed: int, arguments: argparse.Namespace) -> list[Turn]:
    """Hold a talk."""
    headers = {"X-Mlxr-Context": "wind", "X-Mlxr-Load": f"context_length={arguments.context}"}
    messages = [{"role": "system", "content": f"Talk {seed}. {TALK_SYSTEM}"}]
    turns: list[Turn] = []
    cpu_s = cpu_s_of(gateway)
    for text in talk_of(seed=seed, round_number=0, num_turns=arguments.turns).turns:
        messages.append({"role": "user", "content": text})
        body = {"model": MODEL, "messages": messages, "max_tokens": arguments.tokens, "temperature": 0}
        started_at = time.perf_counter()
        answer = client.post("/v1/chat/completions", json=body, headers=headers, timeout=TIMEOUT_S)
        took_s = time.perf_counter() - started_at
        time.sleep(arguments.pause)
        before_s, cpu_s = cpu_s, cpu_s_of(gateway)
        turns.append(Turn(answer, took_s, cpu_s - before_s))
        messages.append({"role": "assistant", "content": turns[-1].text})
    return turns


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundled", action="store_true", help="the bundled model in the place of the fake engine")
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=24, help="of an answer, at most")
    parser.add_argument("--context", type=int, help="default: 8,192, or 2,048 of the bundled model")
    parser.add_argument("--pause", type=float, default=0.0, help="between two turns, seconds")
    arguments = parser.parse_args()
    arguments.context = arguments.context or (2048 if arguments.bundled else 8192)
    early: list[list[Turn]] = []
    late: list[list[Turn]] = []
    with machine_watch(), tempfile.TemporaryDirectory() as folder:
        gateway = started(Path(folder), arguments)
        try:
            with gateway.client() as client:
                hold(gateway, client, -1, argparse.Namespace(**{**vars(arguments), "turns": 2}))
                for seed in range(arguments.rounds):
                    turns = hold(gateway, client, seed, arguments)
                    print_talk(seed, turns)
                    early.append(turns[EARLY])
                    late.append(turns[LATE])
        finally:
            gateway.stop()
    last, first = f"turns {arguments.turns - 49} to {arguments.turns}", "turns 21 to 70"
    for name, share, target in (("median", 0.5, None), ("p95", 0.95, TARGET)):
        ours, theirs = ([quantile([turn.took_s for turn in turns], share) for turns in part] for part in (late, early))
        print_ratio(f"{name} of a turn, {last} / {first}", ours, theirs, at_most=target)

    ours, theirs = ([statistics.mean(turn.cpu_s for turn in turns) for turns in part] for part in (late, early))
    print_ratio(f"mean CPU time of a turn, {last} / {first}", ours, theirs)


def print_talk(seed: int, turns: list[Turn]) -> None:
    """Print what a talk was like."""
    ids = {turn.context_id for turn in turns} - {None}
    waits = [turn.waited_ms / 1000 for turn in turns if turn.waited_ms]
    said = f"; {len(waits)} turns waited for one, {shown(waits, 's')}" if waits else "; no turn waited for one"
    print(f"talk {seed}: {len(ids)} winds{said}", flush=True)
    for name, part in (("turns 21 to 70", turns[EARLY]), ("last 50 turns", turns[LATE])):
        times, prompts = [turn.took_s for turn in part], [turn.num_prompt_tokens for turn in part]
        p95 = quantile(times, 0.95)
        cpu_ms = 1000 * statistics.mean(turn.cpu_s for turn in part)
        print(
            f"talk {seed}: {name}: {shown(times, 's', 3)}, p95 {p95:.3f} s; prompts {shown(prompts, 'tokens', 0)};",
            end=" ",
        )
        print(f"{cpu_ms:.1f} ms of CPU in the mean", flush=True)


if __name__ == "__main__":
    main()
