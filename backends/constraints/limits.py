"""How large a request's grammar or schema may be; beyond these compiling it costs seconds or the process."""

from backends.errors import ConstraintError

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
MAX_JSON_DEPTH = 120
"""Nested objects and arrays in a schema's text, whatever they mean; llguidance reads 127, three of which are ours."""
MAX_PATTERNS_ON_A_VALUE = 6
"""Patterns, formats and lengths that must hold at once for one string: each one more multiplies the work."""
MAX_ENUM_VALUES = 1000
"""Values of one enum."""
MAX_EXACT_INTEGER = 2**53
"""Beyond this a JSON number is not exact in most readers, llguidance among them."""


def check_size(text: str, *, max_bytes: int = MAX_GRAMMAR_BYTES, param: str) -> None:
    """Refuse a text that is too long or is no Unicode."""
    try:
        num_bytes = len(text.encode())
    except UnicodeEncodeError as exc:
        raise ConstraintError(f"{param} has half a surrogate pair at character {exc.start}", param=param) from exc
    if num_bytes > max_bytes:
        raise ConstraintError(f"{param} has {num_bytes} bytes; at most {max_bytes} are allowed", param=param)
