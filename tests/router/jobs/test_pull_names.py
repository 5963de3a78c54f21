"""Names of what a key with patterns pulls: known before anything is fetched, and within its patterns."""

import pytest

from registry.pull_record import PullOptions
from router.errors import ModelNameNotAllowedError
from router.http.caller import OWNER, Caller, Scope
from router.jobs.pull_names import bounded, name_of

KEY = Caller(key_id="key_1", name="ci", scope=Scope.MODELS, models=("tin*", "org/mine"))


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("org/Tiny-1B-GGUF", "tiny-1b"),
        ("hf.co/org/Tiny-1B-GGUF:Q4_K_M", "tiny-1b"),
        ("org/pack/Other-Q8_0.gguf", "other"),
        ("https://example.org/a/Tiny-Q4_0.gguf", "tiny"),
        ("ollama://tiny:1b", "tiny:1b"),
    ],
)
def test_a_pull_without_a_name_has_one(reference: str, name: str) -> None:
    assert name_of(reference) == name


@pytest.mark.parametrize(
    ("reference", "options", "name"),
    [
        ("org/Tiny-1B-GGUF", PullOptions(), "tiny-1b"),
        ("org/Other-GGUF", PullOptions(name="tiny-x"), "tiny-x"),
        ("org/Other-GGUF", PullOptions(name="TINY-x"), "TINY-x"),
        ("org/Other-GGUF", PullOptions(called="org/mine:latest"), "org/mine:latest"),
        ("org/Other-GGUF", PullOptions(), None),
        ("org/Tiny-GGUF", PullOptions(name="other"), None),
        ("org/Tiny-GGUF", PullOptions(called="org/other"), None),
    ],
)
def test_patterns_bound_the_name(reference: str, options: PullOptions, name: str | None) -> None:
    if name is None:
        with pytest.raises(ModelNameNotAllowedError, match=r"'ci' may only .* named tin\* or org/mine"):
            bounded(KEY, reference, options)
    else:
        found = bounded(KEY, reference, options)
        assert (found.name, found.patterns) == (name, KEY.models)
    assert bounded(OWNER, reference, options) is options
