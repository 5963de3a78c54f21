"""A LoRA adapter in a GGUF file: its header in, AdapterFacts out, and whether it fits a base's header.

Not here: tensor data, and registering (`registration.py`).

Source: llama.cpp, src/llama-adapter.cpp, llama_adapter_lora_init_impl: it refuses what is refused here, in the load.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from registry.errors import ArtifactError
from registry.facts import AdapterFacts, ArtifactFormat, clean_text
from registry.gguf.header import GGUFHeader, read_header

_Shape = tuple[int, ...]

TYPE_FLOAT32: Final = 6
_ALPHA_KEY: Final = "adapter.lora.alpha"
_NOT_MULTIPLIED: Final = frozenset({"F64", "I8", "I16", "I32", "I64"})
"""Tensor types that the library has no product for, so that it would end the process."""
_A: Final = ".lora_a"
_B: Final = ".lora_b"
_IGNORED_SUFFIX: Final = "_norm.weight"
"""Source: llama-adapter.cpp: norm vectors are passed over."""
_FLIPPED: Final = "token_embd.weight"
"""Source: llama-adapter.cpp: "expect B to be non-transposed, A and B are flipped; see llm_build_inp_embd()"."""


class GGUFLora(NamedTuple):
    """What the header of an adapter says.

    Attributes:
        pairs: Name of the base's tensor -> shapes of A and B, the contiguous dimension first.
    """

    facts: AdapterFacts
    pairs: dict[str, tuple[_Shape, _Shape]]


def read_gguf_lora(path: Path) -> GGUFLora:
    """Read an adapter's header.

    Raises:
        ArtifactError: not_an_adapter, unsupported_adapter or bad_adapter; or the file cannot be read.
    """
    header = read_header(path, keeps_shapes=True)
    _check_kind(header, path)
    pairs = _pairs(header.tensor_shapes or {}, path)
    rank = max(b[0] for _, b in pairs.values())
    return GGUFLora(
        AdapterFacts(
            format=ArtifactFormat.GGUF,
            method="lora",
            architecture=clean_text(header.architecture),
            rank=rank,
            scale=_scale(header, rank, path),
            num_tensors=header.num_tensors,
            num_weights=header.parameter_count,
            weight_bytes=header.data_bytes,
            title=clean_text(header.metadata.get("general.name")),
        ),
        pairs,
    )


def check_gguf_base(lora: GGUFLora, path: Path, base_files: Iterable[Path | str], base_name: str) -> None:
    """Refuse an adapter that does not belong to a base.

    Raises:
        ArtifactError: adapter_mismatch, with what does not fit; or the base's files cannot be read.
    """
    headers = [read_header(file, keeps_shapes=True) for file in base_files]
    architecture = headers[0].architecture
    if lora.facts.architecture != architecture:
        raise _mismatch(
            path, f"it is made for the architecture {lora.facts.architecture!r}; {base_name} is {architecture!r}"
        )
    base: dict[str, _Shape] = {}
    for header in headers:
        base |= header.tensor_shapes or {}
    for name, (a, b) in lora.pairs.items():
        if name not in base:
            raise _mismatch(path, f"it changes the tensor {name[:80]!r}, which {base_name} does not have")
        if not _fits(name, a, b, base[name]):
            raise _mismatch(
                path,
                f"its tensors for {name[:80]!r} have the shapes {_text(a)} and {_text(b)}, which do not fit "
                f"{_text(base[name])} of {base_name}",
            )


def _mismatch(path: Path, reason: str) -> ArtifactError:
    return ArtifactError("adapter_mismatch", f"{reason}; it belongs to another model", path=path)


def _check_kind(header: GGUFHeader, path: Path) -> None:
    kind, method = header.metadata.get("general.type"), header.metadata.get("adapter.type")
    if kind != "adapter":
        said = "a model" if kind in {None, "model"} else repr(clean_text(kind))
        raise ArtifactError(
            "not_an_adapter", f"this is {said}, no adapter (its general.type would be 'adapter')", path=path
        )
    if method != "lora":
        raise ArtifactError(
            "unsupported_adapter", f"its adapter.type is {clean_text(method)!r}; only 'lora' can be loaded", path=path
        )
    if header.is_big_endian:
        raise ArtifactError("unsupported_adapter", "the file is for big-endian machines", path=path)
    foreign = _NOT_MULTIPLIED & header.tensor_types.keys()
    if foreign:
        raise ArtifactError("unsupported_adapter", f"it has tensors of the type {min(foreign)}", path=path)
    if "adapter.alora.invocation_tokens" in header.arrays:
        raise ArtifactError(
            "unsupported_adapter",
            "it is an activated LoRA, which acts only after its own invocation tokens; mlxr does not do that",
            path=path,
        )


def _pairs(shapes: Mapping[str, _Shape], path: Path) -> dict[str, tuple[_Shape, _Shape]]:
    a_shapes = {name.removesuffix(_A): shape for name, shape in shapes.items() if name.endswith(_A)}
    b_shapes = {name.removesuffix(_B): shape for name, shape in shapes.items() if name.endswith(_B)}
    for name in shapes:
        if not name.endswith((_A, _B, _IGNORED_SUFFIX)):
            raise ArtifactError(
                "bad_adapter", f"the tensor {name[:80]!r} is none of a LoRA (.lora_a, .lora_b)", path=path
            )
    lonely = a_shapes.keys() ^ b_shapes.keys()
    if lonely:
        raise ArtifactError("bad_adapter", f"it has only one of two tensors for {min(lonely)[:80]!r}", path=path)
    if not a_shapes:
        raise ArtifactError("bad_adapter", "it has no LoRA tensors", path=path)
    for name, a in a_shapes.items():
        b = b_shapes[name]
        if not _is_pair(name, a, b):
            raise ArtifactError(
                "bad_adapter",
                f"its tensors for {name[:80]!r} cannot be multiplied: {_text(a)} and {_text(b)}",
                path=path,
            )
    return {name: (a, b_shapes[name]) for name, a in a_shapes.items()}


def _is_pair(name: str, a: _Shape, b: _Shape) -> bool:
    if len(a) < 2 or len(a) != len(b):  # noqa: PLR2004 - matrices
        return False
    inner = a[0] if name.endswith(_FLIPPED) else a[1]
    return inner == b[0] and a[2:] == b[2:]


def _scale(header: GGUFHeader, rank: int, path: Path) -> float:
    """Give alpha / rank. Source: llama-adapter.h, get_scale: an alpha of 0 means a scale of 1."""
    alpha = header.metadata.get(_ALPHA_KEY, 0.0)
    # llama.cpp ends the process where it is of another type.
    is_float32 = header.value_types.get(_ALPHA_KEY, TYPE_FLOAT32) == TYPE_FLOAT32 and _ALPHA_KEY not in header.arrays
    if not is_float32 or not isinstance(alpha, float) or not math.isfinite(alpha):
        raise ArtifactError("bad_adapter", f"its {_ALPHA_KEY} is no 32-bit number", path=path)
    return alpha / rank if alpha else 1.0


def _fits(name: str, a: _Shape, b: _Shape, base: _Shape) -> bool:
    if len(base) != len(a) or base[2:] != a[2:]:
        return False
    if name.endswith(_FLIPPED):
        return base[0] == b[1] and base[1] == a[1]
    return base[0] == a[0] and base[1] == b[1]


def _text(shape: _Shape) -> str:
    return " x ".join(map(str, shape))
