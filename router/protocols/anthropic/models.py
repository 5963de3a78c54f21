"""Models in Anthropic's shape, for clients that say which version of its API they speak. Pure.

Source: Anthropic API reference, "List Models": pages of `limit` models, the newest first.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from registry.catalogue import Model
from router.errors import InvalidRequestError
from router.protocols.anthropic.answer_schemas import ModelInfo, ModelPage
from router.protocols.queries import number_in

VERSION_HEADER: Final = "anthropic-version"
DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 1000


def model_page(models: Sequence[Model], query: Mapping[str, str]) -> ModelPage:
    """Return the page of all models and their adapters that a URL asks for by `limit`, and `after_id` or `before_id`.

    Raises:
        InvalidRequestError: The limit is none.
    """
    items = [
        model_info(model, adapter)
        for model in sorted(models, key=lambda model: (-model.created_at, model.name))
        for adapter in (None, *model.adapter_names)
    ]
    ids = [item.id for item in items]
    text = query.get("limit", str(DEFAULT_PAGE))
    limit = number_in(text, 1, MAX_PAGE)
    if limit is None:
        raise InvalidRequestError(f"limit: {text!r:.40} is no whole number from 1 to {MAX_PAGE}", "limit")
    after, before = query.get("after_id"), query.get("before_id")
    if before is not None:
        end = ids.index(before) if before in ids else 0
        start = max(0, end - limit)
        page, has_more = items[start:end], start > 0
    else:
        start = 0 if after is None else (ids.index(after) + 1 if after in ids else len(ids))
        page, has_more = items[start : start + limit], start + limit < len(ids)
    return ModelPage(
        data=page,
        has_more=has_more,
        first_id=page[0].id if page else None,
        last_id=page[-1].id if page else None,
    )


def model_info(model: Model, adapter: str | None = None) -> ModelInfo:
    """Return one model, perhaps with an adapter over it."""
    name = model.name if adapter is None else f"{model.name}+{adapter}"
    return ModelInfo(
        id=name,
        type="model",
        display_name=name,
        created_at=dt.datetime.fromtimestamp(int(model.created_at), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        lifecycle="active",
        max_input_tokens=model.context_length,
        max_tokens=None,
    )
