"""Pages of models in Anthropic's shape."""

import pytest

from registry.catalogue import Model
from router.errors import InvalidRequestError
from router.protocols.models import model_info, model_page

MODELS = [
    Model(
        name=f"m{number}", created_at=1_700_000_000.0 + number, last_used_at=None, aliases=(), artifacts=(), engine=None
    )
    for number in range(5)
]


def page(**query: str) -> tuple[list[str], bool]:
    shown = model_page(MODELS, query)
    names = [item.id for item in shown.data]
    assert (shown.first_id, shown.last_id) == ((names[0], names[-1]) if names else (None, None))
    return names, shown.has_more


def test_the_newest_come_first() -> None:
    assert page() == (["m4", "m3", "m2", "m1", "m0"], False)


def test_pages_follow_and_precede_each_other() -> None:
    assert page(limit="2") == (["m4", "m3"], True)
    assert page(limit="2", after_id="m3") == (["m2", "m1"], True)
    assert page(limit="2", after_id="m1") == (["m0"], False)
    assert page(limit="2", before_id="m1") == (["m3", "m2"], True)
    assert page(limit="9", before_id="m3") == (["m4"], False)
    assert page(after_id="nobody") == page(before_id="nobody") == ([], False)


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "1" * 5000, "٣"])
def test_a_limit_is_a_number(limit: str) -> None:
    with pytest.raises(InvalidRequestError, match="limit"):
        page(limit=limit)


def test_a_model_is_told_like_anthropics() -> None:
    assert model_info(MODELS[0]).created_at == "2023-11-14T22:13:20Z"
    assert model_info(MODELS[0], "pirate").id == "m0+pirate"
