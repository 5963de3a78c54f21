"""The GGUF header: bytes in, GGUFHeader out.

Arrays are stepped over, not built; no memory is taken in proportion to a number that the file claims before that number
is checked against the bytes that are left. Not here: what the values mean for a model (`facts.py`).

Source: ggml, docs/gguf.md, section "File Structure"; llama.cpp's gguf.cpp where it is stricter.
"""

import struct
from pathlib import Path

import msgspec

from registry.errors import ArtifactError, GGUFError
from registry.facts import clean_text
from registry.files import LFS_MARK, LFS_REASON, open_regular, pread_exact
from registry.gguf.constants import (
    DEFAULT_ALIGNMENT,
    KEPT_ARRAY_PREFIX,
    KEPT_ARRAY_SUFFIXES,
    MAGIC,
    MAX_ALIGNMENT,
    MAX_KEPT_BYTES,
    MAX_KEPT_ELEMENTS,
    MAX_KEPT_STRING_BYTES,
    MAX_KEY_BYTES,
    MAX_KEYS,
    MAX_STRING_BYTES,
    MAX_STRING_ELEMENTS,
    MAX_TEMPLATE_BYTES,
    MAX_TENSORS,
    MIN_ALIGNMENT,
    MIN_FILE_BYTES,
    SUPPORTED_VERSIONS,
    TYPE_ARRAY,
    TYPE_BOOL,
    TYPE_STRING,
    TYPE_UINT32,
    WINDOW_BYTES,
)
from registry.gguf.cursor import Cursor, Fetch, Layout
from registry.gguf.tensors import TensorReader, TensorTypeTotals, padded
from registry.gguf.vocabularies import KnownVocabularies

Scalar = bool | int | float | str

TEMPLATE_KEY = "tokenizer.chat_template"


class ArrayInfo(msgspec.Struct, frozen=True):
    """An array of the metadata.

    Attributes:
        values: The elements, for the few short arrays that are wanted; else None.
    """

    element_type: int
    length: int
    values: tuple[Scalar, ...] | None = None


class GGUFHeader(msgspec.Struct, frozen=True, kw_only=True):
    """What stands before the tensor data.

    Attributes:
        version: 2 or 3.
        is_big_endian: The file is for big-endian machines.
        metadata: Scalars and strings. Strings that are no UTF-8 have replacement characters.
        value_types: GGUF value type of each entry of `metadata`.
        omitted_strings: Length in bytes of each string that was too long to keep.
        parameter_count: Elements of all tensors in this file.
        tensor_types: Type name -> totals.
        alignment: Bytes that tensor data is aligned to.
        data_offset: Where the tensor data starts, in bytes from the start of the file.
        data_bytes: Length of the tensor data, padding between tensors included.
        has_bad_byte_tokens: A token looks like a byte token but has no two hex digits.
        has_tower: Among the tensors are those of a vision tower.
        tensor_shapes: Tensor name -> dimensions, the contiguous one first; None unless they were asked for.
    """

    version: int
    is_big_endian: bool
    metadata: dict[str, Scalar]
    value_types: dict[str, int]
    arrays: dict[str, ArrayInfo]
    omitted_strings: dict[str, int]
    num_tensors: int
    parameter_count: int
    tensor_types: dict[str, TensorTypeTotals]
    alignment: int
    data_offset: int
    data_bytes: int
    file_size_bytes: int
    has_bad_byte_tokens: bool
    has_tower: bool = False
    tensor_shapes: dict[str, tuple[int, ...]] | None = None

    @property
    def architecture(self) -> str | None:
        """The value of general.architecture, if it is text."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else None

    @property
    def chat_template(self) -> str | None:
        """The default chat template's text."""
        value = self.metadata.get(TEMPLATE_KEY)
        return value if isinstance(value, str) else None

    def integer(self, key: str) -> int | None:
        """Give a whole number of the metadata, or None when it is absent or something else."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def arch_integer(self, key: str) -> int | None:
        """Give a whole number under the architecture's prefix."""
        return self.integer(self._arch_key(key))

    def arch_integers(self, key: str, count: int) -> tuple[int, ...] | None:
        """Give one whole number per layer: a scalar stands for all layers, an array must have `count` elements."""
        array = self.arrays.get(self._arch_key(key))
        if array is not None:
            values = array.values
            if values is None or len(values) != count:
                return None
            return tuple(value for value in values if isinstance(value, int))
        scalar = self.arch_integer(key)
        return None if scalar is None else (scalar,) * count

    def text(self, key: str) -> str | None:
        """Give cleaned text of the metadata, or None."""
        return clean_text(self.metadata.get(key))

    def arch_text(self, key: str) -> str | None:
        """Give cleaned text under the architecture's prefix."""
        return self.text(self._arch_key(key))

    def array_length(self, key: str) -> int | None:
        """Give an array's length, or None when there is no such array."""
        array = self.arrays.get(key)
        return None if array is None else array.length

    def _arch_key(self, key: str) -> str:
        return f"{self.architecture}.{key}" if self.architecture else key


def read_header(
    path: Path | str, *, vocabularies: KnownVocabularies | None = None, keeps_shapes: bool = False
) -> GGUFHeader:
    """Read and parse the header of one GGUF file; of a split set, of this file only.

    Args:
        vocabularies: Of the files before this one; makes the next with the same quicker.

    Raises:
        GGUFError: The header breaks a rule of the format or a limit.
        ArtifactError: There is no such file, or it is no regular file, or it cannot be read.
    """
    path = Path(path)
    with open_regular(path) as (fd, info):
        return parse_source(
            lambda offset, size: pread_exact(fd, size, offset),
            info.st_size,
            vocabularies=vocabularies,
            keeps_shapes=keeps_shapes,
        )


def parse_source(
    fetch: Fetch,
    file_size_bytes: int,
    *,
    window_bytes: int = WINDOW_BYTES,
    vocabularies: KnownVocabularies | None = None,
    keeps_shapes: bool = False,
) -> GGUFHeader:
    """Parse a header that is brought piece by piece.

    Args:
        window_bytes: How much to fetch at a time, at least 64.
        keeps_shapes: Fill `tensor_shapes`.

    Raises:
        GGUFError: A rule of the format or a limit is broken.
        ArtifactError: lfs_pointer: it is one.
    """
    head = fetch(0, 8)
    if head == LFS_MARK[:8] and fetch(0, len(LFS_MARK)) == LFS_MARK:
        raise ArtifactError("lfs_pointer", LFS_REASON)
    version, layout = _read_version(head, file_size_bytes)
    cursor = Cursor(fetch, file_size_bytes, layout, position=8, window_bytes=window_bytes)
    (num_tensors,) = cursor.read(layout.u64)
    (num_keys,) = cursor.read(layout.u64)
    # 14: a key of one byte, its type and one byte of value; 32: an empty name, one dimension, type and offset.
    _check_count(num_keys, cursor, noun="keys", limit=MAX_KEYS, min_bytes=14, offset=16)
    _check_count(num_tensors, cursor, noun="tensors", limit=MAX_TENSORS, min_bytes=32, offset=8)
    metadata = _MetadataReader(cursor, vocabularies)
    metadata.read_all(num_keys)
    alignment = metadata.alignment()
    tensors = TensorReader(cursor, alignment, keeps_shapes=keeps_shapes)
    tensors.read_all(num_tensors)
    data_offset = padded(cursor.position, alignment)
    if num_tensors and tensors.data_bytes > file_size_bytes - data_offset:
        raise GGUFError(
            "data_past_end",
            cursor.position,
            f"the tensors need {tensors.data_bytes} bytes from byte {data_offset} on, "
            f"but the file ends at byte {file_size_bytes}; it is incomplete or damaged, so get it again",
        )
    return GGUFHeader(
        version=version,
        is_big_endian=layout.order == ">",
        metadata=metadata.scalars,
        value_types=metadata.value_types,
        arrays=metadata.arrays,
        omitted_strings=metadata.omitted_strings,
        num_tensors=num_tensors,
        parameter_count=tensors.num_elements,
        tensor_types=tensors.totals,
        alignment=alignment,
        data_offset=data_offset,
        data_bytes=tensors.data_bytes,
        file_size_bytes=file_size_bytes,
        has_bad_byte_tokens=metadata.has_bad_byte_tokens,
        has_tower=tensors.has_tower,
        tensor_shapes=tensors.shapes,
    )


def _read_version(head: bytes, file_size_bytes: int) -> tuple[int, Layout]:
    """Check magic and version, and find the byte order from the version: the format has no flag for it."""
    if head[:4] != MAGIC:
        raise GGUFError("bad_magic", 0, "the file does not start with GGUF; it is no GGUF file")
    if file_size_bytes < MIN_FILE_BYTES or len(head) < 8:  # noqa: PLR2004 - magic and version
        raise GGUFError("truncated", len(head), f"the file has {file_size_bytes} bytes; a header has at least 24")
    (version,) = struct.unpack_from("<I", head, 4)
    order = "<"
    # Source: llama.cpp, gguf.cpp: a version whose low 16 bits are 0 was written in the other byte order.
    if version & 0xFFFF == 0:
        (version,) = struct.unpack_from(">I", head, 4)
        order = ">"
    if version not in SUPPORTED_VERSIONS:
        raise GGUFError("unsupported_version", 4, f"GGUF version {version} is not supported; versions 2 and 3 are")
    return version, Layout(order)


def _check_count(count: int, cursor: Cursor, *, noun: str, limit: int, min_bytes: int, offset: int) -> None:
    if count > limit:
        raise GGUFError(f"too_many_{noun}", offset, f"the file announces {count} {noun}; the limit is {limit}")
    if count * min_bytes > cursor.num_bytes_left:
        raise GGUFError("truncated", offset, f"the file announces {count} {noun} but is too short for them")


class _MetadataReader:
    """Reads the key-value section."""

    def __init__(self, cursor: Cursor, vocabularies: KnownVocabularies | None) -> None:
        self._cursor = cursor
        self._vocabularies = vocabularies
        self._num_kept_bytes = 0
        self._num_string_elements = 0
        self._alignment_offset = 0
        self.scalars: dict[str, Scalar] = {}
        self.value_types: dict[str, int] = {}
        self.arrays: dict[str, ArrayInfo] = {}
        self.omitted_strings: dict[str, int] = {}
        self.has_bad_byte_tokens = False

    def read_all(self, num_keys: int) -> None:
        cursor = self._cursor
        for _ in range(num_keys):
            offset = cursor.position
            key = self._read_key()
            if key in self.scalars or key in self.arrays or key in self.omitted_strings:
                raise GGUFError("duplicate_key", offset, f"the key {key[:80]!r} stands in the file twice")
            if key == "general.alignment":
                self._alignment_offset = cursor.position
            self._read_value(key)

    def alignment(self) -> int:
        value = self.scalars.get("general.alignment", DEFAULT_ALIGNMENT)
        type_ok = self.value_types.get("general.alignment", TYPE_UINT32) == TYPE_UINT32
        if "general.alignment" in self.arrays or "general.alignment" in self.omitted_strings:
            type_ok = False
        if not type_ok or not isinstance(value, int):
            raise GGUFError("bad_alignment", self._alignment_offset, "general.alignment is not a uint32")
        if not MIN_ALIGNMENT <= value <= MAX_ALIGNMENT or value & (value - 1):
            raise GGUFError(
                "bad_alignment", self._alignment_offset, f"general.alignment is {value}, not a power of two in 8..65536"
            )
        return value

    def _keep(self, size: int, offset: int) -> None:
        self._num_kept_bytes += size
        if self._num_kept_bytes > MAX_KEPT_BYTES:
            raise GGUFError("metadata_too_large", offset, f"keys and texts are larger than {MAX_KEPT_BYTES} bytes")

    def _read_key(self) -> str:
        cursor = self._cursor
        offset = cursor.position
        (length,) = cursor.read(cursor.layout.u64)
        if not 1 <= length <= MAX_KEY_BYTES:
            raise GGUFError("bad_key", offset, f"a key has {length} bytes; 1 to {MAX_KEY_BYTES} are allowed")
        self._keep(length, offset)
        try:
            return cursor.read_bytes(length).decode("utf-8")
        except UnicodeDecodeError:
            raise GGUFError("bad_key", offset, "a key is not UTF-8 text") from None

    def _read_value(self, key: str) -> None:
        cursor = self._cursor
        offset = cursor.position
        (kind,) = cursor.read(cursor.layout.u32)
        scalar = cursor.layout.scalars.get(kind)
        if scalar is not None:
            (value,) = cursor.read(scalar)
            # bool: any non-zero byte is true in llama.cpp, although the document allows 0 and 1 only.
            self.scalars[key] = bool(value) if kind == TYPE_BOOL else value
            self.value_types[key] = kind
        elif kind == TYPE_STRING:
            self._read_string(key)
        elif kind == TYPE_ARRAY:
            self.arrays[key] = self._read_array(key)
        else:
            raise GGUFError("bad_value_type", offset, f"the key {key[:80]!r} has the unknown value type {kind}")

    def _read_string(self, key: str) -> None:
        cursor = self._cursor
        offset = cursor.position
        (length,) = cursor.read(cursor.layout.u64)
        if length > MAX_STRING_BYTES:
            raise GGUFError("string_too_long", offset, f"the value of {key[:80]!r} has {length} bytes")
        if length > (MAX_TEMPLATE_BYTES if key.startswith(TEMPLATE_KEY) else MAX_KEPT_STRING_BYTES):
            cursor.skip(length)
            self.omitted_strings[key] = length
            return
        self._keep(length, offset)
        self.scalars[key] = cursor.read_bytes(length).decode("utf-8", "replace")
        self.value_types[key] = TYPE_STRING

    def _read_array(self, key: str) -> ArrayInfo:
        cursor = self._cursor
        offset = cursor.position
        kind, length = cursor.read(cursor.layout.array_head)
        if kind == TYPE_STRING:
            self._skip_string_array(key, length, offset)
            return ArrayInfo(kind, length)
        scalar = cursor.layout.scalars.get(kind)
        if scalar is None:
            code = "nested_array" if kind == TYPE_ARRAY else "bad_value_type"
            raise GGUFError(code, offset, f"the array {key[:80]!r} has elements of type {kind}, which is not allowed")
        is_wanted = key.endswith(KEPT_ARRAY_SUFFIXES) or key.startswith(KEPT_ARRAY_PREFIX)
        if length > MAX_KEPT_ELEMENTS or not is_wanted:
            cursor.skip(length * scalar.size)
            return ArrayInfo(kind, length)
        self._keep(length * scalar.size, offset)
        values: tuple[Scalar, ...] = tuple(cursor.read(scalar)[0] for _ in range(length))
        return ArrayInfo(kind, length, tuple(map(bool, values)) if kind == TYPE_BOOL else values)

    def _skip_string_array(self, key: str, length: int, offset: int) -> None:
        self._num_string_elements += length
        if self._num_string_elements > MAX_STRING_ELEMENTS:
            raise GGUFError(
                "array_too_long",
                offset,
                f"the string arrays have more than {MAX_STRING_ELEMENTS} elements (at {key!r})",
            )
        if length * 8 > self._cursor.num_bytes_left:
            raise GGUFError("truncated", offset, f"the array {key[:80]!r} announces {length} strings, too many")
        is_tokens = key == "tokenizer.ggml.tokens"
        if self._vocabularies is None:
            has_bad = self._cursor.skip_strings(length, is_searching_byte_tokens=is_tokens)
        else:
            has_bad = self._vocabularies.skip(self._cursor, length, is_searching_byte_tokens=is_tokens)
        self.has_bad_byte_tokens = self.has_bad_byte_tokens or has_bad
