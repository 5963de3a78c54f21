"""`make agents`: each client that installs here, set up by `mlxr launch`, does a small task on a scripted engine.

For each client: a home of its own, without a network but the loopback; a gateway whose engine plays the client's
dialogue; a proxy before it that records. `mlxr launch` is told the proxy's address, as if the server were there. What
passed comes into a table of docs/agents.md.

Usage: python -m tests.acceptance.agents [--folder FOLDER] [--record] [--no-table] [CLIENT...]
"""

import argparse
import contextlib
import datetime as dt
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from registry.scan import register_path
from registry.store import Registry
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
from router.version import VERSION
from tests.acceptance.installing import install, program_folder, version_of
from tests.acceptance.isolation import leave_the_network
from tests.acceptance.judge import Outcome, faults_of, requests_by
from tests.acceptance.proxy import Exchange, recording_proxy
from tests.acceptance.recording import fixture_of
from tests.acceptance.trials import TRIALS, Task, Trial
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

REPOSITORY: Final = Path(__file__).parents[2]
PAGE: Final = REPOSITORY / "docs" / "agents.md"
RECORDED: Final = REPOSITORY / "tests" / "router" / "protocols" / "recorded"
MODEL: Final = "coder"
CONTEXT_LENGTH: Final = 1 << 19
"""Of the fake engine a token is a byte."""

TRIAL_TIMEOUT_S: Final = 600.0
_NOBODY: Final = "http://127.0.0.1:9"
"""A proxy that is not there: where the network cannot be left, clients that ask others by it reach nobody."""

_TABLE: Final = re.compile(r"(<!-- acceptance: .*? -->\n).*?(<!-- end of acceptance -->)", re.DOTALL)
_LEFT_OUT: Final = ("MLXR_", "HF_", "ANTHROPIC_", "OPENAI_", "CLAUDE", "CODEX", "QWEN", "XDG_", "AIDER_", "LLM_")


class Row(NamedTuple):
    """What is told of one client."""

    trial: Trial
    version: str
    num_requests: int
    faults: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=REPOSITORY / "build" / "agents", help="Where clients are.")
    parser.add_argument("--record", action="store_true", help="Keep first and third requests as fixtures of the tests.")
    parser.add_argument("--no-table", action="store_true", help="Leave docs/agents.md as it is.")
    parser.add_argument("clients", nargs="*", help="Only these.")
    options = parser.parse_args()
    trials = [trial for trial in TRIALS if trial.name in options.clients or not options.clients]
    missing = {trial.name: why for trial in trials if (why := install(trial, options.folder)) is not None}
    for name, why in missing.items():
        print(f"{name}: cannot be installed here: {why}")
    why_not = leave_the_network()
    print("There is no network but the loopback." if why_not is None else f"The network is not left: {why_not}.")
    rows = []
    for trial in trials:
        if trial.name not in missing:
            rows.append(_tried(trial, options.folder, is_recording=options.record, is_isolated=why_not is None))
            print(f"{trial.name} {rows[-1].version}: {'; '.join(rows[-1].faults) or 'passed'}", flush=True)
    if rows and not options.no_table:
        text = PAGE.read_text()
        PAGE.write_text(_TABLE.sub(lambda match: match[1] + _table(rows, text) + match[2], text))
    return int(any(row.faults for row in rows) or len(rows) < len(trials))


def _tried(trial: Trial, folder: Path, *, is_recording: bool, is_isolated: bool) -> Row:
    """Have one client do its task."""
    with tempfile.TemporaryDirectory(prefix="mlxr-agent-") as name:
        root = Path(name)
        work, user = root / "work", root / "home"
        work.mkdir()
        user.mkdir()
        word = "w" + secrets.token_hex(8)
        task = Task(word, work / "word.txt", work / "copy.txt")
        task.source.write_text(f"{word}\n")
        if trial.before is not None:
            trial.before(task)
        with _server(root / "server", trial, task) as url, recording_proxy(url) as (proxy_url, exchanges):
            environment = _environment(trial, folder, user, root / "mlxr", is_isolated=is_isolated)
            environment["PWD"] = str(work)
            version = version_of(trial, folder, environment)
            with _advertised(root / "mlxr", user, proxy_url):
                exit_code = _run(trial, task, environment, folder / trial.name)
        content = task.target.read_bytes() if task.target.exists() else None
        faults = faults_of(Outcome(exit_code, content, f"{word}\n".encode(), exchanges), trial.api, trial.num_calls)
        asked = requests_by(exchanges, trial.api)
        (folder / trial.name / "requests.txt").write_bytes(b"\n".join(map(_told, exchanges)))
        if is_recording and not faults:
            _record(trial, version, asked, {str(root): "/tmp/agent", word: "a-random-word"})
    return Row(trial, version, len(asked), faults)


@contextmanager
def _server(home: Path, trial: Trial, task: Task) -> Iterator[str]:
    """Serve a model that plays the dialogue; give the address."""
    paths = Paths.under(home)
    paths.ensure_folders()
    file = tiny_model.write_gguf(home / "coder.gguf", name=MODEL, context_length=CONTEXT_LENGTH)
    with Registry(paths.registry_db) as registry:
        register_path(registry, file, name=MODEL)
        registry.models.change_settings(MODEL, {"context_length": CONTEXT_LENGTH})
    options = {"context_length": CONTEXT_LENGTH, "answers": [*trial.dialogue(task), ("", "Nothing.")]}
    gateway = GatewayProcess(home, config={"standby": False}, fake_options=options)
    try:
        yield gateway.url
    finally:
        gateway.stop()


@contextmanager
def _advertised(home: Path, user: Path, url: str) -> Iterator[None]:
    """Have `mlxr launch` find a server at an address."""
    paths = Paths.under(home, user_home=user)
    paths.ensure_folders()
    with InstanceLock.acquire(paths) as lock:
        lock.publish(RunningInstance(pid=os.getpid(), url=url, version=VERSION, started_at=0.0))
        yield


def _environment(trial: Trial, folder: Path, user: Path, home: Path, *, is_isolated: bool) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEFT_OUT)}
    nowhere = {} if is_isolated else dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOBODY)
    return {
        **kept,
        **nowhere,
        **trial.settings,
        "HOME": str(user),
        "MLXR_HOME": str(home),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "PATH": os.pathsep.join([str(program_folder(trial, folder)), kept["PATH"]]),
        "PYTHONPATH": str(REPOSITORY),
        "TERM": "dumb",
    }


def _run(trial: Trial, task: Task, environment: dict[str, str], logs: Path) -> int | None:
    """Launch the client and wait for its end; return its exit code, None where there is none in time."""
    launch = [sys.executable, "-P", "-m", "router.cli", "launch", trial.name, "--model", MODEL]
    command = [*launch, "--", *trial.arguments(task)]
    if not trial.is_started:
        subprocess.run([*launch, "--no-start"], env=environment, cwd=task.source.parent, check=True)
        found = shutil.which(trial.program, path=environment["PATH"])
        command = [found or trial.program, *trial.arguments(task)]
    with (logs / "stdout.txt").open("wb") as out, (logs / "stderr.txt").open("wb") as err:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=task.source.parent,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            return process.wait(TRIAL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _told(exchange: Exchange) -> bytes:
    """Write an exchange for whoever looks for why a client fails."""
    head = f"{exchange.method} {exchange.path} -> {exchange.status}, {'whole' if exchange.is_whole else 'cut'}\n"
    return head.encode() + exchange.body + b"\n" + bytes(exchange.answer)


def _record(trial: Trial, version: str, asked: list[Exchange], replaced: dict[str, str]) -> None:
    for index, suffix in ((0, ""), (2, "-third")):
        if index < len(asked):
            path = RECORDED / f"{trial.name}-{version}{suffix}.json"
            path.write_bytes(fixture_of(asked[index], replaced))


def _table(rows: list[Row], page: str) -> str:
    """Write the table, with rows of clients that were not tried this time as they were."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    lines = {line.split("|")[1].strip(): line for line in page.splitlines() if line.endswith(" |") and "| /v1/" in line}
    for row in rows:
        passed = "yes" if not row.faults else "no: " + "; ".join(row.faults)
        lines[row.trial.name] = (
            f"| {row.trial.name} | {row.version} | {row.trial.api} | {row.num_requests} | {passed} | {today} |"
        )
    head = "| client | version | API | requests | passed | date |\n|---|---|---|---|---|---|\n"
    known = [lines[trial.name] for trial in TRIALS if trial.name in lines]
    return head + "\n".join(known) + "\n"


if __name__ == "__main__":
    sys.exit(main())
