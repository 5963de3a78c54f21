from collections.abc import Callable

import msgspec
import pytest

from registry.catalogue import Model
from registry.errors import ModelNotFoundError
from registry.settings import VisionMode
from registry.vision import VisionFacts
from router.bench.plan.contestants import Contestant, contestants_of, without_secrets
from router.errors import BenchError
from tests.router.models.test_targets import BOTH, artifact, model


def lookup(*models: Model) -> Callable[[str], Model]:
    by_name = {each.name: each for each in models}

    def get(name: str) -> Model:
        if name not in by_name:
            raise ModelNotFoundError(name, [])
        return by_name[name]

    return get


def found(*texts: str, reference: str = "m") -> tuple[Contestant, ...]:
    return contestants_of(reference, texts, lookup(model(*BOTH)))


def test_by_default_both_engines_are_measured() -> None:
    assert [(one.label, one.engine, one.model) for one in found()] == [
        ("mlx", "mlx", "m"),
        ("llamacpp", "llamacpp", "m"),
    ]


def test_one_contestant_gets_the_other_engine_beside_it() -> None:
    assert [one.engine for one in found("llamacpp threads=2")] == ["llamacpp", "mlx"]
    assert [one.engine for one in found(reference="m@llamacpp")] == ["llamacpp", "mlx"]


def test_settings_get_their_full_names_and_become_a_header() -> None:
    first, second = found("llamacpp", "llamacpp ctx=4096 kv=q8_0 parallel=4 threads=2")
    assert first.headers() == {"X-Mlxr-Engine": "llamacpp"}
    assert first.headers(threads="all")["X-Mlxr-Load"] == "threads=all"
    load = "context_length=4096, kv_type=q8_0, parallel=4, threads=2"
    assert second.headers() == {"X-Mlxr-Engine": "llamacpp", "X-Mlxr-Load": load}
    assert "threads=2" in second.headers(threads="all")["X-Mlxr-Load"]
    assert second.label == "llamacpp ctx=4096 kv=q8_0 parallel=4 threads=2"


def test_how_tokens_are_drafted_is_said_by_each_request_and_kept_with_the_settings() -> None:
    first, second = found("llamacpp ctx=4096 speculation=lookup", "mlx speculation=off")
    assert first.headers()["X-Mlxr-Speculation"] == "lookup"
    assert first.headers()["X-Mlxr-Load"] == "context_length=4096"
    assert second.headers() == {"X-Mlxr-Engine": "mlx", "X-Mlxr-Speculation": "off"}
    assert first.described().settings == {"context_length": "4096", "speculation": "lookup"}
    with pytest.raises(BenchError, match=r"speculation: .*auto, lookup, draft, off"):
        found("llamacpp speculation=maybe")


def test_a_draft_model_drafts_where_one_is_set_and_can_be_loaded() -> None:
    plain = model(*BOTH)
    with_draft = msgspec.structs.replace(plain, settings=msgspec.structs.replace(plain.settings, draft="small"))
    first, _ = contestants_of("m", ("llamacpp speculation=draft", "mlx"), lookup(with_draft))
    assert first.headers()["X-Mlxr-Speculation"] == "draft"
    with pytest.raises(BenchError, match="draft models are loaded on llamacpp only"):
        contestants_of("m", ("mlx speculation=draft",), lookup(with_draft))
    with pytest.raises(
        BenchError, match="'m' has no model that drafts for it; `mlxr models set m draft=OTHER` sets one"
    ):
        found("llamacpp speculation=draft")


def test_the_same_one_twice_has_two_labels() -> None:
    assert [one.label for one in found("mlx", "mlx", "mlx")] == ["mlx", "mlx (2)", "mlx (3)"]


def test_another_model_is_named_with_its_engine() -> None:
    other = model(artifact("llamacpp"))
    get = lookup(model(*BOTH))

    def both(name: str) -> Model:
        return other if name == "other" else get(name)

    assert [one.engine for one in contestants_of("m", ("mlx", "other"), both)] == ["mlx", "llamacpp"]
    with pytest.raises(BenchError, match="m: the model has two forms; write m@llamacpp or m@mlx"):
        found("m", "mlx")


def test_a_server_by_url_keeps_its_secrets_out_of_label_and_record() -> None:
    _, foreign = found("mlx", "http://me:secret@127.0.0.1:8080/v1#qwen")
    assert (foreign.model, foreign.engine, foreign.is_foreign) == ("qwen", None, True)
    assert foreign.url == "http://me:secret@127.0.0.1:8080"
    assert foreign.label == "http://127.0.0.1:8080#qwen"
    assert foreign.described().url == "http://127.0.0.1:8080"
    assert found("mlx", "http://127.0.0.1:8080")[1].model == "m"
    assert without_secrets("https://a:b@[::1]:9/x?key=1") == "https://[::1]:9/x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "A contestant is empty"),
        ("mlx kv=q8_0", "kv_type is a setting of llamacpp; mlx does not have it"),
        ("llamacpp ctx", "'ctx' is not understood; settings are ctx="),
        ("llamacpp temperature=1", "is not understood"),
        ("llamacpp ctx=1 ctx=2", "ctx is there twice"),
        ("llamacpp ctx=many", "context_length"),
        ("http://", "no URL of a server"),
        ("http://127.0.0.1:99999#m", "no URL of a server"),
        ("http://127.0.0.1:80?x=1", "a query is not supported"),
        ("http://127.0.0.1:80 ctx=99", "cannot be given to a server by URL"),
        ("a b", "is not understood"),
        ("llamacpp " + "x" * 200, "longer than 120 characters"),
    ],
)
def test_what_is_not_understood_is_refused(text: str, words: str) -> None:
    with pytest.raises(BenchError, match=words):
        found("mlx", text)


def test_an_engine_that_the_model_has_no_form_for_is_refused_with_the_way_to_make_one() -> None:
    with pytest.raises(BenchError, match="cannot run on mlx; it runs on llamacpp; make the other form with"):
        contestants_of("m", ("mlx",), lookup(model(artifact("llamacpp"))))
    with pytest.raises(BenchError, match="no form that can be loaded"):
        contestants_of("m", (), lookup(model(artifact("mlx", status="bad"))))


def test_too_many_are_refused() -> None:
    with pytest.raises(BenchError, match="the limit is 8"):
        found(*["mlx"] * 9)


def test_a_record_says_what_the_weights_are() -> None:
    described = found()[1].described()
    assert (described.artifact_path, described.artifact_version) == ("/models/llamacpp", "1-1")


def test_who_cannot_see_says_why() -> None:
    assert [one.text_only_reason for one in found()] == [
        "it has no vision tower",
        "it has no vision projector (mmproj)",
    ]


@pytest.mark.parametrize(
    ("text", "of_model", "reason"),
    [
        ("llamacpp", None, None),
        ("llamacpp vision=off", None, "it is loaded with vision: off"),
        ("llamacpp", "off", "it is loaded with vision: off"),
        ("llamacpp vision=on", "off", None),
    ],
)
def test_a_model_that_sees_does_not_with_vision_off(text: str, of_model: VisionMode | None, reason: str | None) -> None:
    plain = artifact("llamacpp")
    facts = msgspec.structs.replace(plain.facts, vision=VisionFacts(kind="gemma3", has_vision=True))
    seeing = msgspec.structs.replace(plain, facts=facts, mmproj_path="/mmproj.gguf")
    found = model(seeing)
    found = msgspec.structs.replace(found, settings=msgspec.structs.replace(found.settings, vision=of_model))
    first, *_ = contestants_of("m", (text,), lookup(found))
    assert first.text_only_reason == reason


@pytest.mark.parametrize(
    ("text", "server", "is_held"),
    [
        ("llamacpp", "auto", True),
        ("llamacpp ctx=4096", "auto", True),
        ("llamacpp", 2, False),
        ("llamacpp", "all", False),
        ("llamacpp", None, False),  # an older server, which does not know the word
        ("llamacpp threads=auto", "auto", False),
        ("llamacpp threads=2", "auto", False),
        ("mlx", "auto", False),
    ],
)
def test_threads_are_held_unless_somebody_says_how_many_or_that_they_may_move(
    text: str,
    server: int | str | None,
    is_held: bool,  # noqa: FBT001
) -> None:
    first, *_ = found(text)
    assert first.holds_threads(server) == is_held
