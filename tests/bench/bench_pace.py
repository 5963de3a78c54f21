"""The pace of running streams while a long prompt comes in, and what that prompt's first token waits.

    python tests/bench/bench_pace.py [--streams 1 4] [--rounds 1] [--prompt-tokens 4000]

One gateway, llamacpp engine. A round, for each number of streams: a long prompt on the idle server; then the streams,
and once they run, another prompt of the same length. The gaps between chunks of text are those of all streams
from the sending of the prompt to its first token; the last one counts as far as it got. Their p99 is compared with
their own p50 and with the p50 before the prompt: where every step is slow, the first ratio alone would look good.
pytest does not collect it.
"""

import argparse
import asyncio
import itertools
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf
from tests.bench.support.pairs import gateway_config, parser_for
from tests.bench.support.prompts import story_prompts, text_of
from tests.bench.support.report import machine_watch, print_ratio, print_value, quantile, shown
from tests.bench.support.servers import gateway_with
from tests.bench.support.streams import Answer, chat_body, stream_chat
from tests.support.gateway_process import GatewayProcess

CONTEXT_LENGTH = 8192
NUM_SLOTS = 6
NUM_STREAM_TOKENS = 3500
NUM_CHUNKS_WARM = 8
NUM_CHUNKS_BEFORE = 48


def long_body(gateway: GatewayProcess, seed: int, num_tokens: int) -> dict[str, object]:
    """Return a request with a new prompt of about that many tokens and an answer of one."""

    def count(text: str) -> int:
        answer = gateway.post("/tokenize", {"model": MODEL, "content": text})
        return len(answer.raise_for_status().json()["tokens"])

    return chat_body(MODEL, [{"role": "user", "content": text_of(seed, num_tokens, count)}], 1, ignore_eos=True)


def gaps_within(answers: list[Answer], begin: float, end: float) -> list[float]:
    """Return the gaps of all streams that overlap a span of time, an unfinished one as far as it got."""
    gaps: list[float] = []
    for answer in answers:
        times = [*(moment for moment in answer.text_times if moment < end), end]
        gaps += [later - earlier for earlier, later in itertools.pairwise(times) if later > begin]
    return gaps


async def disturbed(
    url: str, streams: list[dict[str, object]], prompt: dict[str, object]
) -> tuple[list[Answer], float, Answer]:
    """Run the streams, send the prompt once they run, and cut the streams off at its first token.

    Returns:
        The streams' answers as far as they came, when the prompt was sent, and the prompt's answer.
    """
    answers = [Answer(0.0) for _ in streams]
    are_running = asyncio.Event()

    def on_text(_: Answer) -> None:
        if all(len(answer.text_times) >= NUM_CHUNKS_BEFORE for answer in answers):
            are_running.set()

    tasks = [
        asyncio.create_task(stream_chat(url, body, on_text=on_text, answer=answer))
        for body, answer in zip(streams, answers, strict=True)
    ]
    try:
        await are_running.wait()
        sent_at = time.perf_counter()
        long = await stream_chat(url, prompt)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if over := [result for result in results if not isinstance(result, asyncio.CancelledError)]:
        sys.exit(f"{len(over)} streams ended before the prompt's first token: {over[0]!r}"[:500])
    return answers, sent_at, long


def measure(gateway: GatewayProcess, arguments: argparse.Namespace, num_streams: int) -> None:
    """Run the rounds with one number of streams and print its figures."""
    gaps_s: list[float] = []
    free_gaps_s: list[float] = []
    idle_s: list[float] = []
    busy_s: list[float] = []
    for index in range(arguments.rounds):
        seed = arguments.seed + 100 * num_streams + 2 * index
        prompts = [long_body(gateway, seed + extra, arguments.prompt_tokens) for extra in (0, 1)]
        idle_s.append(asyncio.run(stream_chat(gateway.url, prompts[0])).ttft_s)
        chats = story_prompts(seed, num_streams)
        streams = [chat_body(MODEL, chat, NUM_STREAM_TOKENS, ignore_eos=True) for chat in chats]
        answers, sent_at, long = asyncio.run(disturbed(gateway.url, streams, prompts[1]))
        busy_s.append(long.ttft_s)
        gaps_s += gaps_within(answers, sent_at, long.text_times[0])
        for answer in answers:
            before = [moment for moment in answer.text_times[NUM_CHUNKS_WARM:] if moment < sent_at]
            free_gaps_s += [later - earlier for earlier, later in itertools.pairwise(before)]
    print_pace(num_streams, gaps_s, free_gaps_s)
    print(f"{num_streams} streams: TTFT of the prompt idle {shown(idle_s, 's')}, with streams {shown(busy_s, 's')}")
    print_ratio(f"{num_streams} streams: TTFT of the prompt, with streams / idle", busy_s, idle_s)


def print_pace(num_streams: int, gaps_s: list[float], free_gaps_s: list[float]) -> None:
    """Print the gaps while the prompt came in, beside those before."""
    p50, p99, worst = quantile(gaps_s, 0.5), quantile(gaps_s, 0.99), max(gaps_s)
    free = statistics.median(free_gaps_s)
    print(
        f"{num_streams} streams: gaps while the prompt comes in p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms, "
        f"longest {worst * 1000:.1f} ms ({len(gaps_s)} gaps); before p50 {free * 1000:.1f} ms, "
        f"p99 {quantile(free_gaps_s, 0.99) * 1000:.1f} ms"
    )
    print_value(f"{num_streams} streams: p99 / p50 of gaps while a prompt comes in", p99 / p50, at_most=3)
    print_value(f"{num_streams} streams: p99 of these / p50 before", p99 / free, at_most=3)


def main() -> None:
    parser = parser_for(__doc__, rounds=1)
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--prompt-tokens", type=int, default=4000)
    arguments = parser.parse_args()
    config = gateway_config(NUM_SLOTS, CONTEXT_LENGTH, arguments.threads)
    config["llamacpp"]["kv_cells"] = 3 * CONTEXT_LENGTH
    with machine_watch(), gateway_with({MODEL: [bundled_gguf()]}, config) as gateway:
        for num_streams in arguments.streams:
            measure(gateway, arguments, num_streams)


if __name__ == "__main__":
    main()
