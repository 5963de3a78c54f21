"""A benchmark against llama-server on the same file; skipped where it is not installed (docs/benchmarks.md)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.bench.support.servers import peer_tool, running, start_llama_server
from tests.support.gateway_process import GatewayProcess, run_cli


@pytest.fixture
def llama_server() -> Path:
    try:
        return peer_tool("llama-server")
    except SystemExit:
        pytest.skip("llama-server is not in .venv-bench; docs/benchmarks.md has the commands that install it")


def test_llama_server_is_measured_by_its_address(
    llama_server: Path, tmp_path: Path, bundled_gguf: Path, make_home: Callable[[Path], Path]
) -> None:
    home = make_home(tmp_path / "home")
    with Registry(Paths.under(home).registry_db) as registry:
        register_path(registry, bundled_gguf, name="real")
    gateway = GatewayProcess(home)
    try:
        with running(
            lambda: start_llama_server(llama_server, bundled_gguf, num_slots=4, num_cells=8192, num_threads=2)
        ) as peer:
            who = ("--a", "llamacpp", "--b", f"{peer.url}#real")
            arguments = (*who, "--repeats", "1", "--scenarios", "short-chat,json-schema", "--minutes", "3", "--json")
            done = run_cli(home, "bench", "real", *arguments)
    finally:
        gateway.stop()
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    record = body.get("record", body)
    theirs = [sample for sample in record["samples"] if sample["contestant"] == 1]
    assert {sample["scenario"] for sample in theirs} == {"short-chat", "json-schema"}
    assert all(sample.get("error") is None and sample["ttft_ms"] > 0 for sample in theirs)
    assert next(sample for sample in theirs if sample["scenario"] == "short-chat")["num_output_tokens"] == 48
    ours, peers = (one["quality"] for one in record["contestants"])
    # The same file on two builds of one library: what they know of a text is the same but for rounding.
    assert ours["num_scored_tokens"] == peers["num_scored_tokens"] > 0
    assert ours["mean_logprob"] == pytest.approx(peers["mean_logprob"], abs=0.1)
