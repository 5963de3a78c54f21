"""What is shown of a config in place of its secrets. Pure."""

import re
from typing import Any, Final

from registry.credentials import MASK, without_credentials

SECRET_NAME: Final = re.compile(r"(token|key|secret|password)(?!\w*_file$)", re.IGNORECASE)
"""Keys whose values are never shown. Numbers, switches and paths are no secrets: `max_tokens`, `tls_key_file`."""


def masked(value: Any, *, is_secret: bool = False) -> Any:
    """Replace the values of keys that look like secrets.

    Returns:
        A copy; texts under such keys are masked, however deep, and in every address the user and password.
    """
    match value:
        case str():
            return MASK if is_secret else without_credentials(value)
        case list() | tuple():
            return [masked(item, is_secret=is_secret) for item in value]
        case dict():
            names = {key: is_secret or SECRET_NAME.search(key) is not None for key in value}
            return {key: masked(item, is_secret=names[key]) for key, item in value.items()}
        case _:
            return value
