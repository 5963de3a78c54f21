"""Takes users and passwords out of addresses before they are shown. Pure."""

import re
from typing import Final

MASK: Final = "********"

_USERINFO: Final = re.compile(r"(?<=//)[^/?#\s]*@")
"""Up to the last `@` before the path. Source: RFC 3986, section 3.2: the authority ends at "/", "?" or "#"."""


def without_credentials(text: str) -> str:
    """Mask what stands between `//` and `@` of every address in a text."""
    return _USERINFO.sub(f"{MASK}@", text)
