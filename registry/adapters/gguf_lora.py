"""A LoRA adapter in a GGUF file: its header in, AdapterFacts out, and whether it fits a base's header.

Not here: tensor data, and registering (`registration.py`).

Source: llama.cpp, src/llama-adapter.cpp, llama_adapter_lora_init_impl: it refuses what is refused here, in the load.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from registry.adapters.lora import Lora, Shape, as_text, bad_adapter, mismatch, paired, shape_mismatch, unsupported
from registry.errors import ArtifactError
from registry.facts import AdapterFacts, ArtifactFormat, clean_text
from registry.gguf.header import GGUFHeader, read_header

TYPE_FLOAT32: Final = 6
_ALPHA_KEY: Final = "adapter.lora.alpha"
_NOT_MULTIPLIED: Final = frozenset({"F64", "I8", "I16", "I32", "I64"})
"""Tensor types that the library has no product for, so that it would end the process."""
_IGNORED_SUFFIX: Final = "_norm.weight"
"""Source: llama-adapter.cpp: norm vectors are passed over."""
_FLIPPED: Final = "token_embd.weight"
"""Source: llama-adapter.cpp: "expect B to be non-transposed, A and B are flipped; see llm_build_inp_embd()"."""


def read_gguf_lora(path: Path) -> Lora:
    """Read an adapter's header; in the shapes the contiguous dimension comes first.

    Raises:
        ArtifactError: not_an_adapter, unsupported_adapter or bad_adapter; or the file cannot be read.
    """
    header = read_header(path, keeps_shapes=True)
    _check_kind(header)
    pairs = paired(header.tensor_shapes or {}, lambda name: name.endswith(_IGNORED_SUFFIX))
    for name, (a, b) in pairs.items():
        if not _is_pair(name, a, b):
            raise bad_adapter(f"its tensors for {name[:80]!r} cannot be multiplied: {as_text(a)} and {as_text(b)}")
    rank = max(b[0] for _, b in pairs.values())
    return Lora(
        AdapterFacts(
            format=ArtifactFormat.GGUF,
            method="lora",
            architecture=clean_text(header.architecture),
            rank=rank,
            scale=_scale(header, rank),
            num_tensors=header.num_tensors,
            num_weights=header.parameter_count,
            weight_bytes=header.data_bytes,
            title=clean_text(header.metadata.get("general.name")),
        ),
        pairs,
    )


def check_gguf_base(lora: Lora, base_files: Iterable[Path | str], base_name: str) -> None:
    """Refuse an adapter that does not belong to a base.

    Raises:
        ArtifactError: adapter_mismatch, with what does not fit; or the base's files cannot be read.
    """
    headers = [read_header(file, keeps_shapes=True) for file in base_files]
    architecture = headers[0].architecture
    if lora.facts.architecture != architecture:
        raise mismatch(f"it is made for the architecture {lora.facts.architecture!r}; {base_name} is {architecture!r}")
    base: dict[str, Shape] = {}
    for header in headers:
        base |= header.tensor_shapes or {}
    for name, pair in lora.pairs.items():
        if name not in base:
            raise mismatch(f"it changes the tensor {name[:80]!r}, which {base_name} does not have")
        if not _fits(name, *pair, base[name]):
            raise shape_mismatch(name, pair, base[name], base_name)


def _check_kind(header: GGUFHeader) -> None:
    kind, method = header.metadata.get("general.type"), header.metadata.get("adapter.type")
    if kind != "adapter":
        said = "a model" if kind in {None, "model"} else repr(clean_text(kind))
        raise ArtifactError("not_an_adapter", f"this is {said}, no adapter (its general.type would be 'adapter')")
    if method != "lora":
        raise unsupported(f"its adapter.type is {clean_text(method)!r}; only 'lora' can be loaded")
    if header.is_big_endian:
        raise unsupported("the file is for big-endian machines")
    foreign = _NOT_MULTIPLIED & header.tensor_types.keys()
    if foreign:
        raise unsupported(f"it has tensors of the type {min(foreign)}")
    if "adapter.alora.invocation_tokens" in header.arrays:
        raise unsupported(
            "it is an activated LoRA, which acts only after its own invocation tokens; mlxr does not do that"
        )


def _is_pair(name: str, a: Shape, b: Shape) -> bool:
    if len(a) < 2 or len(a) != len(b):  # noqa: PLR2004 - matrices
        return False
    inner = a[0] if name.endswith(_FLIPPED) else a[1]
    return inner == b[0] and a[2:] == b[2:]


def _scale(header: GGUFHeader, rank: int) -> float:
    """Give alpha / rank. Source: llama-adapter.h, get_scale: an alpha of 0 means a scale of 1."""
    alpha = header.metadata.get(_ALPHA_KEY, 0.0)
    # llama.cpp ends the process where it is of another type.
    is_float32 = header.value_types.get(_ALPHA_KEY, TYPE_FLOAT32) == TYPE_FLOAT32 and _ALPHA_KEY not in header.arrays
    if not is_float32 or not isinstance(alpha, float) or not math.isfinite(alpha):
        raise bad_adapter(f"its {_ALPHA_KEY} is no 32-bit number")
    return alpha / rank if alpha else 1.0


def _fits(name: str, a: Shape, b: Shape, base: Shape) -> bool:
    if len(base) != len(a) or base[2:] != a[2:]:
        return False
    if name.endswith(_FLIPPED):
        return base[0] == b[1] and base[1] == a[1]
    return base[0] == a[0] and base[1] == b[1]
