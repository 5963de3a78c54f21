from collections.abc import Sequence
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.engines import LOCAL_ENGINES, EngineKind
from router.models.selectors.rules import Candidate, Wanted, select, wanted_by

BOTH = frozenset(LOCAL_ENGINES)
NAMES = ("tiny", "qwen-coder", "codellama", "encoder-decoder", "big", "eyes")


def candidate(model: str, **facts: object) -> Candidate:
    return Candidate(**{"model": model, "engines": BOTH, "num_parameters": 1_000_000_000} | facts)  # type: ignore[arg-type]


def chosen(wanted: Wanted | str, *candidates: Candidate) -> str | None:
    found = select(candidates, Wanted(wanted) if isinstance(wanted, str) else wanted).chosen
    return None if found is None else found.model


@st.composite
def candidate_lists(draw: st.DrawFn) -> list[Candidate]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)))
    return [
        Candidate(
            model=name,
            tags=draw(st.sampled_from([(), (), ("small",), ("code", "work"), ("vision",), ("work",)])),
            engines=draw(st.sampled_from([BOTH, frozenset({EngineKind.MLX}), frozenset()])),
            num_parameters=draw(st.sampled_from([None, 100_000_000, 4_000_000_000, 70_000_000_000])),
            sees=draw(st.booleans()),
            has_tools=draw(st.booleans()),
            is_loaded=draw(st.booleans()),
            decode_tokens_per_s=draw(st.sampled_from([None, 5.0, 50.0])),
            last_used_at=draw(st.sampled_from([None, 1.0, 2.0])),
        )
        for name in names
    ]


wishes = st.builds(
    Wanted,
    st.sampled_from(["small", "vision", "code", "work", "nobody"]),
    st.sampled_from([None, *LOCAL_ENGINES]),
    st.booleans(),
)


@given(candidate_lists(), wishes)
def test_what_is_chosen_can_serve_and_is_what_the_selector_says(candidates: list[Candidate], wanted: Wanted) -> None:
    selection = select(candidates, wanted)
    one = selection.chosen
    assert sorted(each.candidate.model for each in selection.judged) == sorted(each.model for each in candidates)
    assert [each.why_not is None for each in selection.judged] == sorted(
        [each.why_not is None for each in selection.judged], reverse=True
    ), "those that are meant come first"
    if one is None:
        assert all(each.why_not is not None for each in selection.judged)
        return
    assert selection.judged[0].candidate == one
    assert one.engines
    assert wanted.engine in {None, *one.engines}
    assert one.sees or not (wanted.has_picture or wanted.name == "vision")
    if wanted.name in {"work", "nobody"}:
        assert wanted.name in one.tags
    if wanted.name == "code":
        assert "code" in one.tags or ("code" in one.model and one.model != "encoder-decoder")


@given(candidate_lists(), wishes, st.randoms())
def test_the_order_of_the_models_does_not_matter(candidates: list[Candidate], wanted: Wanted, random: Random) -> None:
    shuffled = list(candidates)
    random.shuffle(shuffled)
    assert select(candidates, wanted) == select(shuffled, wanted)


@given(candidate_lists(), wishes)
def test_whoever_is_loaded_of_those_that_are_meant_goes_on_serving(candidates: list[Candidate], wanted: Wanted) -> None:
    """So two requests by one selector swap nothing between them, and neither do two selectors that mean both."""
    meant = [each.candidate for each in select(candidates, wanted).judged if each.why_not is None]
    for loaded in meant:
        after = [msgspec.structs.replace(each, is_loaded=each.model == loaded.model) for each in candidates]
        assert chosen(wanted, *after) == loaded.model


@given(candidate_lists(), wishes)
def test_a_model_that_cannot_serve_changes_nothing(candidates: list[Candidate], wanted: Wanted) -> None:
    useless = Candidate(model="aaa", tags=("small", "code", "vision", "work"), is_loaded=True, sees=True)
    assert chosen(wanted, *candidates) == chosen(wanted, *candidates, useless)


@given(candidate_lists(), wishes)
def test_a_tag_is_stronger_than_any_fact(candidates: list[Candidate], wanted: Wanted) -> None:
    tagged = candidate("zzz", tags=(wanted.name,), sees=True, num_parameters=10**12)
    one = select([*candidates, tagged], wanted).chosen
    assert one is not None
    assert wanted.name in one.tags


def test_small_is_what_is_tagged_so_or_has_few_parameters_or_else_fewest() -> None:
    large, larger = candidate("l", num_parameters=9_000_000_000), candidate("x", num_parameters=70_000_000_000)
    assert chosen("small", larger, large) == "l"
    assert chosen("small", larger, large, candidate("t")) == "t"
    assert chosen("small", msgspec.structs.replace(larger, tags=("small",)), large, candidate("t")) == "x"
    assert chosen("small", candidate("unknown", num_parameters=None)) is None


def test_vision_is_what_sees() -> None:
    assert chosen("vision", candidate("blind", tags=("vision",)), candidate("eyes", sees=True)) == "eyes"
    assert chosen("vision", candidate("a", sees=True), candidate("b", sees=True, tags=("vision",))) == "b"
    assert chosen("vision", candidate("blind")) is None


@pytest.mark.parametrize("name", ["qwen2.5-coder-7b", "codellama", "codestral", "starcoder2", "devstral", "org/x-code"])
def test_code_is_known_by_the_name(name: str) -> None:
    assert chosen("code", candidate("a"), candidate(name)) == name


@pytest.mark.parametrize("name", ["text-encoder", "decoder", "unicode-7b", "a"])
def test_other_names_are_no_code(name: str) -> None:
    assert chosen("code", candidate(name)) is None


def test_code_prefers_tools_even_where_another_one_is_loaded() -> None:
    assert chosen("code", candidate("a-coder", is_loaded=True), candidate("b-coder", has_tools=True)) == "b-coder"


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        ({"is_loaded": True}, {"decode_tokens_per_s": 99.0}, "it is loaded"),
        ({"decode_tokens_per_s": 2.0}, {"last_used_at": 9.0}, "the fastest here"),
        ({"last_used_at": 2.0}, {"last_used_at": 1.0, "num_parameters": 5}, "used last"),
        ({"num_parameters": 5}, {"num_parameters": None}, "the smallest of them"),
        ({}, {}, "the first of them by its name"),
    ],
)
def test_the_first_advantage_decides_and_is_told(
    better: dict[str, object], worse: dict[str, object], words: str
) -> None:
    a, b = candidate("a", tags=("t",), **better), candidate("b", tags=("t",), **worse)
    selection = select([b, a], Wanted("t"))
    assert selection.chosen == a
    assert selection.why.startswith("tagged t: ")
    assert words in selection.why


def test_those_that_are_not_meant_are_told_why() -> None:
    candidates = [candidate("a", engines=frozenset({EngineKind.MLX})), candidate("b", tags=("t",)), candidate("c")]
    candidates.append(candidate("d", engines=frozenset()))
    judged = select(candidates, Wanted("t", EngineKind.LLAMACPP)).judged
    assert {each.candidate.model: each.why_not for each in judged} == {
        "a": "not there for llamacpp",
        "b": None,
        "c": "not tagged t",
        "d": "not usable for text",
    }


@pytest.mark.parametrize(
    ("wanted", "candidates", "why"),
    [
        (Wanted("t"), [candidate("a")], "no model here is tagged t"),
        (Wanted("vision"), [candidate("a")], "no model here is able to see pictures"),
        (Wanted("small"), [], "no model here can serve texts"),
        (Wanted("t", EngineKind.MLX, has_picture=True), [candidate("a")], "no model here can serve a picture on mlx"),
    ],
)
def test_it_is_told_why_nobody_is_chosen(wanted: Wanted, candidates: Sequence[Candidate], why: str) -> None:
    assert select(candidates, wanted).why == why


def test_a_selector_is_a_name_that_begins_with_auto() -> None:
    assert wanted_by(" Auto:Small@mlx ") == "small"
    assert wanted_by("auto:x+y") == "x"
    assert [wanted_by(name) for name in ("auto", "automatic:1b", "org/auto:small", "m", "")] == [None] * 5
