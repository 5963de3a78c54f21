"""The numbers of the GGUF format, and the limits that our parser adds.

Source: ggml, docs/gguf.md, and llama.cpp's loader where the two differ (what llama.cpp refuses is not loadable).
Not here: any reading.
"""

from typing import Final, NamedTuple

MAGIC: Final = b"GGUF"
SUPPORTED_VERSIONS: Final = (2, 3)
"""Version 1 had 32-bit lengths; llama.cpp and gguf-py refuse it, and so do we."""

MIN_FILE_BYTES: Final = 24
"""Magic, version, tensor count and key-value count."""

# --- limits -------------------------------------------------------------------------------------------------------

MAX_HEADER_BYTES: Final = 1 << 30
"""Everything before the tensor data. The largest real headers (262,144 tokens, 514,906 merges) are under 20 MB."""

MAX_KEYS: Final = 16_384
"""Real files have under 100 keys. At about 2 µs a key the worst file still costs well under 50 ms."""

MAX_TENSORS: Final = 16_384
"""Real files have under 2,000 tensors, also mixtures of experts (experts are stacked). Bounds time and name memory."""

MAX_KEY_BYTES: Final = 65_535
"""Source: docs/gguf.md, "It can be at most 2^16-1 bytes long." """

MAX_TENSOR_NAME_BYTES: Final = 63
"""Source: ggml.h, GGML_MAX_NAME 64 with its terminator; docs/gguf.md says 64, llama.cpp refuses a 64th byte."""

MAX_STRING_BYTES: Final = 16 << 20
"""Longest single value. `tokenizer.huggingface.json`, a whole tokenizer in one string, reaches several MB."""

MAX_KEPT_STRING_BYTES: Final = 64 << 10
"""Longer strings are skipped; only their length is kept. Chat templates have their own limit."""

MAX_TEMPLATE_BYTES: Final = 1 << 20
"""Longest chat template kept. The longest published ones are around 30 KB."""

MAX_KEPT_BYTES: Final = 4 << 20
"""Sum of all keys and strings kept from one header, in file bytes; decoded text can take four times that."""

MAX_STRING_ELEMENTS: Final = 900_000
"""Sum of the lengths of all string arrays: the only part whose cost grows per element (about 45 ns each). The largest
known vocabulary with merges has 777,050."""

MAX_KEPT_ELEMENTS: Final = 1_024
"""Longest array whose values are kept, and only for wanted keys: per-layer numbers, and all of a projector's."""

MAX_DIMS: Final = 4
"""Source: ggml.h, GGML_MAX_DIMS."""

MAX_ELEMENTS: Final = (1 << 63) - 1
"""Source: ggml's gguf.cpp: "check that the total number of elements is representable" (int64)."""

DEFAULT_ALIGNMENT: Final = 32
"""Source: docs/gguf.md, general.alignment: "If the key is not present, assume 32"."""

MIN_ALIGNMENT: Final = 8
"""Source: docs/gguf.md, "Must be a multiple of 8". llama.cpp parses 1 and then aborts while loading."""

MAX_ALIGNMENT: Final = 65_536

MAX_BLOCKS: Final = 512
"""Source: llama.cpp, LLAMA_MAX_LAYERS; a larger block_count aborts the process."""

MAX_EXPERTS: Final = 512
"""Source: llama.cpp, LLAMA_MAX_EXPERTS; a larger expert_count aborts the process."""

MAX_INT32: Final = (1 << 31) - 1

WINDOW_BYTES: Final = 1 << 20
"""How much of the file is in memory at a time."""

# --- value types --------------------------------------------------------------------------------------------------

TYPE_STRING: Final = 8
TYPE_ARRAY: Final = 9
TYPE_BOOL: Final = 7
TYPE_UINT32: Final = 4

SCALAR_FORMATS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
"""Value type -> struct code. Source: docs/gguf.md, enum gguf_metadata_value_type."""

KEPT_ARRAY_SUFFIXES: Final = (
    ".attention.head_count",
    ".attention.head_count_kv",
    ".attention.sliding_window_pattern",
    ".feed_forward_length",
    "tokenizer.ggml.eos_token_ids",
)
KEPT_ARRAY_PREFIX: Final = "clip."


class TensorType(NamedTuple):
    """A ggml tensor type: `block` elements are stored in `size_bytes` bytes."""

    name: str
    block: int
    size_bytes: int


TENSOR_TYPES: Final = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 36),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    24: TensorType("I8", 1, 1),
    25: TensorType("I16", 1, 2),
    26: TensorType("I32", 1, 4),
    27: TensorType("I64", 1, 8),
    28: TensorType("F64", 1, 8),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
    40: TensorType("NVFP4", 64, 36),
    41: TensorType("Q1_0", 128, 18),
    42: TensorType("Q2_0", 64, 18),
}
"""ggml_type -> name and size. Source: ggml.h, enum ggml_type, and ggml-common.h, the block structs. The gaps are types
that were removed (4, 5, 31 to 33, 36 to 38)."""

FILE_TYPE_GUESSED: Final = 1024
"""Source: llama.h, LLAMA_FTYPE_GUESSED: "not specified in the model file"; a flag on top of the number."""

FILE_TYPES: Final = {
    0: ("F32", ("F32",)),
    1: ("F16", ("F16",)),
    2: ("Q4_0", ("Q4_0",)),
    3: ("Q4_1", ("Q4_1",)),
    7: ("Q8_0", ("Q8_0",)),
    8: ("Q5_0", ("Q5_0",)),
    9: ("Q5_1", ("Q5_1",)),
    10: ("Q2_K", ("Q2_K", "Q3_K")),
    11: ("Q3_K_S", ("Q3_K",)),
    12: ("Q3_K_M", ("Q3_K",)),
    13: ("Q3_K_L", ("Q3_K",)),
    14: ("Q4_K_S", ("Q4_K",)),
    15: ("Q4_K_M", ("Q4_K",)),
    16: ("Q5_K_S", ("Q5_K",)),
    17: ("Q5_K_M", ("Q5_K",)),
    18: ("Q6_K", ("Q6_K",)),
    19: ("IQ2_XXS", ("IQ2_XXS",)),
    20: ("IQ2_XS", ("IQ2_XS",)),
    21: ("Q2_K_S", ("Q2_K",)),
    22: ("IQ3_XS", ("IQ3_XXS", "IQ3_S")),
    23: ("IQ3_XXS", ("IQ3_XXS",)),
    24: ("IQ1_S", ("IQ1_S",)),
    25: ("IQ4_NL", ("IQ4_NL",)),
    26: ("IQ3_S", ("IQ3_S",)),
    27: ("IQ3_M", ("IQ3_S",)),
    28: ("IQ2_S", ("IQ2_XS", "IQ2_S")),
    29: ("IQ2_M", ("IQ2_S",)),
    30: ("IQ4_XS", ("IQ4_XS",)),
    31: ("IQ1_M", ("IQ1_M",)),
    32: ("BF16", ("BF16",)),
    36: ("TQ1_0", ("TQ1_0",)),
    37: ("TQ2_0", ("TQ2_0",)),
    38: ("MXFP4_MOE", ("MXFP4", "Q8_0", "F16", "BF16")),
    39: ("NVFP4", ("NVFP4", "Q8_0", "F16", "BF16")),
    40: ("Q1_0", ("Q1_0",)),
    41: ("Q2_0", ("Q2_0",)),
}
"""general.file_type -> label, and the tensor types that its matrices are made of. Source: llama.h, enum llama_ftype,
and llama-quant.cpp (which type a mix falls back on)."""

TYPE_LABELS: Final = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""Tensor type -> label, where they differ. Source: llama.cpp, llama_model_loader, guessing a missing file_type."""

POOLING_TYPES: Final = {0: "none", 1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""Source: llama.h, enum llama_pooling_type."""

EMBEDDING_ARCHITECTURES: Final = frozenset(
    {
        "bert",
        "eurobert",
        "gemma-embedding",
        "jina-bert-v2",
        "jina-bert-v3",
        "modern-bert",
        "neo-bert",
        "nomic-bert",
        "nomic-bert-moe",
        "t5encoder",
    }
)
"""Architectures that only give vectors. Source: llama.cpp, llama-arch.cpp."""
