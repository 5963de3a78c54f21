import re

import pytest

from backends.wire.request import Priority
from registry.engines import EngineSetting
from registry.settings import LoadSettings
from router.errors import InvalidRequestError
from router.requests.headers import RequestHeaders, read_headers


def test_headers_that_are_absent_say_nothing() -> None:
    assert read_headers({}) == RequestHeaders()


def test_what_they_say_is_read() -> None:
    headers = {"X-Mlxr-Priority": " Background ", "X-Session-Id": " talk 7 ", "X-Mlxr-Timeout": "2.5"}
    assert read_headers(headers) == RequestHeaders(priority=Priority.BACKGROUND, session_id="talk 7", timeout_s=2.5)
    assert read_headers({"X-Mlxr-Priority": "interactive"}).priority is Priority.INTERACTIVE
    assert [read_headers({"X-Mlxr-Context": text}).context for text in (" Wind", "error")] == ["wind", "error"]
    assert read_headers({"X-Mlxr-Worker": " 12 "}).worker_id == 12


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("X-Mlxr-Engine", value) for value in ("", "vllm", "MLX")),
        *(("X-Mlxr-Priority", value) for value in ("", "high", "1")),
        *(("X-Mlxr-Context", value) for value in ("", "auto", "truncate")),
        *(("X-Session-Id", value) for value in ("", "  ", "x" * 513)),
        *(("X-Mlxr-Worker", value) for value in ("", "one", "-1", "1.5", "²", "1" * 10)),
        *(("X-Mlxr-Timeout", value) for value in ("", "0", "-1", "nan", "inf", "soon", "86401")),
    ],
)
def test_what_they_cannot_say_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(InvalidRequestError, match=name) as caught:
        read_headers({name: value})
    assert caught.value.param == name


def test_an_engine_is_read_and_an_unknown_one_refused_with_those_there_are() -> None:
    assert read_headers({"X-Mlxr-Engine": " mlx "}).engine is EngineSetting.MLX
    with pytest.raises(
        InvalidRequestError, match="X-Mlxr-Engine: unknown engine 'vllm'; use auto, mlx, llamacpp, upstream:NAME"
    ):
        read_headers({"X-Mlxr-Engine": "vllm"})


def test_a_load_is_read_with_its_types() -> None:
    asked = read_headers({"X-Mlxr-Load": "context_length=4096, kv_type=q8_0 parallel=2,threads=3"}).load
    assert asked == LoadSettings(context_length=4096, kv_type="q8_0", parallel=2, threads=3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("context_length", "send KEY=VALUE"),
        ("context_length=", "send KEY=VALUE"),
        ("temperature=1", "'temperature=1' is not understood"),
        ("template=x", "of context_length, parallel, workers, vision, kv_type, kv_cache, threads"),
        ("threads=1 threads=2", "each KEY once"),
        ("threads=0", "threads: expected `int` >= 1"),
        ("kv_type=q9", "kv_type: expected one of f32, f16,"),
    ],
)
def test_a_load_that_cannot_be_is_refused_by_name(text: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(words)) as caught:
        read_headers({"X-Mlxr-Load": text})
    assert caught.value.param == "X-Mlxr-Load"
