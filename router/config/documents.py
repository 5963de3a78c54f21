"""The config's section about documents; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta


class DocumentsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Documents that are read for a model, each in a process of its own.

    Attributes:
        max_bytes: Largest document; 0 = none is read.
        max_chars: Longest text that is taken of one, characters.
        max_pages: Pages, slides or sheets that are read of one.
        max_memory_bytes: What its process may take.
        max_cpu_s: The same of the processor's time.
        timeout_s: How long it may take, whatever the machine does meanwhile.
        max_entries: Files in a document that is an archive (DOCX, PPTX, XLSX, ODS).
        max_unpacked_bytes: All of them together, unpacked.
        max_ratio: How many times larger than packed one may be.
        keep_s: How long what was read is kept in memory, to be asked about by its id.
        keep_bytes: How much of it is kept.
    """

    max_bytes: Annotated[int, Meta(ge=0, le=1 << 30)] = 33_554_432
    max_chars: Annotated[int, Meta(ge=1000, le=100_000_000)] = 1_000_000
    max_pages: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    max_memory_bytes: Annotated[int, Meta(ge=1 << 28, le=1 << 40)] = 1_073_741_824
    max_cpu_s: Annotated[int, Meta(ge=1, le=3600)] = 30
    timeout_s: Annotated[int, Meta(ge=1, le=3600)] = 60
    max_entries: Annotated[int, Meta(ge=10, le=1_000_000)] = 5000
    max_unpacked_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 40)] = 209_715_200
    max_ratio: Annotated[int, Meta(ge=10, le=100_000)] = 200
    keep_s: Annotated[int, Meta(ge=1, le=86_400)] = 3600
    keep_bytes: Annotated[int, Meta(ge=0, le=1 << 36)] = 67_108_864
