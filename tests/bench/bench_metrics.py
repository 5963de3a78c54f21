"""CPU that metrics cost the gateway per streamed token, with the fake engine: bench_metrics.py

Two gateways, one with metrics and one without, stream in turns, 8 streams at a time; prints the median of each one's
microseconds of CPU per token and the median of the rounds' ratios. Target: at most 1.02.
"""

import asyncio
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.bench.bench_gateway_tokens import measure
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

ROUNDS = 12
STREAMS = 8


def start(folder: Path, *, has_metrics: bool) -> GatewayProcess:
    paths = Paths.under(folder)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(folder / "tiny.gguf"), name="tiny")
    config = {
        "generation": {"parallel": 32},
        "limits": {"max_queue": 100},
        "models": {"hf_cache": False},
        "telemetry": {"metrics": has_metrics},
    }
    return GatewayProcess(folder, config=config, fake_options={"decode_s": 0.005})


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        gateways = {name: start(Path(folder) / name, has_metrics=name == "on") for name in ("on", "off")}
        try:
            costs: dict[str, list[float]] = {"on": [], "off": []}
            for number in range(rounds):
                for name in ("on", "off") if number % 2 else ("off", "on"):
                    costs[name].append(asyncio.run(measure(gateways[name], STREAMS))[0])
                print(f"round {number + 1}: on {costs['on'][-1]:.1f} us, off {costs['off'][-1]:.1f} us", flush=True)
            ratios = [on / off for on, off in zip(costs["on"], costs["off"], strict=True)]
            medians = {name: statistics.median(each) for name, each in costs.items()}
            print(f"on {medians['on']:.1f} us, off {medians['off']:.1f} us of gateway CPU per token")
            print(f"on over off: {statistics.median(ratios):.3f} (median of {rounds} rounds; target 1.02)")
        finally:
            for gateway in gateways.values():
                gateway.stop()


if __name__ == "__main__":
    main()
