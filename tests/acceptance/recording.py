"""Requests as fixtures of the tests: long texts by their lengths, ids and whatever is of one machine left out. Pure."""

import json
import re
from typing import Any, Final

from tests.acceptance.proxy import Exchange

LONGEST: Final = 60
"""Texts of more characters are replaced by their lengths."""

_KEPT_HEADERS: Final = ("accept", "content-type", "user-agent", "anthropic-beta", "anthropic-version", "originator")
_IDS: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\b[0-9a-f]{24,}\b")


def fixture_of(exchange: Exchange, replaced: dict[str, str]) -> bytes:
    """Return a request as a fixture.

    Args:
        replaced: Texts of this run, such as its folder and its word, and what stands for them.
    """
    headers = {name.lower(): value for name, value in exchange.headers.items()}
    recorded = {
        "method": exchange.method,
        "path": exchange.path,
        "headers": {name: _plain(headers[name], replaced) for name in _KEPT_HEADERS if name in headers},
        "body": _shortened(json.loads(exchange.body), replaced),
    }
    return (json.dumps(recorded, indent=1, ensure_ascii=False) + "\n").encode()


def _shortened(value: Any, replaced: dict[str, str]) -> Any:
    match value:
        case str():
            return f"<{len(value)} characters>" if len(value) > LONGEST else _plain(value, replaced)
        case dict():
            return {name: _shortened(item, replaced) for name, item in value.items()}
        case list():
            return [_shortened(item, replaced) for item in value]
        case _:
            return value


def _plain(text: str, replaced: dict[str, str]) -> str:
    for found, shown in replaced.items():
        text = text.replace(found, shown)
    return _IDS.sub(lambda match: re.sub(r"[0-9a-f]", "0", match[0]), text)
