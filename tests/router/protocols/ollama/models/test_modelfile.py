"""Modelfiles as Ollama's own parser reads them, and hostile ones."""

import contextlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.errors import InvalidRequestError
from router.protocols.ollama.models.modelfile import MAX_MODELFILE_BYTES, Modelfile, parse_modelfile
from router.protocols.ollama.models.schemas import CreateMessage

WHOLE = """\
# a comment
FROM llama3.2:1b

PARAMETER temperature 0.7
parameter stop "<|im_end|>"
PARAMETER stop ###
PARAMETER num_ctx 4096
SYSTEM \"""
You are Mario.
# this is no comment
\"""
TEMPLATE \"""{{ messages[0].content }}\"""
MESSAGE user Is Toronto in Canada?
MESSAGE assistant "yes,
indeed"
ADAPTER ./lora.gguf
LICENSE MIT
LICENSE \"""Apache
2.0\"""
"""


def test_every_command_is_read() -> None:
    assert parse_modelfile(WHOLE) == Modelfile(
        source="llama3.2:1b",
        parameters={"temperature": "0.7", "stop": ["<|im_end|>", "###"], "num_ctx": "4096"},
        system="\nYou are Mario.\n# this is no comment\n",
        template="{{ messages[0].content }}",
        adapters={"0": "./lora.gguf"},
        messages=[
            CreateMessage(role="user", content="Is Toronto in Canada?"),
            CreateMessage(role="assistant", content="yes,\nindeed"),
        ],
        license=["MIT", "Apache\n2.0"],
    )


def test_line_ends_of_windows_and_a_byte_order_mark_make_no_difference() -> None:
    assert parse_modelfile("\ufeff" + WHOLE.replace("\n", "\r\n")) == parse_modelfile(WHOLE)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no FROM"),
        ("# FROM x", "no FROM"),
        ("SYSTEM x", "no FROM"),
        ("FROM", "line 1: the value is missing"),
        ("FROM a\n\nFROM b\nFROM c", "line 4: there is a third FROM"),
        ("FROM a\nRUN rm -rf /", "line 2: 'run' is no command"),
        ("FROM a\nPARAMETER", "line 2: the value is missing"),
        ("FROM a\nPARAMETER stop", "line 2: the value is missing"),
        ("FROM a\nMESSAGE tool hi", "needs a role"),
        ("FROM a\nMESSAGE user", "line 2: the value is missing"),
        ('FROM a\nSYSTEM """x\ny', "does not end"),
        ('FROM a\nSYSTEM "x', "does not end"),
        ("FROM a\nSYSTEM one\ntwo", "three quotation marks"),
        ("#" * (MAX_MODELFILE_BYTES + 1), "larger"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        parse_modelfile(text)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert parse_modelfile(f"FROM x\n{text}").source == "x"


@example("two spaces at the end of the first line  \nnext")
@given(st.text(st.characters(codec="utf-8", exclude_characters='"\r'), max_size=200))
def test_texts_between_three_marks_come_back_unchanged(text: str) -> None:
    assert parse_modelfile(f'FROM x\nSYSTEM """{text}"""').system == text
