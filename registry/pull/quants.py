"""Quantizations in the names of GGUF files, and which of them to take. Pure.

Not here: what a file's own header says (`registry.gguf`); before a pull there are only names and sizes.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec

from registry.hub.answers import HubFile
from registry.names import parse_shard_name

DEFAULT_QUANT: Final = "Q4_K_M"

_LABEL: Final = re.compile(
    r"(?:\A|[-._/ ])(?P<label>(?:UD-|i1-)?(?:"
    r"I?Q[1-8]_(?:[01]|K)(?:_(?:XXS|XS|XXL|XL|S|M|L))?|IQ[1-8]_(?:XXS|XS|NL|S|M)"
    r"|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|F16|FP16|F32|FP32))(?=\Z|[-._/ ])",
    re.IGNORECASE,
)
_NO_MODEL: Final = re.compile(r"(?:\A|[-._/])(?:mmproj|imatrix|mtp)(?:[-._]|\Z)", re.IGNORECASE)
_PROJECTOR: Final = re.compile(r"(?:\A|[-._])mmproj(?:[-._]|\Z)", re.IGNORECASE)
_PROJECTOR_ORDER: Final = ("F16", "FP16", "BF16", "Q8_0", "F32", "FP32")

_BITS: Final = {"F32": 32.0, "FP32": 32.0, "F16": 16.0, "FP16": 16.0, "BF16": 16.0, "NVFP4": 4.5, "MXFP4": 4.25}
_SHADES: Final = {"XXS": -0.2, "XS": -0.1, "S": 0.0, "NL": 0.1, "M": 0.3, "L": 0.5, "XL": 0.6, "XXL": 0.7}


class GGUFSet(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one GGUF model in a repository.

    Attributes:
        files: In the order of their numbers.
        label: Its quantization, in upper case, or None when the name has none.
        num_missing: Files that the names announce and the repository does not have.
    """

    files: tuple[HubFile, ...]
    label: str | None
    num_missing: int = 0

    @property
    def size_bytes(self) -> int:
        """Sum over the files."""
        return sum(file.size_bytes for file in self.files)


def gguf_sets(files: Sequence[HubFile]) -> tuple[GGUFSet, ...]:
    """Group the GGUF models of a repository, smallest first; projectors, importance matrices and the like left out."""
    groups: defaultdict[tuple[str, int], dict[int, HubFile]] = defaultdict(dict)
    for file in files:
        name = file.path.rpartition("/")[2]
        if not name.lower().endswith(".gguf") or name.startswith(".") or _NO_MODEL.search(name) is not None:
            continue
        shard = parse_shard_name(name)
        if shard is None:
            groups[file.path, 1][1] = file
        else:
            groups[file.path[: -len(name)] + shard.prefix, shard.num_files][shard.number] = file
    sets = (
        GGUFSet(
            files=tuple(members[number] for number in sorted(members)),
            label=label_of(stem),
            num_missing=num_files - len(members),
        )
        for (stem, num_files), members in groups.items()
    )
    return tuple(sorted(sets, key=lambda item: (item.size_bytes, item.files[0].path)))


def label_of(path: str) -> str | None:
    """Find the quantization in a file's path without its shard number, e.g. `UD-Q4_K_XL`; None when it has none.

    The file's name speaks before its folders'.
    """
    stem = re.sub(r"\.gguf\Z", "", path, flags=re.IGNORECASE)
    for part in reversed(stem.split("/")):
        found = [match["label"].upper() for match in _LABEL.finditer(part)]
        if found:
            return found[-1]
    return None


def bits_of(label: str | None) -> float | None:
    """Give about the bits per weight of a `label_of`, enough to tell which of two is larger; None when unknown."""
    if label is None:
        return None
    plain = label.removeprefix("UD-").removeprefix("I1-")
    if plain in _BITS:
        return _BITS[plain]
    match = re.fullmatch(r"(?P<kind>I?Q|TQ|MXFP)(?P<bits>\d)(?:_(?P<rest>[A-Z0-9_]+))?", plain)
    if match is None:
        return None
    shade = _SHADES.get((match["rest"] or "").rpartition("_")[2], 0.2)
    return int(match["bits"]) + 0.5 + shade


def projectors(files: Sequence[HubFile]) -> tuple[HubFile, ...]:
    """List the vision projectors of a repository: half precision first, as they are small and lose most."""
    found = []
    for file in files:
        name = file.path.rpartition("/")[2]
        if name.lower().endswith(".gguf") and _PROJECTOR.search(name.rpartition(".")[0]) and not name.startswith("."):
            label = label_of(name)
            order = _PROJECTOR_ORDER.index(label) if label in _PROJECTOR_ORDER else len(_PROJECTOR_ORDER)
            found.append((order, file.path, file))
    return tuple(file for *_, file in sorted(found, key=lambda item: item[:2]))


def choose_default(sets: Sequence[GGUFSet], budget_bytes: int | None) -> GGUFSet | None:
    """Choose when the user named no quantization; None when nothing fits.

    Q4_K_M if it is there and fits; else the nearest below it that fits; else the nearest above it that fits.

    Args:
        budget_bytes: Weights that fit; None = any.
    """
    fitting = [item for item in sets if budget_bytes is None or item.size_bytes <= budget_bytes]
    for item in fitting:
        if item.label == DEFAULT_QUANT:
            return item
    wanted = bits_of(DEFAULT_QUANT) or 0.0
    ranked = [(bits_of(item.label) or wanted, item.size_bytes, item) for item in fitting]
    below = [entry for entry in ranked if entry[0] <= wanted]
    if below:
        return max(below, key=lambda entry: entry[:2])[2]
    return min(ranked, key=lambda entry: entry[:2])[2] if ranked else None
