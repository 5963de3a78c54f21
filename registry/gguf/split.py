"""A GGUF model in several files: do they belong together, and what are the facts of the whole.

Not here: finding the files; a path is never taken from a header.

Source: llama.cpp, llama-model-loader.cpp: loads the file with split.no 0 and derives the other names from its prefix;
checks each file's number, and the tensor total against split.tensors.count.
"""

from collections.abc import Sequence

import msgspec

from registry.errors import ArtifactError
from registry.facts import ModelFacts
from registry.gguf.facts import facts_from_header, quantization_of
from registry.gguf.fields import HeaderFields
from registry.gguf.header import GGUFHeader
from registry.gguf.memory import memory_facts
from registry.gguf.tensors import TensorTypeTotals


def facts_from_headers(headers: Sequence[GGUFHeader]) -> ModelFacts:
    """Give the facts of a model from the headers of all its files.

    Args:
        headers: In the order of the file names; one for a model in one file.

    Raises:
        ArtifactError: bad_split: the headers do not say that the files are this set, in this order.
    """
    first = facts_from_header(headers[0])
    if len(headers) == 1:
        if first.split is None:
            return first
        reason = f"this is file {first.split.number + 1} of a set of {first.split.count}; its name does not say so"
        return msgspec.structs.replace(first, loadable=False, reasons=(*first.reasons, reason))
    for index, header in enumerate(headers):
        number, count = header.metadata.get("split.no"), header.metadata.get("split.count")
        if number != index or count != len(headers):
            raise ArtifactError(
                "bad_split", f"file {index + 1} of {len(headers)} says that it is number {number} (from 0) of {count}"
            )
    num_tensors = sum(header.num_tensors for header in headers)
    expected = first.split.num_tensors if first.split is not None else None
    if expected is not None and expected != num_tensors:
        raise ArtifactError("bad_split", f"the files have {num_tensors} tensors together; they announce {expected}")
    tensor_types = _merge([header.tensor_types for header in headers])
    file_type = headers[0].metadata.get("general.file_type")
    return msgspec.structs.replace(
        first,
        parameter_count=sum(header.parameter_count for header in headers),
        weight_bytes=sum(header.data_bytes for header in headers),
        num_tensors=num_tensors,
        memory=memory_facts(HeaderFields(headers[0]), tensor_types),
        quantization=quantization_of(file_type if isinstance(file_type, int) else None, tensor_types),
    )


def _merge(parts: Sequence[dict[str, TensorTypeTotals]]) -> dict[str, TensorTypeTotals]:
    merged: dict[str, TensorTypeTotals] = {}
    for part in parts:
        for name, totals in part.items():
            merged.setdefault(name, TensorTypeTotals()).add(*msgspec.structs.astuple(totals))
    return merged
