"""Time to first token of a cold burst: eight requests with the same long system prompt at once, against llama-server.

    python tests/bench/bench_burst.py [--rounds 2] [--requests 8] [--system-tokens 686] [--tokens 16]

Both servers run all the time, with as many slots as requests. Each round has a system prompt that neither has seen,
different from its first words on, and a different question in each request; it goes to one server and then to the
other, in the order A B, B A and so on. pytest does not collect it.
"""

import argparse
import asyncio
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.pairs import OURS, THEIRS, Pair, llama_pair, parser_for
from tests.bench.support.prompts import questions, text_of
from tests.bench.support.report import in_turns, machine_watch, print_ratio, shown
from tests.bench.support.streams import Answer, chat_body, stream_all


def burst(url: str, model: str, system: str, arguments: argparse.Namespace) -> list[Answer]:
    """Send the requests at once and return their answers."""
    bodies = [
        chat_body(
            model,
            [{"role": "system", "content": system}, {"role": "user", "content": question}],
            arguments.tokens,
            ignore_eos=True,
        )
        for question in questions(arguments.requests)
    ]
    return asyncio.run(stream_all(url, bodies))


def measure(pair: Pair, arguments: argparse.Namespace) -> None:
    """Run the rounds and print the ratio."""
    median_s: dict[str, list[float]] = {OURS: [], THEIRS: []}
    worst_s: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for url, model in pair.sides.values():
        asyncio.run(stream_all(url, [chat_body(model, [{"role": "user", "content": "Say hello."}], 4)]))
    for index, side in in_turns(list(pair.sides), arguments.rounds):
        system = text_of(arguments.seed + index, arguments.system_tokens, pair.num_tokens)
        url, model = pair.sides[side]
        answers = burst(url, model, system, arguments)
        times_s = sorted(answer.ttft_s for answer in answers)
        median_s[side].append(statistics.median(times_s))
        worst_s[side].append(times_s[-1])
        cached = [answer.num_cached_tokens for answer in answers]
        print(
            f"{side}: TTFT median {median_s[side][-1]:.2f} s, last {times_s[-1]:.2f} s; prompts of "
            f"{answers[0].num_prompt_tokens} tokens, cached {cached}",
            flush=True,
        )
    for side, values in median_s.items():
        print(f"{side}: TTFT p50 {shown(values, 's')}, last {shown(worst_s[side], 's')}")
    print_ratio(f"TTFT p50, {OURS} / {THEIRS}", median_s[OURS], median_s[THEIRS], at_most=0.25)
    print_ratio(f"TTFT of the last, {OURS} / {THEIRS}", worst_s[OURS], worst_s[THEIRS])


def main() -> None:
    parser = parser_for(__doc__, rounds=2)
    parser.add_argument("--requests", type=int, default=8)
    parser.add_argument("--system-tokens", type=int, default=686)
    parser.add_argument("--tokens", type=int, default=16)
    arguments = parser.parse_args()
    with (
        machine_watch(),
        llama_pair(arguments, num_slots=arguments.requests, context_length=arguments.system_tokens + 338) as pair,
    ):
        measure(pair, arguments)


if __name__ == "__main__":
    main()
