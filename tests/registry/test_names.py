import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.errors import InvalidModelNameError
from registry.names import (
    MAX_NAME_CHARS,
    check_model_name,
    check_new_name,
    derive_name,
    parse_model_reference,
    parse_shard_name,
    sanitise_org,
    with_suffix,
)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "0",
        "smollm2-135m-instruct",
        "org/name",
        "qwen2.5-0.5b",
        "a_b",
        "a:b",
        "o/a:7b-q4_k_m",
        "a" * MAX_NAME_CHARS,
        "x--y",
    ],
)
def test_accepts_valid_names(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../etc/passwd",
        "..%2f..",
        "/etc/passwd",
        "a/../../b",
        "C:\\x",
        "x\0y",
        "x" * 10_000,
        "a/b/c",
        "a..b",
        "-a",
        "a-",
        ".a",
        "a.",
        "a/",
        "/a",
        "A",
        "a b",
        "a\n",
        "ä",
        "a:",
        ":a",
        "a:b:c",
        "a:b/c",
        "a:..",
        "a+b",
        "a@mlx",
        "a" * (MAX_NAME_CHARS + 1),
    ],
)
def test_refuses_what_is_no_name(name: str) -> None:
    with pytest.raises(InvalidModelNameError):
        check_model_name(name)


@pytest.mark.parametrize(
    ("text", "name", "engine", "adapter"),
    [
        ("m", "m", None, None),
        ("m@mlx", "m", "mlx", None),
        ("org/m@llamacpp", "org/m", "llamacpp", None),
        ("M@MLX", "m", "mlx", None),
        ("m@auto", "m", "auto", None),
        ("m+fox", "m", None, "fox"),
        ("org/m:7b+Fox-2.1@mlx", "org/m:7b", "mlx", "fox-2.1"),
    ],
)
def test_takes_references_apart(text: str, name: str, engine: str | None, adapter: str | None) -> None:
    assert parse_model_reference(text) == (name, engine, adapter)


@pytest.mark.parametrize(
    "text",
    [
        *("m@", "m@cuda", "@mlx", "m@mlx@mlx", "m@ mlx", "a" * 99_999),
        *("m+", "+fox", "m+-fox", "m+../x", "m+a/b", "m+a:b", "m@mlx+fox", f"m+{'x' * 65}"),
    ],
)
def test_refuses_malformed_references(text: str) -> None:
    with pytest.raises(InvalidModelNameError):
        parse_model_reference(text)


def test_a_model_takes_one_adapter_at_a_time() -> None:
    with pytest.raises(InvalidModelNameError, match="one adapter at a time"):
        parse_model_reference("m+fox+owl@mlx")


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("SmolLM2-135M-Instruct-4bit", "smollm2-135m-instruct"),
        ("SmolLM2-135M-Instruct-mlx-f32-4bit-g32", "smollm2-135m-instruct"),
        ("Qwen3-4B-UD-Q4_K_XL.gguf", "qwen3-4b"),
        ("Qwen3-30B-A3B-MLX-4bit-gs32", "qwen3-30b-a3b"),
        ("Mixtral-8x7B-v0.1-Q4_K_M-00001-of-00003.gguf", "mixtral-8x7b-v0.1"),
        ("gemma-3-4b-it-qat-4bit", "gemma-3-4b-it"),
        ("gpt-oss-20b-MXFP4-Q8", "gpt-oss-20b"),
        ("Llama-3.2-1B-Instruct-i1-IQ4_XS.gguf", "llama-3.2-1b-instruct"),
        ("phi-2.bf16.gguf", "phi-2"),
        ("qwen2.5-0.5b-instruct-q2_k.gguf", "qwen2.5-0.5b-instruct"),
        ("Llama-3.1-8B-Instruct-GGUF", "llama-3.1-8b-instruct"),
        ("tinyllama-1.1b-chat-v1.0.Q8_0.GGUF", "tinyllama-1.1b-chat-v1.0"),
        ("model-16.gguf", "model-16"),
        ("My Model (final).gguf", "my-model-final"),
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\evil.gguf", "evil"),
    ],
)
def test_derives_the_name_without_quantization_and_format(file_name: str, name: str) -> None:
    assert derive_name(file_name) == name


def test_takes_the_first_hint_that_says_something() -> None:
    assert derive_name("ggml-model-q4_0.gguf", "Llama-7B", "x") == "llama-7b"
    assert derive_name("model.gguf", "snapshots", None, "3a7f2c91d0be44", "SmolLM2-GGUF") == "smollm2"
    assert derive_name("Q4_K_M", "8bit", "") == "model"


@given(st.lists(st.text(max_size=300), max_size=4))
def test_every_derived_name_is_valid(hints: list[str]) -> None:
    name = derive_name(*hints)
    assert check_model_name(name) == name
    assert check_model_name(with_suffix(name, "Q4_K_M"))
    org = sanitise_org(hints[0]) if hints else None
    assert org is None or check_model_name(f"{org}/{name}")


@given(st.text("ab/.", min_size=1, max_size=MAX_NAME_CHARS))
def test_a_suffix_keeps_a_valid_name_valid(text: str) -> None:
    try:
        name = check_model_name(text)
    except InvalidModelNameError:
        return
    assert check_model_name(with_suffix(name, "x" * 30))


@pytest.mark.parametrize(
    ("file_name", "expected"),
    [
        ("m-00001-of-00003.gguf", ("m", 1, 3)),
        ("a-b-00003-of-00003.GGUF", ("a-b", 3, 3)),
        ("m-00004-of-00003.gguf", None),
        ("m-00000-of-00003.gguf", None),
        ("m-0001-of-0003.gguf", None),
        ("m.gguf", None),
    ],
)
def test_recognises_files_of_split_sets(file_name: str, expected: tuple[str, int, int] | None) -> None:
    assert parse_shard_name(file_name) == expected


@pytest.mark.parametrize("name", ["auto", "auto:small", "auto:7b"])
def test_names_of_selectors_are_given_to_no_model(name: str) -> None:
    assert check_model_name(name) == name
    with pytest.raises(InvalidModelNameError, match="cannot be given to a model"):
        check_new_name(name)


@pytest.mark.parametrize("name", ["automatic", "org/auto", "auto-coder", "a:auto"])
def test_names_like_theirs_are_given(name: str) -> None:
    assert check_new_name(name) == name
