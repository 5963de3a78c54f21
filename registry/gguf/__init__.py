"""GGUF files: header parser and the facts that follow from it. Reads no tensor data and knows no engine."""

from registry.gguf.header import read_header
from registry.gguf.vocabularies import KnownVocabularies

__all__ = ["KnownVocabularies", "read_header"]
