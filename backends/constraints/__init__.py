"""Constrained answers: JSON schemas, grammars and regular expressions, the same on both engines."""
