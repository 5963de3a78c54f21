"""`python -P -m backends.probe --engine NAME`: does this engine work here? Prints one line of JSON.

A process of its own, because an engine's library may crash at import, and because the command line must not import it.
It ends when its stdin ends. Not here: loading a model.
"""

import argparse
import os
import sys
import time

import msgspec

from backends.errors import EngineUnavailableError
from backends.lifeline import end_with_stdin


class ProbeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came out.

    Attributes:
        features: The build's own words: CPU features of llama.cpp, device of MLX.
        device: What the library says of the GPU; {} without one.
        error: Why it does not work; None when it does.
    """

    engine: str
    versions: dict[str, str] = {}
    features: str = ""
    device: dict[str, str | int] = {}
    import_ms: float | None = None
    error: str | None = None


def probe(engine: str) -> ProbeReport:
    """Import an engine's libraries in this process and ask them about themselves.

    Args:
        engine: `llamacpp` or `mlx`.
    """
    from backends.engines import create_engine  # noqa: PLC0415 - the doctor imports the report only

    start = time.perf_counter()
    try:
        info = create_engine(engine).info()
    except EngineUnavailableError as exc:
        return ProbeReport(engine=engine, error=str(exc.__cause__ or exc))
    import_ms = (time.perf_counter() - start) * 1000
    return ProbeReport(
        engine=engine, versions=info.versions, features=info.features, device=info.device, import_ms=import_ms
    )


def main() -> None:
    """Probe the engine of the command line and print the report."""
    parser = argparse.ArgumentParser(prog="backends.probe")
    parser.add_argument("--engine", required=True, choices=("llamacpp", "mlx", "fake"))
    engine = parser.parse_args().engine
    end_with_stdin()
    # Libraries may print while they are imported; what they print must not get between the caller and the report.
    report_file = os.dup(1)
    os.dup2(2, 1)
    line = msgspec.json.encode(probe(engine)) + b"\n"
    os.write(report_file, line)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
