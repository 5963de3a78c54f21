import pytest

from registry.settings import ContextMode, ModelSettings
from router.config import ContextConfig
from router.requests.context_wish import ContextWish, context_mode


@pytest.mark.parametrize(
    ("said", "of_model", "configured", "expected"),
    [
        (None, None, "error", "error"),
        (None, None, "wind", "wind"),
        (None, "error", "wind", "error"),
        (None, "wind", "error", "wind"),
        ("error", "wind", "wind", "error"),
        ("wind", "error", "error", "wind"),
    ],
)
def test_a_request_goes_before_its_model_and_that_before_the_config(
    said: ContextMode | None, of_model: ContextMode | None, configured: ContextMode, expected: ContextMode
) -> None:
    wish = None if said is None else ContextWish(mode=said)
    assert context_mode(wish, ModelSettings(context=of_model), ContextConfig(mode=configured)) == expected


def test_a_config_that_would_wind_again_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match=r"context\.target 0\.7 is not below context\.wind_at 0\.7"):
        ContextConfig(wind_at=0.7, target=0.7)
