"""A real client, a real engine, and a first prompt that takes a minute: progress, Ctrl-C in the middle, and once more.

The model is the bundled one, with a fifth of its layers and said to have a longer context than it was made for: what
it answers means nothing, what the client and the server do is looked at. Each client is set up and started by
`mlxr launch` behind a recording proxy, as `make agents` does it; when the server has computed a third of the prompt,
the client gets Ctrl-C; then it is started again with the same words and may end.

Usage: python -m tests.acceptance.long_prompt [--folder FOLDER] [CLIENT...]
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from gguf import GGUFReader, GGUFWriter

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.acceptance.agents import _advertised, _environment
from tests.acceptance.installing import install, version_of
from tests.acceptance.isolation import leave_the_network
from tests.acceptance.proxy import Exchange, recording_proxy
from tests.acceptance.trials import TRIALS, Task, Trial
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

REPOSITORY: Final = Path(__file__).parents[2]
MODEL: Final = "coder"
CONTEXT_LENGTH: Final = 1 << 16
NUM_LAYERS: Final = 6
"""Of 30."""

NUM_ANSWER_TOKENS: Final = 48
CUT_AT: Final = 1 / 3
TRIED: Final = ("claude", "codex")
END_TIMEOUT_S: Final = 1800.0
_TOLD_EVERY_S: Final = 10.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "agents", help="Where clients are.")
    parser.add_argument("clients", nargs="*", default=list(TRIED))
    options = parser.parse_args()
    trials = [trial for trial in TRIALS if trial.name in options.clients]
    missing = [why for trial in trials if (why := install(trial, options.folder)) is not None]
    leave_the_network()
    for trial in trials:
        if not missing:
            _tried(trial, options.folder)
    print("\n".join(missing))
    return int(bool(missing))


def _tried(trial: Trial, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="mlxr-long-") as name:
        root = Path(name)
        task = Task("word", root / "work" / "word.txt", root / "work" / "copy.txt")
        for each in (root / "work", root / "home"):
            each.mkdir()
        task.source.write_text("word\n")
        with _server(root / "server") as gateway, recording_proxy(gateway.url) as (proxy_url, exchanges):
            environment = _environment(trial, folder, root / "home", root / "mlxr", is_isolated=True)
            environment |= {"PWD": str(root / "work")}
            print(f"\n{trial.name} {version_of(trial, folder, environment)}; load {os.getloadavg()[0]:.1f}", flush=True)
            with _advertised(root / "mlxr", root / "home", proxy_url):
                for step in (_cut, _whole):
                    process = _started(trial, task, environment)
                    try:
                        step(process, gateway)
                    finally:
                        _end(process)
                    _tell(exchanges)
                    exchanges.clear()


def _shortened(bundled: Path, path: Path) -> Path:
    """Write the model with its first layers only and another context."""
    reader = GGUFReader(bundled)
    changed = {"llama.context_length": CONTEXT_LENGTH, "llama.block_count": NUM_LAYERS}
    writer = GGUFWriter(path, str(reader.fields["general.architecture"].contents()))
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            value, types = changed.get(name, field.contents()), field.types
            writer.add_key_value(name, value, types[0], sub_type=types[-1] if len(types) > 1 else None)
    for tensor in reader.tensors:
        layer = re.match(r"blk\.(\d+)\.", tensor.name)
        if layer is None or int(layer[1]) < NUM_LAYERS:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@contextmanager
def _server(home: Path) -> Iterator[GatewayProcess]:
    paths = Paths.under(home)
    paths.ensure_folders()
    bundled = next((REPOSITORY / ".venv").rglob("SmolLM2-135M-Instruct*.gguf"))
    file = _shortened(bundled, home / "model.gguf")
    with Registry(paths.registry_db) as registry:
        register_path(registry, file, name=MODEL)
        settings = {"context_length": CONTEXT_LENGTH, "max_tokens": NUM_ANSWER_TOKENS}
        registry.models.change_settings(MODEL, settings)
    gateway = GatewayProcess(home, config={"standby": False})
    try:
        yield gateway
    finally:
        gateway.stop()


def _started(trial: Trial, task: Task, environment: dict[str, str]) -> "subprocess.Popen[bytes]":
    launch = [sys.executable, "-P", "-m", "router.cli", "launch", trial.name, "--model", MODEL]
    return subprocess.Popen(
        [*launch, "--", *trial.arguments(task)],
        env=environment | {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(NUM_ANSWER_TOKENS)},
        cwd=task.source.parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _longest(gateway: GatewayProcess) -> dict[str, Any] | None:
    """Return the request with the longest prompt of those that run."""
    found = gateway.get("/v1/mlxr/requests")["requests"]
    known = [each for each in found if each["prompt_tokens"] is not None and each["prompt_tokens"] > 5000]
    return max(known, key=lambda each: int(each["prompt_tokens"]), default=None)


def _cut(process: "subprocess.Popen[bytes]", gateway: GatewayProcess) -> None:
    """Interrupt the client as soon as a third of its prompt is computed."""
    began, told = time.monotonic(), 0.0
    while True:
        request = _longest(gateway)
        if process.poll() is not None:
            print(f"it ended by itself: {_said(process)}")
            return
        if request is None:
            time.sleep(0.05)
            continue
        done, whole = request["prompt_tokens_done"] or 0, request["prompt_tokens"]
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            print(f"  {told - began:5.1f} s: {request['state']}, {done} of {whole} tokens computed", flush=True)
        if done > whole * CUT_AT:
            break
        time.sleep(0.05)
    print(f"  {time.monotonic() - began:5.1f} s: Ctrl-C after {done} of {whole} tokens")
    cut_at = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    wait_until(lambda: gateway.get("/v1/mlxr/requests")["requests"] == [], "the cancelled request's end")
    print(f"  the server had given it up {time.monotonic() - cut_at:.2f} s later", end="")
    process.wait(END_TIMEOUT_S)
    print(f", the client ended with {process.returncode} after {time.monotonic() - cut_at:.2f} s", flush=True)


def _whole(process: "subprocess.Popen[bytes]", gateway: GatewayProcess) -> None:
    """Let the client ask again and end; tell what was cached of its prompt."""
    began, cached, told = time.monotonic(), None, 0.0
    while process.poll() is None and time.monotonic() - began < END_TIMEOUT_S:
        request = _longest(gateway)
        if request is not None and request["prompt_tokens_cached"] is not None and request["id"] != cached:
            cached = request["id"]
            of = f"{request['prompt_tokens_cached']} of {request['prompt_tokens']}"
            print(f"  {time.monotonic() - began:5.1f} s: again, {of} tokens were kept", flush=True)
        if request is not None and time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            print(
                f"  {told - began:5.1f} s: {request['state']}, {request['prompt_tokens_done']} computed",
                flush=True,
            )
        time.sleep(0.05)
    print(
        f"  {time.monotonic() - began:5.1f} s: the client ended with {process.returncode}: {_said(process)}", flush=True
    )


def _tell(exchanges: list[Exchange]) -> None:
    for each in exchanges:
        if each.method == "POST":
            gaps = [later - earlier for earlier, later in zip(each.times, each.times[1:], strict=False)]
            signs = each.answer.count(b"event: ping") + each.answer.count(b"\n: ") + each.answer.startswith(b": ")
            print(
                f"  POST {each.path} {len(each.body):,} bytes -> {each.status}, {'whole' if each.is_whole else 'cut'}, "
                f"{each.times[-1] - each.times[0]:.1f} s, {signs} signs of life, longest silence "
                f"{max(gaps, default=0):.1f} s",
                flush=True,
            )


def _said(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout is not None
    return process.stdout.read().decode(errors="replace").strip()[-200:].replace("\n", " ")


if __name__ == "__main__":
    sys.exit(main())
