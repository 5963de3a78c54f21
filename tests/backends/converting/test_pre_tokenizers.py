"""The same text has the same tokens on both engines, whatever the GGUF names its cut."""

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from backends.converting.pre_tokenizers import correct_pre_tokenizer

TEXT = "A list:\n\n- one  two\n- don't  2024\n\n\nend  \n"


def folder_of(path: Path) -> Path:
    """Make a folder with a byte-level vocabulary that merges line breaks and digits, cut as Qwen does it."""
    letters = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    vocabulary = {letter: number for number, letter in enumerate([*letters, "ĊĊ", "20"])}
    cut = {"Regex": r"\s*[\r\n]+|\p{N}|\s+|[^\s\p{N}]+"}
    tokenizer = {
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["Ċ Ċ", "2 0"]},
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": cut,
                    "behavior": "Isolated",
                    "invert": False,
                },
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            ],
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "added_tokens": [],
    }
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    return path


def pieces(folder: Path, text: str) -> list[str]:
    return list(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).tokens)


@pytest.mark.parametrize(
    ("pre", "breaks", "digits"), [("smollm", ["Ċ", "Ċ"], ["2", "0", "2", "4"]), ("gpt-2", ["Ċ", "Ċ"], ["20", "2", "4"])]
)
def test_a_known_name_brings_its_own_cut(tmp_path: Path, pre: str, breaks: list[str], digits: list[str]) -> None:
    folder = folder_of(tmp_path)
    assert pieces(folder, "a\n\nb")[1:-1] == ["ĊĊ"], "Qwen's cut leaves line breaks together"
    assert correct_pre_tokenizer(folder, pre)
    assert pieces(folder, "a\n\nb")[1:-1] == breaks
    assert pieces(folder, "2024") == digits
    assert (
        Tokenizer.from_file(str(folder / "tokenizer.json")).decode(
            Tokenizer.from_file(str(folder / "tokenizer.json")).encode(TEXT).ids
        )
        == TEXT
    )


def test_an_unknown_name_and_a_right_file_are_left_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    before = (folder / "tokenizer.json").read_bytes()
    assert not correct_pre_tokenizer(folder, "qwen2")
    assert (folder / "tokenizer.json").read_bytes() == before
    assert correct_pre_tokenizer(folder, "smollm")
    assert not correct_pre_tokenizer(folder, "smollm")
