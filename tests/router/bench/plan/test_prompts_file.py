from pathlib import Path

import pytest

from router.bench.plan.prompts_file import MAX_FILE_BYTES, MAX_PROMPTS, read_prompts
from router.errors import BenchError


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_text_is_one_prompt_and_dashes_part_several(tmp_path: Path) -> None:
    assert [prompt.messages for prompt in read_prompts(written(tmp_path, "a.txt", "One\ntwo\n"))] == [
        ({"role": "user", "content": "One\ntwo"},)
    ]
    several = read_prompts(written(tmp_path, "b.md", "One\n---\n\n---\nTwo\n"))
    assert [prompt.messages[0]["content"] for prompt in several] == ["One", "Two"]


def test_json_lines_are_texts_prompts_or_conversations(tmp_path: Path) -> None:
    lines = (
        '"Plain"\n\n{"prompt": "With", "max_tokens": 9}\n'
        '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]}\n'
    )
    plain, limited, talk = read_prompts(written(tmp_path, "a.jsonl", lines))
    assert (plain.messages[0]["content"], plain.max_tokens) == ("Plain", None)
    assert (limited.messages[0]["content"], limited.max_tokens) == ("With", 9)
    assert [message["role"] for message in talk.messages] == ["system", "user"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.jsonl", '"x"\n{', "line 2: no JSON"),
        ("a.jsonl", "7", "line 1: .*give a text, or an object"),
        ("a.jsonl", '""', "line 1"),
        ("a.jsonl", "{}", "either `prompt` or `messages`"),
        ("a.jsonl", '{"prompt": "x", "max_tokens": 0}', "max_tokens"),
        ("a.jsonl", '{"prompt": "x", "temprature": 0}', "temprature"),
        ("a.jsonl", '{"messages": [{"role": "assistant", "content": "x"}]}', "must be the user's"),
        ("a.jsonl", "\n", "there is no prompt in it"),
        ("a.txt", "---\n", "there is no prompt in it"),
        ("a.txt", b"\xff\xfe", "no UTF-8 text"),
        ("a.txt", "x\n---\n" * (MAX_PROMPTS + 1), "the limit is 64"),
        ("a.txt", b"x" * (MAX_FILE_BYTES + 1), "more than 4 MiB"),
    ],
)
def test_what_is_not_understood_is_named_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, words: str
) -> None:
    with pytest.raises(BenchError, match=words) as caught:
        read_prompts(written(tmp_path, name, text))
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"none\.txt: cannot be read: No such file"):
        read_prompts(tmp_path / "none.txt")
