"""Reading documents in tests, in this process or in a child, by the config's limits or smaller ones."""

from typing import Any

import msgspec

from router.config.documents import DocumentsConfig
from router.documents.child import read
from router.documents.kinds import document_name, kind_of
from router.documents.messages import Reading, ReadingLimits, Task

LIMITS = msgspec.convert(DocumentsConfig(), ReadingLimits, from_attributes=True)


def task_of(name: str, data: bytes, **limits: Any) -> Task:
    """What a child is told of a document."""
    name = document_name(name)
    return Task(name=name, kind=kind_of(name, data), limits=msgspec.structs.replace(LIMITS, **limits))


def read_here(name: str, data: bytes, **limits: Any) -> Reading:
    """Read a document that does no harm."""
    return read(task_of(name, data, **limits), data)
