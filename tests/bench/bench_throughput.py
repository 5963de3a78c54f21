"""Tokens per second of several streams at once: mlxr against llama-server, llama-batched-bench and mlx_lm.server.

    python tests/bench/bench_throughput.py [--engines llamacpp mlx] [--streams 1 4 8 16] [--rounds 2] [--tokens 64]
                                           [--samplings greedy top_p top_k]

Both servers on the same file with as many slots as streams and the same threads, both running all the time; per round
the same short chats, all different, to one and then to the other, in the order A B, B A and so on. A stream's tokens
are counted by the servers' own usage and must be exactly those asked for (end tokens are ignored; mlx_lm.server, which
knows no `ignore_eos`, has them banned by `logit_bias`, one addition a step). `llama-batched-bench` runs once a round
with as many sequences and as long prompts, beside the greedy rows. All is asked greedily, at temperature 0.8 with top_p
0.95, and at 0.8 with top_k 40, by the same filters on both sides. Two rates are compared: of the whole round, from
sending to the last token, prefill included; and of decode alone, while all streams give text. pytest does not collect
it.
"""

import argparse
import asyncio
import statistics
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.models import MODEL, bundled_gguf, bundled_mlx
from tests.bench.support.pairs import THEIRS, llama_pair, parser_for
from tests.bench.support.prompts import story_prompts
from tests.bench.support.report import in_turns, machine_watch, print_ratio, shown
from tests.bench.support.sampling import SAMPLINGS
from tests.bench.support.servers import batched_bench, gateway_with, peer_tool, running, skip, start_mlx_server
from tests.bench.support.streams import Answer, chat_body, stream_all

CELLS_PER_STREAM = 1024
MLX_STREAMS = (1, 4)
MLX_SERVER_MODEL = "default_model"
END_TOKEN_IDS = ("0", "2")
"""<|endoftext|> and <|im_end|> of the bundled model."""
WARM_UP = [{"role": "user", "content": "Say hello."}]


def rates(answers: list[Answer], num_tokens: int) -> tuple[float, float]:
    """Return tokens per second of the whole round and of decode, while all streams gave text."""
    for answer in answers:
        if answer.num_tokens != num_tokens:
            sys.exit(f"an answer has {answer.num_tokens} tokens instead of {num_tokens}: {answer.text[:200]!r}")
    started_at = min(answer.sent_at for answer in answers)
    ended_at = max(answer.text_times[-1] for answer in answers)
    begin = max(answer.text_times[0] for answer in answers)
    end = min(answer.text_times[-1] for answer in answers)
    num_within = sum(
        sum(begin < moment <= end for moment in answer.text_times) * num_tokens / len(answer.text_times)
        for answer in answers
    )
    decode = num_within / (end - begin) if end > begin else float("nan")
    return len(answers) * num_tokens / (ended_at - started_at), decode


def stream_round(
    url: str, model: str, seed: int, num_streams: int, num_tokens: int, sampling: dict[str, Any]
) -> list[Answer]:
    """Send one round's chats."""
    wish = {"ignore_eos": True} if model != MLX_SERVER_MODEL else {"logit_bias": dict.fromkeys(END_TOKEN_IDS, -100)}
    bodies = [chat_body(model, chat, num_tokens, **wish, **sampling) for chat in story_prompts(seed, num_streams)]
    return asyncio.run(stream_all(url, bodies))


def measure(urls: dict[str, tuple[str, str]], arguments: argparse.Namespace, num_streams: int) -> None:
    """Run the rounds of one number of streams, drawn in each of the ways."""
    for url, model in urls.values():
        asyncio.run(stream_all(url, [chat_body(model, WARM_UP, 4)]))
    for name in arguments.samplings:
        measure_sampling(urls, arguments, num_streams, name)


def measure_sampling(
    urls: dict[str, tuple[str, str]], arguments: argparse.Namespace, num_streams: int, sampling: str
) -> None:
    """Run the rounds of one number of streams, and print their ratios.

    Args:
        urls: URL and model name per side, ours first.
        arguments: The command line.
        num_streams: Streams at a time.
        sampling: A key of `SAMPLINGS`.
    """
    ours, theirs = urls
    whole: dict[str, list[float]] = {side: [] for side in urls}
    decode: dict[str, list[float]] = {side: [] for side in urls}
    kernels: list[tuple[float, float]] = []
    seed = arguments.seed + 1000 * list(SAMPLINGS).index(sampling)  # no prompt of another sampling is in a cache
    for index, side in in_turns(list(urls), arguments.rounds):
        url, model = urls[side]
        answers = stream_round(url, model, seed + index, num_streams, arguments.tokens, SAMPLINGS[sampling])
        whole_rate, decode_rate = rates(answers, arguments.tokens)
        whole[side].append(whole_rate)
        decode[side].append(decode_rate)
        if side == ours and theirs == THEIRS and sampling == "greedy":
            num_prompt_tokens = round(statistics.mean(answer.num_prompt_tokens or 0 for answer in answers))
            kernels.append(kernel_rates(arguments, num_streams, num_prompt_tokens))
    print_streams(f"{num_streams:2d} streams, {sampling}", num_streams, whole, decode, kernels)


def kernel_rates(arguments: argparse.Namespace, num_streams: int, num_prompt_tokens: int) -> tuple[float, float]:
    """Return the decode rate and the whole rate of llama-batched-bench."""
    return batched_bench(
        peer_tool("llama-batched-bench", arguments.peers),
        bundled_gguf(),
        num_sequences=num_streams,
        num_prompt_tokens=num_prompt_tokens,
        num_tokens=arguments.tokens,
        num_threads=arguments.threads,
    )


def print_streams(
    what: str,
    num_streams: int,
    whole: dict[str, list[float]],
    decode: dict[str, list[float]],
    kernels: list[tuple[float, float]],
) -> None:
    """Print what was measured with one number of streams."""
    ours, theirs = whole
    for side, values in whole.items():
        print(f"{what}, {side}: {shown(values, 'tokens/s')}, decode {shown(decode[side], '')}")
    target = 1.0 if num_streams == 1 or theirs == "mlx_lm.server" else 1.1
    print_ratio(f"{what}, {ours} / {theirs}", whole[ours], whole[theirs], at_least=target)
    print_ratio(f"{what}, {ours} / {theirs}, decode", decode[ours], decode[theirs])
    if kernels:
        decode_rates, whole_rates = [rate for rate, _ in kernels], [rate for _, rate in kernels]
        name = f"{what}, {ours} / llama-batched-bench"
        print(f"{what}, llama-batched-bench: {shown(whole_rates, 'tokens/s')}, ", end="")
        print(f"decode {shown(decode_rates, '')}")
        print_ratio(name, whole[ours], whole_rates, at_least=0.9)
        print_ratio(f"{name}, decode", decode[ours], decode_rates, at_least=0.9)
    sys.stdout.flush()


def compare_llamacpp(arguments: argparse.Namespace, num_streams: int) -> None:
    """Measure mlxr's llamacpp engine against llama-server and the bare kernels."""
    with llama_pair(arguments, num_slots=num_streams, context_length=CELLS_PER_STREAM) as pair:
        measure(pair.sides, arguments, num_streams)


def compare_mlx(arguments: argparse.Namespace, num_streams: int) -> None:
    """Measure mlxr's mlx engine against mlx_lm.server."""
    folder = bundled_mlx()
    if folder is None:
        skip("the bundled model has no MLX form in the default home; run scripts/setup")
    config = {"engine": "mlx", "generation": {"parallel": num_streams}}
    with ExitStack() as stack:
        gateway = stack.enter_context(gateway_with({MODEL: [folder]}, config))
        peer = stack.enter_context(running(lambda: start_mlx_server(folder)))
        sides = {"mlxr mlx": (gateway.url, MODEL), "mlx_lm.server": (peer.url, MLX_SERVER_MODEL)}
        measure(sides, arguments, num_streams)


def main() -> None:
    parser = parser_for(__doc__, rounds=2)
    parser.add_argument("--engines", nargs="+", choices=["llamacpp", "mlx"], default=["llamacpp", "mlx"])
    parser.add_argument("--streams", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--samplings", nargs="+", choices=list(SAMPLINGS), default=list(SAMPLINGS))
    arguments = parser.parse_args()
    with machine_watch():
        if "llamacpp" in arguments.engines:
            for num_streams in arguments.streams:
                compare_llamacpp(arguments, num_streams)
        if "mlx" in arguments.engines:
            for num_streams in (number for number in arguments.streams if number in MLX_STREAMS):
                compare_mlx(arguments, num_streams)


if __name__ == "__main__":
    main()
