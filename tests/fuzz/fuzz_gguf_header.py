"""Fuzz target of the GGUF parser: whatever the bytes, a header or a GGUFError, and facts that go through JSON.

    pip install atheris && python tests/fuzz/fuzz_gguf_header.py [CORPUS_DIR] [-max_total_time=60]

Not run by CI: atheris needs clang's fuzzing runtime.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports():
    import msgspec

    from registry.errors import GGUFError
    from registry.facts import ModelFacts
    from registry.gguf.facts import facts_from_header
    from registry.gguf.header import parse_source

SMALL_WINDOW_BYTES = 64


def test_one_input(data: bytes) -> None:
    """Parse twice, with a large and a small window: both must say the same."""
    # The magic is given, so that the fuzzer spends its time behind it.
    data = b"GGUF" + data
    outcomes = []
    for window_bytes in (1 << 20, SMALL_WINDOW_BYTES):
        try:
            header = parse_source(
                lambda offset, size: data[offset : offset + size], len(data), window_bytes=window_bytes
            )
        except GGUFError as exc:
            if not 0 <= exc.offset <= len(data):
                raise AssertionError(exc) from exc
            outcomes.append(exc.code)
        else:
            facts = facts_from_header(header)
            if msgspec.json.decode(msgspec.json.encode(facts), type=ModelFacts) != facts:
                raise AssertionError(facts)
            outcomes.append(msgspec.json.encode(facts).decode())
    if outcomes[0] != outcomes[1]:
        raise AssertionError(outcomes)


if __name__ == "__main__":
    atheris.Setup(sys.argv, test_one_input)
    atheris.Fuzz()
