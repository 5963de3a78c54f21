"""Fuzz target of the safetensors header: whatever the bytes, tensors whose data lies in the file, or an ArtifactError.

    pip install atheris && python tests/fuzz/fuzz_safetensors_header.py [CORPUS_DIR] [-max_total_time=60]

Not run by CI: atheris needs clang's fuzzing runtime.
"""

import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: pip install atheris")

with atheris.instrument_imports():
    import msgspec

    from registry.errors import ArtifactError
    from registry.mlx.safetensors import DTYPE_BITS, read_tensor_infos

NUM_DATA_BYTES = 64


def test_one_input(data: bytes) -> None:
    """Parse the bytes as a whole file, as the JSON of one whose length is right, and a header that is made of them."""
    made = _header(atheris.FuzzedDataProvider(data))
    for content in (data, *(struct.pack("<Q", len(text)) + text + bytes(NUM_DATA_BYTES) for text in (data, made))):
        FILE.seek(0)
        FILE.truncate()
        FILE.write(content)
        FILE.flush()
        try:
            infos = read_tensor_infos(Path(FILE.name))
        except ArtifactError as exc:
            if not exc.reason.isprintable():
                raise AssertionError(exc) from exc
            continue
        for name, info in infos.items():
            is_sound = info.size_bytes * 8 == info.num_elements * DTYPE_BITS[info.dtype]
            if not is_sound or info.size_bytes > len(content):
                raise AssertionError((name, info))


def _header(source: "atheris.FuzzedDataProvider") -> bytes:
    """Make a header of the right form with numbers that the bytes say."""
    entries = {}
    for _ in range(source.ConsumeIntInRange(0, 4)):
        name = source.ConsumeUnicodeNoSurrogates(12)
        dtype = source.PickValueInList([*DTYPE_BITS, "X", name])
        shape = [
            source.ConsumeIntInRange(-1, 1 << source.PickValueInList([2, 4, 62]))
            for _ in range(source.ConsumeIntInRange(0, 4))
        ]
        begin = source.ConsumeIntInRange(-1, NUM_DATA_BYTES)
        end = begin + source.ConsumeIntInRange(-1, NUM_DATA_BYTES)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    return msgspec.json.encode(entries)


if __name__ == "__main__":
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as FILE:
        atheris.Setup(sys.argv, test_one_input)
        atheris.Fuzz()
