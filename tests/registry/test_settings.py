import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidSettingError
from registry.settings import (
    SETTING_KEYS,
    ModelSettings,
    PresetMessage,
    check_settings,
    decode_settings,
    set_settings,
    settings_from_text,
)

VALUES = {
    "context_length": st.integers(16, 10_000_000),
    "kv_type": st.sampled_from(["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q8_0/q4_0", "f16/q4_1"]),
    "parallel": st.integers(1, 256),
    "workers": st.integers(1, 64),
    "keep_alive_s": st.floats(0, 1e9),
    "temperature": st.floats(0, 5),
    "top_p": st.floats(0, 1),
    "top_k": st.integers(1, 1_000_000),
    "min_p": st.floats(0, 1),
    "repetition_penalty": st.floats(0, 2, exclude_min=True),
    "seed": st.integers(0, (1 << 63) - 1),
    "max_tokens": st.integers(1, 10_000_000),
}
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=50)


@given(st.fixed_dictionaries({}, optional=VALUES))
def test_numbers_that_were_typed_are_stored_and_read_unchanged(values: dict[str, object]) -> None:
    checked = settings_from_text({key: str(value) for key, value in values.items()})
    assert checked == values
    settings = decode_settings({key: msgspec.json.encode(value) for key, value in checked.items()})
    assert settings == ModelSettings(**values)  # type: ignore[arg-type]
    assert check_settings(set_settings(settings)) == set_settings(settings) == values


@given(TEXTS, TEXTS, st.lists(TEXTS, min_size=1, max_size=16))
def test_texts_are_stored_and_read_unchanged(system: str, template: str, stop: list[str]) -> None:
    typed = {"system": system, "template": template, "stop": msgspec.json.encode(stop).decode()}
    checked = settings_from_text(typed)
    settings = decode_settings({key: msgspec.json.encode(value) for key, value in checked.items()})
    assert settings == ModelSettings(system=system, template=template, stop=tuple(stop))


@given(st.sampled_from(SETTING_KEYS), st.text(max_size=20))
def test_any_text_gives_a_value_or_our_error(key: str, text: str) -> None:
    try:
        checked = settings_from_text({key: text})
    except InvalidSettingError:
        return
    assert checked.keys() == {key}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30.0), ("1.5s", 1.5), ("5m", 300.0), ("2h", 7200.0), ("0", 0.0), ("250ms", 0.25)]
)
def test_times_may_have_a_unit(text: str, seconds: float) -> None:
    assert settings_from_text({"keep_alive_s": text}) == {"keep_alive_s": seconds}


@pytest.mark.parametrize("key", ["temprature", "sed", "TOP_K", "keep_alive", "kvtype"])
def test_an_unknown_key_is_refused_with_names_that_look_like_it(key: str) -> None:
    with pytest.raises(InvalidSettingError, match=r"Did you mean|There are"):
        check_settings({key: 1})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", True),
        ("temperature", float("inf")),
        ("temperature", float("nan")),
        ("top_p", -0.1),
        ("seed", -1),
        ("seed", 1 << 63),
        ("stop", []),
        ("stop", [""]),
        ("stop", ["x"] * 17),
        ("stop", "text"),
        ("system", ""),
        ("system", "x" * 70_000),
        ("system", "\ud800"),
        ("system", object()),
        ("tags", []),
        ("tags", "code"),
        ("tags", ["Code"]),
        ("tags", ["a b"]),
        ("tags", ["-"]),
        ("tags", ["x" * 33]),
        ("tags", [str(number) for number in range(17)]),
        ("engine", "cuda"),
        ("engine", 7),
        ("keep_alive_s", -1),
    ],
)
def test_a_value_of_another_kind_or_range_is_refused(key: str, value: object) -> None:
    with pytest.raises(InvalidSettingError, match=key):
        check_settings({key: value})


@pytest.mark.parametrize("text", ["code,small", " Code, small ", "code small code"])
def test_tags_are_typed_with_commas_or_blanks_and_each_stored_once(text: str) -> None:
    assert settings_from_text({"tags": text}) == {"tags": ("code", "small")}


def test_what_is_no_tag_is_refused_in_words() -> None:
    with pytest.raises(InvalidSettingError, match="tags: expected tags, each 1 to 32 of a-z"):
        settings_from_text({"tags": "c++"})


def test_a_preset_conversation_is_typed_as_json_and_stored_as_it_is() -> None:
    typed = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]'
    checked = settings_from_text({"messages": typed, "license": "MIT"})
    settings = decode_settings({key: msgspec.json.encode(value) for key, value in checked.items()})
    assert settings == ModelSettings(
        messages=(PresetMessage("user", "Hi"), PresetMessage("assistant", "Ho")), license="MIT"
    )
    assert set_settings(settings) == {"messages": msgspec.json.decode(typed), "license": "MIT"}
    assert check_settings(set_settings(settings)) == checked


@pytest.mark.parametrize("text", ["Hi", "[]", '[{"role": "tool", "content": "x"}]', '[{"role": "user"}]'])
def test_what_is_no_preset_conversation_is_refused(text: str) -> None:
    with pytest.raises(InvalidSettingError, match="messages"):
        settings_from_text({"messages": text})


def test_a_word_that_is_not_known_is_answered_with_those_that_are() -> None:
    with pytest.raises(InvalidSettingError, match=r"'cut'; choose one of error, wind\."):
        settings_from_text({"context": "cut"})
    with pytest.raises(InvalidSettingError, match=r"'turbo'; choose one of auto, lookup, draft, off\."):
        settings_from_text({"speculation": "turbo"})
    with pytest.raises(InvalidSettingError, match=r"'turbo'; it may be a number or one of auto, all"):
        settings_from_text({"threads": "turbo"})
    with pytest.raises(InvalidSettingError, match=r"'turbo'; it may be a number or one of auto, all\."):
        check_settings({"threads": "turbo"})
