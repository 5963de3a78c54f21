"""The tensor descriptions of a GGUF header: checked one by one, added up by type. Not here: tensor data.

Source: ggml, docs/gguf.md, struct gguf_tensor_info_t; llama.cpp's gguf.cpp for the offsets and sizes.
"""

import msgspec

from registry.errors import GGUFError
from registry.gguf.constants import MAX_DIMS, MAX_ELEMENTS, MAX_TENSOR_NAME_BYTES, TENSOR_TYPES
from registry.gguf.cursor import Cursor


class TensorTypeTotals(msgspec.Struct, kw_only=True):
    """All tensors of one type, added up as they come.

    Attributes:
        num_matrices: How many of them have two or more dimensions.
        num_elements: Sum of the products of their dimensions.
        size_bytes: Bytes of their data, without padding.
    """

    num_tensors: int = 0
    num_matrices: int = 0
    num_elements: int = 0
    size_bytes: int = 0

    def add(self, num_tensors: int, num_matrices: int, num_elements: int, size_bytes: int) -> None:
        """Count some more."""
        self.num_tensors += num_tensors
        self.num_matrices += num_matrices
        self.num_elements += num_elements
        self.size_bytes += size_bytes


def padded(size: int, alignment: int) -> int:
    """Round a size up to the least multiple of the alignment, both in bytes."""
    return (size + alignment - 1) // alignment * alignment


class TensorReader:
    """Reads the tensor descriptions; keeps totals per type, and no tensor unless asked to.

    Args:
        alignment: Of the tensor data, in bytes.
        keeps_shapes: Remember each tensor's shape.

    Attributes:
        shapes: Tensor name -> dimensions, the contiguous one first; None unless `keeps_shapes`.
        data_bytes: Length of the tensor data so far, padding between tensors included.
        totals: By type name.
    """

    def __init__(self, cursor: Cursor, alignment: int, *, keeps_shapes: bool = False) -> None:
        self._cursor = cursor
        self._alignment = alignment
        self._names: set[bytes] = set()
        self._next_offset = 0
        self.shapes: dict[str, tuple[int, ...]] | None = {} if keeps_shapes else None
        self.data_bytes = 0
        self.num_elements = 0
        self.totals: dict[str, TensorTypeTotals] = {}

    @property
    def has_tower(self) -> bool:
        """Whether there are weights of a vision tower."""
        return any(name.startswith(b"v.") for name in self._names)

    def read_all(self, num_tensors: int) -> None:
        """Read all descriptions; the caller has checked their number against MAX_TENSORS."""
        for _ in range(num_tensors):
            name = self._read_name()
            dims = self._read_shape()
            if self.shapes is not None:
                self.shapes[name.decode("utf-8", "replace")] = tuple(dims)

    def _read_name(self) -> bytes:
        cursor = self._cursor
        offset = cursor.position
        (length,) = cursor.read(cursor.layout.u64)
        if length > MAX_TENSOR_NAME_BYTES:
            raise GGUFError("bad_tensor_name", offset, f"a tensor's name has {length} bytes; 63 are allowed")
        name = cursor.read_bytes(length)
        if name in self._names:
            raise GGUFError("duplicate_tensor", offset, f"the tensor {name!r} stands in the file twice")
        self._names.add(name)
        return name

    def _read_shape(self) -> list[int]:
        cursor = self._cursor
        offset = cursor.position
        (num_dims,) = cursor.read(cursor.layout.u32)
        if not 1 <= num_dims <= MAX_DIMS:
            raise GGUFError("bad_dimensions", offset, f"a tensor has {num_dims} dimensions; 1 to 4 are allowed")
        *dims, kind, data_offset = cursor.read(cursor.layout.tensor_tails[num_dims])
        tensor_type = TENSOR_TYPES.get(kind)
        if tensor_type is None:
            raise GGUFError("bad_tensor_type", offset, f"a tensor has the unknown type {kind}")
        num_elements = 1
        for dim in dims:
            num_elements *= dim
        if not 0 < num_elements <= MAX_ELEMENTS:
            raise GGUFError("bad_dimensions", offset, f"a tensor has the impossible shape {dims}")
        if dims[0] % tensor_type.block:
            raise GGUFError(
                "bad_dimensions",
                offset,
                f"a row of {dims[0]} cannot be {tensor_type.name}, blocks of {tensor_type.block}",
            )
        if data_offset != self._next_offset:
            raise GGUFError(
                "bad_tensor_offset",
                offset,
                f"a tensor's data is said to be at {data_offset}, not at {self._next_offset}",
            )
        size_bytes = num_elements // tensor_type.block * tensor_type.size_bytes
        self.data_bytes = data_offset + size_bytes
        self._next_offset = padded(self.data_bytes, self._alignment)
        totals = self.totals.setdefault(tensor_type.name, TensorTypeTotals())
        totals.add(1, int(num_dims > 1), num_elements, size_bytes)
        self.num_elements += num_elements
        return dims
