"""The header of a safetensors file: names, types and shapes of its tensors.

Not here: tensor data, and what the tensors mean (`folder.py`).

Source: huggingface/safetensors, README, "Format": 8 bytes little-endian header size N, N bytes of JSON, then the data.
"""

import math
import struct
from pathlib import Path
from typing import Final

import msgspec

from registry.errors import MLXDirError
from registry.files import LFS_MARK, LFS_REASON, open_regular, pread_exact

MAX_HEADER_BYTES: Final = 16 << 20
"""The format allows 100 MB; the headers of the largest published models, 5 GB shards, stay under 1 MB."""

MAX_TENSORS: Final = 131_072
"""Mixtures of experts that are not stacked have up to about 70,000 tensors over all shards."""

_METADATA_KEY: Final = "__metadata__"

DTYPE_BITS: Final = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F4": 4,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits per element. Source: safetensors, enum Dtype."""


class TensorInfo(msgspec.Struct, frozen=True):
    """One tensor.

    Attributes:
        shape: Dimensions; empty for a scalar.
    """

    dtype: str
    shape: tuple[int, ...]
    size_bytes: int

    @property
    def num_elements(self) -> int:
        """Product of the dimensions."""
        return math.prod(self.shape)


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_HEADER_DECODER: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY_DECODER: Final = msgspec.json.Decoder(_Entry)


def read_tensor_infos(path: Path) -> dict[str, TensorInfo]:
    """Read the header of one file: tensor name -> what it is, in the file's order.

    Raises:
        MLXDirError: bad_safetensors: the header breaks the format, or the data it announces is not in the file.
            lfs_pointer: it is one.
        ArtifactError: The file cannot be read.
    """
    try:
        with open_regular(path) as (fd, info):
            head = pread_exact(fd, 8, 0)
            if head == LFS_MARK[:8] and pread_exact(fd, len(LFS_MARK), 0) == LFS_MARK:
                raise MLXDirError("lfs_pointer", LFS_REASON, file=path.name, path=path.parent)
            size = struct.unpack("<Q", head)[0] if len(head) == 8 else 0  # noqa: PLR2004 - one u64
            if not 2 <= size <= min(MAX_HEADER_BYTES, info.st_size - 8):  # noqa: PLR2004 - `{}`
                raise _error(path, f"its header is said to have {size} bytes; the file has {info.st_size}")
            return _parse(pread_exact(fd, size, 8), info.st_size - 8 - size, path)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise _error(path, f"its header is not the JSON of a safetensors file: {exc}") from exc


def _error(path: Path, reason: str) -> MLXDirError:
    return MLXDirError("bad_safetensors", reason, file=path.name, path=path.parent)


def _parse(header: bytes, num_data_bytes: int, path: Path) -> dict[str, TensorInfo]:
    raw = _HEADER_DECODER.decode(header)
    raw.pop(_METADATA_KEY, None)
    if len(raw) > MAX_TENSORS:
        raise _error(path, f"it has {len(raw)} tensors; the limit is {MAX_TENSORS}")
    infos = {}
    for name, text in raw.items():
        entry = _ENTRY_DECODER.decode(text)
        begin, end = entry.data_offsets
        bits = DTYPE_BITS.get(entry.dtype)
        if bits is None:
            raise _error(path, f"the tensor {name[:80]!r} has the unknown type {entry.dtype[:20]!r}")
        if not 0 <= begin <= end <= num_data_bytes:
            raise _error(path, f"the data of {name[:80]!r} lies outside the file; it is incomplete, so get it again")
        size_bits = bits
        for dim in entry.shape:
            # The factors are checked as they come in, so that the product stays small.
            if dim < 0 or size_bits * dim > num_data_bytes * 8:
                raise _error(path, f"the tensor {name[:80]!r} has an impossible shape")
            size_bits *= dim
        if size_bits != (end - begin) * 8:
            raise _error(path, f"the tensor {name[:80]!r} has {end - begin} bytes, which does not fit its shape")
        infos[name] = TensorInfo(entry.dtype, entry.shape, end - begin)
    return infos
