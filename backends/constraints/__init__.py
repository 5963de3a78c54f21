"""Constrained answers: JSON schemas, grammars and regular expressions, the same on both engines.

What is too large, too complex or cannot be kept is refused by a ConstraintError that says what, and names the field.
"""
