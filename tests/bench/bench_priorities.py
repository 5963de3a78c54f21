"""An interactive request among eight background streams: its time to first token, and what becomes of the streams.

    python tests/bench/bench_priorities.py [--models tiny bundled] [--rounds 2] [--background 8] [--tokens 128]

One gateway per model, with as many places as background streams, llamacpp engine. A round: interactive requests on the
idle server; the background streams alone; the same streams again, and interactive requests while all of them give
text, none of them at its end yet. The answers of the streams are greedy: on the tiny float32 model they must be the
same bytes both times, on the bundled quantised one the share that is the same is told. pytest does not collect it.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf
from tests.bench.support.pairs import gateway_config, parser_for
from tests.bench.support.prompts import story_prompts
from tests.bench.support.report import machine_watch, print_value, shown
from tests.bench.support.servers import gateway_with
from tests.bench.support.streams import Answer, chat_body, stream_all, stream_chat
from tests.support import tiny_model

PRIORITY_HEADER = "X-Mlxr-Priority"
BACKGROUND = {PRIORITY_HEADER: "background"}
INTERACTIVE = {PRIORITY_HEADER: "interactive"}
NUM_INTERACTIVE = 3
NUM_INTERACTIVE_TOKENS = 8
NUM_CHUNKS_BEFORE = 4
CONTEXT_LENGTH = 512


async def interactive_ttft_s(url: str, model: str, seed: int, still: Callable[[], bool] = lambda: True) -> list[float]:
    """Send interactive requests one after the other, as long as `still()`; return their times to first token."""
    times_s = []
    for chat in story_prompts(seed, NUM_INTERACTIVE):
        if not still():
            break
        body = chat_body(model, chat, NUM_INTERACTIVE_TOKENS, ignore_eos=True)
        times_s.append((await stream_chat(url, body, headers=INTERACTIVE)).ttft_s)
    return times_s


def background_bodies(model: str, arguments: argparse.Namespace, index: int) -> list[dict[str, object]]:
    """Return one round's background requests."""
    chats = story_prompts(arguments.seed + 1000 + index, arguments.background)
    return [chat_body(model, chat, arguments.tokens, ignore_eos=True) for chat in chats]


async def disturbed(
    url: str, model: str, bodies: list[dict[str, object]], seed: int
) -> tuple[list[Answer], list[float]]:
    """Run the background streams, and interactive requests once all of them give text; return what both saw."""
    num_ready = 0
    all_ready = asyncio.Event()

    def on_text(answer: Answer) -> None:
        nonlocal num_ready
        num_ready += len(answer.text_times) == NUM_CHUNKS_BEFORE
        if num_ready == len(bodies):
            all_ready.set()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(stream_chat(url, body, headers=BACKGROUND, on_text=on_text)) for body in bodies]
        await all_ready.wait()
        times_s = await interactive_ttft_s(url, model, seed, lambda: not any(task.done() for task in tasks))
    return [task.result() for task in tasks], times_s


def measure(url: str, model: str, arguments: argparse.Namespace, *, must_be_equal: bool) -> None:
    """Run the rounds on one model and print its figures."""
    idle_s: list[float] = []
    busy_s: list[float] = []
    num_equal = num_complete = num_streams = 0
    asyncio.run(interactive_ttft_s(url, model, arguments.seed - 1))
    for index in range(arguments.rounds):
        idle_s += asyncio.run(interactive_ttft_s(url, model, arguments.seed + 2 * index))
        bodies = background_bodies(model, arguments, index)
        alone = asyncio.run(stream_all(url, bodies, BACKGROUND))
        among, times_s = asyncio.run(disturbed(url, model, bodies, arguments.seed + 2 * index + 1))
        busy_s += times_s
        num_streams += len(among)
        num_complete += sum(answer.num_tokens == arguments.tokens for answer in among)
        num_equal += sum(one.text == other.text for one, other in zip(alone, among, strict=True))
    if not busy_s:
        sys.exit(f"{model}: the background streams ended before any interactive request; use more --tokens")
    print(f"{model}: interactive TTFT idle {shown(idle_s, 's', 3)}, among background {shown(busy_s, 's', 3)}")
    ratio = statistics.median(busy_s) / statistics.median(idle_s)
    print_value(f"{model}: TTFT among {arguments.background} background streams / idle", ratio, at_most=1.5)
    print(f"{len(busy_s)} and {len(idle_s)} requests, {num_streams} background streams")
    print_value(f"{model}: share of background streams with all their tokens", num_complete / num_streams, at_least=1)
    least = 1 if must_be_equal else None
    print_value(f"{model}: share of background texts as undisturbed", num_equal / num_streams, at_least=least)


def main() -> None:
    parser = parser_for(__doc__, rounds=2)
    parser.add_argument("--models", nargs="+", choices=["tiny", "bundled"], default=["tiny", "bundled"])
    parser.add_argument("--background", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=128, help="of each background stream; default: 128")
    arguments = parser.parse_args()
    config = gateway_config(arguments.background, CONTEXT_LENGTH, arguments.threads)
    with machine_watch(), tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            is_tiny = name == "tiny"
            file = tiny_model.write_gguf(Path(folder) / "tiny.gguf") if is_tiny else bundled_gguf()
            model = name if is_tiny else MODEL
            with gateway_with({model: [file]}, config) as gateway:
                measure(gateway.url, model, arguments, must_be_equal=is_tiny)


if __name__ == "__main__":
    main()
