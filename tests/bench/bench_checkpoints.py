"""What checkpoints save an agent's session on models whose caches cannot be cut, when its history is edited or cut.

    python tests/bench/bench_checkpoints.py [--rounds 2] [--turns 6] [--system 8000] [--model PATH ...]

Without `--model`, random small models in both formats: Gemma 3 (layers with a window of 512), LFM2 (short convolutions
beside attention) and, as GGUF only, Mamba (states alone); a token is a character there. Two gateways, with
`cache.checkpoint_bytes` as it is by default and with 0, hold the same sessions in turns. A later turn has another
answer in its history than the model gave, as where thoughts are left out. The time is that of the whole request without
what the answer's tokens took. pytest does not collect it; cached tokens are asserted by
tests/backends/contract/test_checkpoints.py.
"""

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.prompts import words
from tests.bench.support.report import in_turns, machine_watch, print_ratio, shown
from tests.bench.support.servers import gateway_with, physical_cores
from tests.support import tiny_hybrid, tiny_recurrent, tiny_windowed
from tests.support.gateway_process import GatewayProcess

WITH, WITHOUT = "with checkpoints", "without"
CONTEXT_LENGTH = 32_768
WINDOW = 512
NUM_ANSWERED = 40
TIMEOUT_S = 900.0
Messages = list[dict[str, str]]


class Step(NamedTuple):
    """A request of a session."""

    name: str
    messages: Messages


def session(seed: int, arguments: argparse.Namespace) -> Iterator[Step]:
    """Yield a session's requests: turns with the exact history, then the history edited and cut."""
    num_turns = arguments.turns
    messages: Messages = [{"role": "system", "content": text(seed, arguments.system)}]
    for turn in range(1, num_turns + 1):
        messages.append({"role": "user", "content": text(seed + turn, 400)})
        yield Step("turn 1" if turn == 1 else "later turns", copy.deepcopy(messages))
        messages.append({"role": "assistant", "content": text(seed - turn, 600)})
    messages.append({"role": "user", "content": text(seed + 500, 400)})
    yield Step("last answer edited", edited(messages, -2, seed + 501))
    yield Step("middle turn edited", edited(messages, 2 * (num_turns // 2) + 1, seed + 502))
    middle = messages[: 2 * (num_turns // 2) + 1]
    yield Step("cut at the middle", [*middle, {"role": "user", "content": text(seed + 503, 400)}])
    yield Step("the same system prompt", [messages[0], {"role": "user", "content": text(seed + 504, 400)}])


def text(seed: int, num_chars: int) -> str:
    return words(1_000_000 + seed, num_chars // 3)[:num_chars]


def edited(messages: Messages, index: int, seed: int) -> Messages:
    """Return a history in which one message is another one of the same length."""
    changed = copy.deepcopy(messages)
    changed[index]["content"] = text(seed, len(changed[index]["content"]))
    return changed


def tiny_models(folder: Path) -> dict[str, Path]:
    sizes: dict[str, Any] = {"context_length": CONTEXT_LENGTH}
    return {
        "gemma3-gguf": tiny_windowed.write_gguf(folder / "gemma3.gguf", window=WINDOW, **sizes),
        "gemma3-mlx": tiny_windowed.write_mlx(folder / "gemma3", window=WINDOW, **sizes),
        "lfm2-gguf": tiny_hybrid.write_gguf(folder / "lfm2.gguf", **sizes),
        "lfm2-mlx": tiny_hybrid.write_mlx(folder / "lfm2", **sizes),
        "mamba-gguf": tiny_recurrent.write_gguf(folder / "mamba.gguf", **sizes),
    }


class Asked(NamedTuple):
    """What came of a request."""

    ttft_s: float
    cached: str


def ask(gateway: GatewayProcess, model: str, step: Step) -> Asked:
    body = {"model": model, "messages": step.messages, "max_tokens": NUM_ANSWERED, "temperature": 0, "ignore_eos": True}
    started_at = time.monotonic()
    with httpx.Client(base_url=gateway.url, timeout=TIMEOUT_S, trust_env=False) as client:
        timings = client.post("/v1/chat/completions", json=body).raise_for_status().json()["timings"]
    ttft_s = time.monotonic() - started_at - timings["predicted_ms"] / 1000
    return Asked(ttft_s, f"{timings['cache_n']}/{timings['cache_n'] + timings['prompt_n']}")


def measure(model: str, sides: dict[str, GatewayProcess], arguments: argparse.Namespace) -> None:
    """Hold the sessions; print a row per kind of request."""
    times_s: dict[str, dict[str, list[float]]] = {side: {} for side in sides}
    cached: dict[str, dict[str, list[str]]] = {side: {} for side in sides}
    for gateway in sides.values():
        ask(gateway, model, Step("load", [{"role": "user", "content": text(-9, 300)}]))
    for index, side in in_turns(list(sides), arguments.rounds):
        for step in session(arguments.seed + 10_000 * (index + 1), arguments):
            asked = ask(sides[side], model, step)
            times_s[side].setdefault(step.name, []).append(asked.ttft_s)
            cached[side].setdefault(step.name, []).append(asked.cached)
    for name in times_s[WITH]:
        for side in times_s:
            times = shown(times_s[side][name], "s", 3)
            print(f"{model}, {name}, {side}: cached {cached[side][name][-1]}, TTFT {times}", flush=True)
        print_ratio(f"{model}, {name}, {WITH} / {WITHOUT}", times_s[WITH][name], times_s[WITHOUT][name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2, help="default: 2")
    parser.add_argument("--turns", type=int, default=6, help="default: 6")
    parser.add_argument("--system", type=int, default=8000, help="characters of the system prompt; default: 8000")
    parser.add_argument("--threads", type=int, default=physical_cores(), help="default: the physical cores")
    parser.add_argument("--seed", type=int, default=0, help="decides all texts; default: 0")
    parser.add_argument(
        "--model", type=Path, nargs="*", default=[], help="GGUF files and MLX folders; default: small ones"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, machine_watch():
        models = {path.name: path for path in arguments.model} or tiny_models(Path(folder))
        config: dict[str, Any] = {
            "generation": {"parallel": 2, "context_length": CONTEXT_LENGTH},
            "llamacpp": {"threads": arguments.threads, "kv_cells": 4 * CONTEXT_LENGTH},
        }
        files = {name: [path] for name, path in models.items()}
        with (
            gateway_with(files, {**config, "cache": {"persist": False}}) as ours,
            gateway_with(files, {**config, "cache": {"persist": False, "checkpoint_bytes": 0}}) as theirs,
        ):
            for model in models:
                measure(model, {WITH: ours, WITHOUT: theirs}, arguments)


if __name__ == "__main__":
    main()
