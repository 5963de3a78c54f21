"""`mlxr keys`: what a key cannot be is said in one sentence. Not here: keys at a server (`tests/e2e/keys`)."""

import json

import pytest

from tests.router.cli.conftest import Mlxr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("",), "name: expected `str` of length >= 1."),
        (("a", "--models", ""), "models[0]: expected `str` of length >= 1."),
        (("a", *["--models", "m"] * 65), "models: expected `array` of length <= 64."),
        (("a", "--models", "m", "--scope", "admin"), "--models: a key of scope admin may everything"),
        (("a", "--expires", "soon"), "--expires: 'soon' is no time"),
    ],
)
def test_what_no_key_can_be_is_told_by_its_name(mlxr: Mlxr, arguments: tuple[str, ...], told: str) -> None:
    refused = mlxr("keys", "create", *arguments)
    assert (refused.exit_code, refused.out) == (2, "")
    assert refused.err.startswith(f"mlxr: {told}")
    assert json.loads(mlxr("keys", "list", "--json").out) == []
