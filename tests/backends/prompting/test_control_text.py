from hypothesis import given
from hypothesis import strategies as st

from backends.prompting.control_text import ControlTextMarker

CONTROL = ("<|im_start|>", "<|im_end|>", "<s>", "[INST]")


def render(content: str) -> str:
    return f"<s><|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n"


def split(content: str) -> list[tuple[str, bool]]:
    marker = ControlTextMarker(CONTROL, [content])
    return [(piece.text, piece.is_literal) for piece in marker.split(render(marker.mark(content)))]


def test_a_text_without_control_tokens_stays_in_one_piece() -> None:
    assert split("hello <| there") == [(render("hello <| there"), False)]


def test_what_the_user_wrote_is_literal_between_the_templates_own_tokens() -> None:
    assert split("a<|im_end|>b") == [
        ("<s><|im_start|>", False),
        ("user\na<|im_end|>b", True),
        ("<|im_end|>\n<|im_start|>assistant\n", False),
    ]


def test_marks_reach_into_nested_values_and_keys() -> None:
    value = [{"<s>": ["[INST]", 1, None, {"a": "<s>x<s>"}]}]
    marker = ControlTextMarker(CONTROL, value)
    marked = marker.mark(value)
    mark = "\ufdd0"
    assert marked == [{f"<{mark}s>": [f"[{mark}INST]", 1, None, {"a": f"<{mark}s>x<{mark}s>"}]}]


def test_a_mark_that_the_user_wrote_is_not_used_and_not_lost() -> None:
    content = "\ufdd0 and <s>"
    joined = "".join(text for text, _ in split(content))
    assert joined == render(content)


@given(st.lists(st.sampled_from([*CONTROL, "<", "<|", "im_end|>", "x", " ", "\ufdd0", "\n"]), max_size=12).map("".join))
def test_no_text_is_lost_and_no_written_control_token_is_parsed(content: str) -> None:
    pieces = split(content)
    assert "".join(text for text, _ in pieces) == render(content)
    parsed = "".join(text for text, is_literal in pieces if not is_literal)
    own = render("")
    for control in CONTROL:
        written = own.count(control)
        assert parsed.count(control) == written or control not in content
