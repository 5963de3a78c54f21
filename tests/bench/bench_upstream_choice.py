"""Which of several upstreams to ask: the rule in force against others, over simulated fleets.

    python tests/bench/bench_upstream_choice.py [--upstreams 2 8 64] [--mixes mixed templates] [--arrivals bursty]

No server, no clock: a trace from one seed, and upstreams with places, a bounded cache and one prefill at a time
(`support/upstream_fleet.py`). The decision is `router.upstreams.balance`'s own. Figures compare rules; they are no
machine's.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.support.upstream_fleet import Machine, compared
from tests.bench.support.upstream_traces import MIXES, Arrivals, talks


def measure(mix: str, arrivals: Arrivals, num_upstreams: int, talks_each: int, seed: int) -> None:
    """Print a row for each policy on one trace."""
    trace = talks(MIXES[mix], arrivals, talks_each * num_upstreams, num_upstreams, seed)
    for name, found in compared(trace, num_upstreams, Machine()):
        ttft = " | ".join(f"{each:.2f}" for each in found.ttft_s)
        figures = f"{found.hit_rate:.0%} | {ttft} | {found.whole_p99_s:.1f} | {found.crowding:.2f}"
        print(f"| {mix}, {arrivals} | {num_upstreams} | {name} | {figures} |", flush=True)


def main() -> None:
    """Print the table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstreams", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64], metavar="N")
    parser.add_argument("--mixes", nargs="+", choices=list(MIXES), default=["mixed", "templates"])
    parser.add_argument("--arrivals", nargs="+", choices=["poisson", "bursty"], default=["poisson", "bursty"])
    parser.add_argument("--talks", type=int, default=40, help="talks for each upstream (default 40)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("| trace | upstreams | rule | hit rate | TTFT p50, s | p95 | p99 | whole p99, s | busiest's share |")
    print("|---|---|---|---|---|---|---|---|---|")
    for mix in args.mixes:
        for arrivals in args.arrivals:
            for num_upstreams in args.upstreams:
                measure(mix, arrivals, num_upstreams, args.talks, args.seed)


if __name__ == "__main__":
    main()
