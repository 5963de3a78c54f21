"""How large a request's grammar or schema may be; beyond these compiling it costs seconds or the process."""

MAX_GRAMMAR_BYTES = 64 * 1024
"""Length of a GBNF, a regular expression or a JSON schema in UTF-8."""
MAX_PAREN_DEPTH = 200
"""Nested parentheses and repetitions."""
MAX_REPETITION = 2000
"""Counts in `{m,n}`, and minItems, maxItems, minProperties and maxProperties."""
MAX_STRING_LENGTH = 65_536
"""minLength and maxLength."""
MAX_SCHEMA_DEPTH = 64
"""Nested subschemas."""
MAX_ENUM_VALUES = 1000
"""Values of one enum."""
MAX_EXACT_INTEGER = 2**53
"""Beyond this a JSON number is not exact in most readers, llguidance among them."""
