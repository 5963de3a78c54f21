"""Models in Anthropic's shape, for clients that say which version of its API they speak. Pure.

Source: Anthropic API reference, "List Models": pages of `limit` models, the newest first.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from registry.catalogue import Model
from router.errors import InvalidRequestError

VERSION_HEADER: Final = "anthropic-version"
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 1000


def model_page(models: Sequence[Model], query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of all models and their adapters.

    Args:
        query: Of the URL: `limit`, and `after_id` or `before_id`.

    Raises:
        InvalidRequestError: The limit is none.
    """
    items = [item for model in sorted(models, key=_newest_first) for item in _objects(model)]
    ids = [item["id"] for item in items]
    limit = _limit(query.get("limit"))
    after, before = query.get("after_id"), query.get("before_id")
    if before is not None:
        end = ids.index(before) if before in ids else 0
        start = max(0, end - limit)
        page, has_more = items[start:end], start > 0
    else:
        start = 0 if after is None else (ids.index(after) + 1 if after in ids else len(ids))
        page, has_more = items[start : start + limit], start + limit < len(ids)
    return {
        "data": page,
        "has_more": has_more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def model_info(model: Model, adapter: str | None = None) -> dict[str, Any]:
    """Return one model.

    Args:
        adapter: The adapter over it, or None.
    """
    name = model.name if adapter is None else f"{model.name}+{adapter}"
    return {
        "id": name,
        "type": "model",
        "display_name": name,
        "created_at": dt.datetime.fromtimestamp(int(model.created_at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "lifecycle": "active",
        "max_input_tokens": max((artifact.facts.context_length or 0 for artifact in model.artifacts), default=0)
        or None,
        "max_tokens": None,
    }


def _newest_first(model: Model) -> tuple[float, str]:
    return -model.created_at, model.name


def _objects(model: Model) -> list[dict[str, Any]]:
    names = dict.fromkeys(adapter.name for adapter in model.adapters)
    return [model_info(model), *(model_info(model, name) for name in names)]


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_PAGE
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_PAGE)) else 0
    if not 1 <= number <= MAX_PAGE:
        raise InvalidRequestError(f"limit: {text!r:.40} is no whole number from 1 to {MAX_PAGE}", "limit")
    return number
