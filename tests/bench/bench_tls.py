"""What TLS costs the gateway, beside plain HTTP in one interleaved run: bench_tls.py

Prints the gateway's CPU per streamed token for 1, 8 and 32 streams at a time, plain and over TLS, and their ratio; then
its CPU per request of a client that shakes hands for each, by the kind of the certificate's key.
"""

import asyncio
import ssl
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil

sys.path.insert(0, str(Path(__file__).parents[2]))
from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.bench.bench_gateway_tokens import measure
from tests.support import tiny_model
from tests.support.certificates import EC, RSA, Authority
from tests.support.gateway_process import GatewayProcess

ROUNDS = 5
NUM_HANDSHAKES = 200


def start(folder: Path, server: dict[str, str]) -> GatewayProcess:
    paths = Paths.under(folder / "home")
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(folder / "tiny.gguf"), name="tiny")
    config = {
        "generation": {"parallel": 32},
        "limits": {"max_queue": 100},
        "models": {"hf_cache": False},
        "server": server,
    }
    return GatewayProcess(folder / "home", config=config, fake_options={"decode_s": 0.01})


def start_encrypted(folder: Path, authority: Authority, kind: tuple[str, ...]) -> GatewayProcess:
    folder.mkdir()
    files = authority.make(kind=kind)
    return start(folder, {"tls_cert_file": str(files.certificate), "tls_key_file": str(files.key)})


def cpu_per_request_ms(gateway: GatewayProcess, trusting: ssl.SSLContext) -> float:
    process = psutil.Process(gateway.pid)
    before = process.cpu_times()
    for _ in range(NUM_HANDSHAKES):
        with httpx.Client(verify=trusting, trust_env=False) as client:
            client.get(f"{gateway.url}/health").raise_for_status()
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / NUM_HANDSHAKES * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        authority = Authority(folder)
        trusting = authority.trusting()
        (folder / "plain").mkdir()
        gateways = {
            "plain": start(folder / "plain", {}),
            "TLS, EC key": start_encrypted(folder / "ec", authority, EC),
            "TLS, RSA key": start_encrypted(folder / "rsa", authority, RSA),
        }
        for gateway in gateways.values():
            stack.callback(gateway.stop)
        for num_streams in (1, 8, 32):
            runs: dict[str, list[float]] = {"plain": [], "TLS, EC key": []}
            for _ in range(ROUNDS):
                for kind, cpu_us in runs.items():
                    cpu_us.append(asyncio.run(measure(gateways[kind], num_streams, trusting))[0])
            plain, encrypted = (statistics.median(cpu_us) for cpu_us in runs.values())
            ratio = statistics.median(b / a for a, b in zip(*runs.values(), strict=True))
            print(
                f"{num_streams:3d} streams: {plain:5.1f} us of gateway CPU per token, {encrypted:5.1f} us over TLS "
                f"(x{ratio:.2f})"
            )
        for kind, gateway in gateways.items():
            times = [cpu_per_request_ms(gateway, trusting) for _ in range(3)]
            print(f"{kind}: {statistics.median(times):.2f} ms of gateway CPU per request of a connection of its own")


if __name__ == "__main__":
    main()
