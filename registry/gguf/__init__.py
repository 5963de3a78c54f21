"""GGUF files: header parser and the facts that follow from it. Reads no tensor data and knows no engine."""

from registry.gguf.facts import facts_from_header
from registry.gguf.files import read_header
from registry.gguf.header import ArrayInfo, GGUFHeader, parse_header
from registry.gguf.tensors import TensorTypeTotals
from registry.gguf.vocabularies import KnownVocabularies

__all__ = [
    "ArrayInfo",
    "GGUFHeader",
    "KnownVocabularies",
    "TensorTypeTotals",
    "facts_from_header",
    "parse_header",
    "read_header",
]
