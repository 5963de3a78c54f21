"""Where the page is, and who is a browser that looks for it. Pure. Not here: the page (`router.web`)."""

from collections.abc import Mapping
from typing import Final

PAGE_PATH: Final = "/ui"


def is_navigation(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser goes to an address, as opposed to a script or a program that fetches it.

    Source: Fetch Metadata Request Headers, section 2.2 "Sec-Fetch-Mode"; older Safari sends none, and only pages
    are asked for with `text/html`.
    """
    mode = headers.get("sec-fetch-mode", "navigate")
    return mode == "navigate" and "text/html" in headers.get("accept", "")
