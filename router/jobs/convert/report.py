"""What is stored beside converted weights: how they were made, and how they compare with their source.

Not here: making and comparing (`steps.py`).
"""

from pathlib import Path
from typing import Final, Literal

import msgspec

REPORT_NAME: Final = "mlxr-conversion.json"

_MAX_REPORT_BYTES: Final = 1 << 20
"""Far above a report; a folder that was pulled may have any file of that name."""

Bits = Literal[2, 3, 4, 5, 6, 8]
GroupSize = Literal[32, 64, 128]
Dtype = Literal["float16", "bfloat16", "float32"]


class ConversionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is to come out.

    Attributes:
        bits: Of the quantized weights; None = floats.
        dtype: `float16`, `bfloat16` or `float32` of what is not quantized; None = what this machine computes with best.
        name: Of the model that gets it; None = the source's own, or a new one beside a float folder.
    """

    bits: Bits | None = 4
    group_size: GroupSize = 64
    dtype: Dtype | None = None
    name: str | None = None


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """How the result compares with its source on the fixed text.

    Attributes:
        agreement: Share of the places at which both would have drawn the same token.
    """

    num_tokens: int
    agreement: float
    source_perplexity: float
    perplexity: float
    is_same_tokens: bool


class ConversionReport(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored beside the weights.

    Attributes:
        parity: The comparison; None where it was left out.
        leaves_vision: The source sees pictures; what converts takes the language model only.
    """

    source: str
    source_size_bytes: int
    source_sha256: str | None
    options: ConversionOptions = msgspec.field(name="wish")
    parity: Parity | None = None
    parity_skipped: str | None = None
    leaves_vision: bool = False


def read_report(folder: Path) -> ConversionReport | None:
    """Give what is stored beside converted weights; None when there is nothing, or nothing readable."""
    try:
        with (folder / REPORT_NAME).open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_REPORT_BYTES), type=ConversionReport)
    except (OSError, msgspec.DecodeError):
        return None
